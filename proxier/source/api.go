package source

import (
	"cmp"
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"

	"github.com/kube-proxier/kube-proxier/proxier"
)

const (
	// DefaultNodeWait is how long the start waits for the Node object where the
	// server has none.
	DefaultNodeWait = 30 * time.Second
	// nodeListWait bounds the wait for the server to say so. While it is away,
	// client-go's pauses grow to a minute, for each kind by itself: the Node may
	// be asked for that much later than the others.
	nodeListWait = 90 * time.Second
)

// API watches an API server. What the server does not send, because of the
// selectors, is the same for every Service proxy:
//
//	Services        not those of another proxy (label
//	                service.kubernetes.io/service-proxy-name), not headless ones
//	EndpointSlices  not those of headless Services
//	Nodes           only this one; all, from when the Store wants the others
//
// The client needs "list" and "watch" of these three. Without Services or
// EndpointSlices nothing is served; without Nodes it is, after a while, by a node
// that knows neither its addresses nor its zone.
//
// An object that no longer passes a selector is sent as deleted.
type API struct {
	Client *Client
	// NodeName is the name of this node's object; without one, no Node is
	// watched.
	NodeName string
	// NodeWait bounds the wait for that object at the start, from when the server
	// has sent all others and says that it has none; 0 means DefaultNodeWait.
	NodeWait time.Duration
}

// Run fills the store, says that it has synced when all Services and
// EndpointSlices that exist are in it, and keeps it up to date until ctx ends.
// A lost connection is taken up again with growing, jittered delays; meanwhile
// the store keeps what it has.
func (a *API) Run(ctx context.Context, store *proxier.Store) error {
	if a.Client == nil {
		return errors.New("API source: Client is not set")
	}
	var tasks wait.Group
	ctx, cancel := context.WithCancel(ctx)
	defer tasks.Wait()
	defer cancel()

	nodeSeen := make(chan struct{})
	services, slices, node := a.services(store), a.endpointSlices(store), a.node(store, nodeSeen)
	tasks.StartWithContext(ctx, services.run)
	tasks.StartWithContext(ctx, slices.run)
	if a.NodeName != "" {
		tasks.StartWithContext(ctx, node.run)
	}
	others := a.otherNodes(store)
	if !received(ctx, services.synced) || !received(ctx, slices.synced) {
		return nil
	}
	wanted := store.WantsOtherNodes()
	tasks.StartWithContext(ctx, func(ctx context.Context) { a.followOtherNodes(ctx, store, others, wanted) })
	if a.NodeName != "" && !a.awaitNode(ctx, node.synced, nodeSeen) {
		return nil
	}
	if wanted && !received(ctx, others.known) {
		return nil
	}
	store.SetSynced()
	<-ctx.Done()
	return nil
}

func (a *API) services(store *proxier.Store) *reflection[*corev1.Service] {
	options := metav1.ListOptions{
		LabelSelector: "!" + proxier.ServiceProxyNameLabel,
		FieldSelector: fields.OneTermNotEqualSelector("spec.clusterIP", corev1.ClusterIPNone).String(),
	}
	return newReflection(listWatch(a.Client.Services, options),
		stripService, store.SetService, store.DeleteService)
}

func (a *API) endpointSlices(store *proxier.Store) *reflection[*discoveryv1.EndpointSlice] {
	options := metav1.ListOptions{LabelSelector: "!" + corev1.IsHeadlessService}
	return newReflection(listWatch(a.Client.EndpointSlices, options),
		stripEndpointSlice, store.SetEndpointSlice, store.DeleteEndpointSlice)
}

// node follows this node's object and closes seen when it is there. When it is
// deleted, the node still has its addresses: the Store keeps the last object in
// force.
func (a *API) node(store *proxier.Store, seen chan struct{}) *reflection[*corev1.Node] {
	options := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, a.NodeName).String()}
	set := func(node *corev1.Node) {
		if node.Name == a.NodeName {
			store.SetNode(node)
			done(seen)
		}
	}
	gone := func(name types.NamespacedName) {
		if name.Name == a.NodeName {
			store.DeleteNode()
		}
	}
	return newReflection(listWatch(a.Client.Nodes, options), stripNode, set, gone)
}

// awaitNode waits for this node's object; false means that ctx has ended. A server
// that is away says nothing about the Node: the patience with one that is missing
// begins when it was asked for and not found.
func (a *API) awaitNode(ctx context.Context, listed, seen <-chan struct{}) bool {
	reason := ""
	if !receivedWithin(ctx, nodeListWait, listed) {
		reason = "it cannot be listed: may this client list and watch nodes?"
	} else if !receivedWithin(ctx, a.nodeWait(), seen) {
		reason = "it did not appear: is the node's name right?"
	}
	if ctx.Err() != nil {
		return false
	}
	if reason != "" {
		klog.FromContext(ctx).Info("Going on without the Node object, its addresses and its zone", "node", a.NodeName, "reason", reason)
	}
	return true
}

func (a *API) nodeWait() time.Duration { return cmp.Or(a.NodeWait, DefaultNodeWait) }

// receivedWithin is received with a deadline, which false may mean, too. Once c is
// closed it is true, whatever else has happened by then.
func receivedWithin(ctx context.Context, d time.Duration, c <-chan struct{}) bool {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return received(ctx, c) || isClosed(c)
}

// received waits for c to be closed; false means that ctx has ended.
func received(ctx context.Context, c <-chan struct{}) bool {
	select {
	case <-ctx.Done():
		return false
	case <-c:
		return true
	}
}
