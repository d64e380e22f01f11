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
	// DefaultNodeWait is how long the start waits for a Node object with an
	// address where the server has none.
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
//	Nodes           only this one; all, while the Store wants the others
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
	// NodeWait bounds the wait for that object, and an address in it, at the start,
	// from when the server has sent all others and what it has of this; 0 means
	// DefaultNodeWait.
	NodeWait time.Duration
	// Contact tells, while Run runs, whether the server answers.
	Contact Contact
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

	addressed := make(chan struct{})
	services, slices, node := a.services(store), a.endpointSlices(store), a.node(store, addressed)
	tasks.StartWithContext(ctx, services.run)
	tasks.StartWithContext(ctx, slices.run)
	if a.NodeName != "" {
		tasks.StartWithContext(ctx, node.run)
	}
	if !received(ctx, services.synced) || !received(ctx, slices.synced) {
		return nil
	}
	wanted, others := store.WantsOtherNodes(), make(chan struct{}) // closed when they are known
	tasks.StartWithContext(ctx, func(ctx context.Context) { a.followOtherNodes(ctx, store, others, wanted) })
	if a.NodeName != "" && !a.awaitNode(ctx, store, node.synced, addressed) {
		return nil
	}
	if wanted && !received(ctx, others) {
		return nil
	}
	store.SetSynced()
	a.Contact.follow()
	<-ctx.Done()
	return nil
}

func (a *API) services(store *proxier.Store) *reflection[*corev1.Service] {
	options := metav1.ListOptions{
		LabelSelector: "!" + proxier.ServiceProxyNameLabel,
		FieldSelector: fields.OneTermNotEqualSelector("spec.clusterIP", corev1.ClusterIPNone).String(),
	}
	return newReflection(listWatch(&a.Contact, "services", a.Client.Services, options),
		stripService, store.SetService, store.DeleteService)
}

func (a *API) endpointSlices(store *proxier.Store) *reflection[*discoveryv1.EndpointSlice] {
	options := metav1.ListOptions{LabelSelector: "!" + corev1.IsHeadlessService}
	return newReflection(listWatch(&a.Contact, "endpointslices", a.Client.EndpointSlices, options),
		stripEndpointSlice, store.SetEndpointSlice, store.DeleteEndpointSlice)
}

// node follows this node's object and closes addressed when it is there and has an
// address. When it is deleted, the node still has its addresses: the Store keeps the
// last object in force.
func (a *API) node(store *proxier.Store, addressed chan struct{}) *reflection[*corev1.Node] {
	options := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, a.NodeName).String()}
	set := func(node *corev1.Node) {
		if node.Name == a.NodeName {
			store.SetNode(node)
			if proxier.HasAddress(node) {
				done(addressed)
			}
		}
	}
	gone := func(name types.NamespacedName) {
		if name.Name == a.NodeName {
			store.DeleteNode()
		}
	}
	return newReflection(listWatch(&a.Contact, "nodes", a.Client.Nodes, options), stripNode, set, gone)
}

// awaitNode waits for this node's object to be there with an address: one that a
// cloud controller is to complete has none at first. False means that ctx has ended.
// A server that is away says nothing about the Node: the patience with what is
// missing begins when it was asked for and not found.
func (a *API) awaitNode(ctx context.Context, store *proxier.Store, listed, addressed <-chan struct{}) bool {
	without, reason := "the Node object, its addresses and its zone", ""
	switch {
	case !receivedWithin(ctx, nodeListWait, listed):
		reason = "it cannot be listed: may this client list and watch nodes?"
	case receivedWithin(ctx, a.nodeWait(), addressed):
	case store.Snapshot().Node != nil:
		without, reason = "the node's addresses", "the Node object has none: does a cloud controller run?"
	default:
		reason = "it did not appear: is the node's name right?"
	}
	if ctx.Err() != nil {
		return false
	}
	if reason != "" {
		klog.FromContext(ctx).Info("Going on without "+without, "node", a.NodeName, "reason", reason)
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
