package source

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// allNodes is what a Contact calls the requests for them.
const allNodes = "all nodes"

// otherNodes are all nodes but this one.
func (a *API) otherNodes(store *proxier.Store) *reflection[*corev1.Node] {
	set := func(node *corev1.Node) {
		if node.Name != a.NodeName {
			store.SetOtherNode(node)
		}
	}
	gone := func(name types.NamespacedName) { store.DeleteOtherNode(name.Name) }
	nodes := listWatch(&a.Contact, allNodes, a.Client.Nodes, metav1.ListOptions{})
	return newReflection(nodes, stripNode, set, gone)
}

// followOtherNodes follows the nodes from when the Store first wants them, and as long
// as their addresses count: each of them writes its object every few minutes, and where
// no Service has an address that may be theirs, nobody needs to hear of it. wanted is
// whether it wants them already, which must be what whoever waits for known goes by:
// before the Store has synced it tells nobody of a change. known is closed when they
// have been found, or were waited for in vain.
func (a *API) followOtherNodes(ctx context.Context, store *proxier.Store, known chan struct{}, wanted bool) {
	changed := store.Watch()
	for ctx.Err() == nil {
		if wanted {
			a.followWhileAwaited(ctx, store, known, changed)
		}
		select {
		case <-ctx.Done():
		case <-changed: // what forgets them is a change, too
		}
		wanted = store.WantsOtherNodes()
	}
}

// followWhileAwaited ends when their addresses count no more. That no Service wants
// them for a while is no reason: to list them anew costs more than to go on.
func (a *API) followWhileAwaited(ctx context.Context, store *proxier.Store, known chan struct{}, changed <-chan struct{}) {
	following, stop := context.WithCancel(ctx)
	others, ended := a.otherNodes(store), make(chan struct{})
	go func() {
		defer close(ended)
		others.run(following)
	}()
	if !receivedWithin(ctx, a.nodeWait(), others.synced) && ctx.Err() == nil {
		klog.FromContext(ctx).Info("The Nodes cannot be had; going on without their addresses: a Service that has one of them cuts this node off from that one. May this client list and watch nodes?")
	}
	store.OtherNodesKnown()
	done(known)
	for store.AwaitsOtherNodes() && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
	stop()
	<-ended
	// Nobody asks for them any more.
	a.Contact.note(ctx, allNodes, nil)
	if ctx.Err() == nil { // who ends all of this may go on with the Store as it is
		store.ForgetOtherNodes()
	}
}
