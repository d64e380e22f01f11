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

// DefaultNodeWait is how long the start waits for the Node object.
const DefaultNodeWait = 30 * time.Second

// API watches an API server. What the server does not send, because of the
// selectors, is the same for every Service proxy:
//
//	Services        not those of another proxy (label
//	                service.kubernetes.io/service-proxy-name), not headless ones
//	EndpointSlices  not those of headless Services
//	Nodes           only this one; all, from when the Store wants the others
//
// An object that no longer passes a selector is sent as deleted.
type API struct {
	Client *Client
	// NodeName is the name of this node's object; without one, no Node is
	// watched.
	NodeName string
	// NodeWait bounds the wait for that object at the start; 0 means
	// DefaultNodeWait.
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

	services, slices := a.services(store), a.endpointSlices(store)
	tasks.StartWithContext(ctx, services.run)
	tasks.StartWithContext(ctx, slices.run)
	nodeSeen := make(chan struct{})
	if a.NodeName == "" {
		close(nodeSeen)
	} else {
		tasks.StartWithContext(ctx, a.node(store, nodeSeen).run)
	}
	others := a.otherNodes(store)
	patience := time.NewTimer(cmp.Or(a.NodeWait, DefaultNodeWait))
	defer patience.Stop()
	if !received(ctx, services.synced) || !received(ctx, slices.synced) {
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-nodeSeen:
	case <-patience.C:
		klog.FromContext(ctx).Info("The Node object did not appear; going on without its addresses and zone. Is the node's name right?", "node", a.NodeName)
	}
	tasks.StartWithContext(ctx, func(ctx context.Context) { a.followOtherNodes(ctx, store, others) })
	if store.WantsOtherNodes() && !received(ctx, others.known) {
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

// received waits for c to be closed; false means that ctx has ended.
func received(ctx context.Context, c <-chan struct{}) bool {
	select {
	case <-ctx.Done():
		return false
	case <-c:
		return true
	}
}
