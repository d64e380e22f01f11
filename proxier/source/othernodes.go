package source

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// otherNodes are all nodes but this one. known is closed when they have been
// found, or were waited for in vain.
type otherNodes struct {
	*reflection[*corev1.Node]

	known chan struct{}
}

func (a *API) otherNodes(store *proxier.Store) *otherNodes {
	set := func(node *corev1.Node) {
		if node.Name != a.NodeName {
			store.SetOtherNode(node)
		}
	}
	gone := func(name types.NamespacedName) { store.DeleteOtherNode(name.Name) }
	nodes := listWatch(&a.Contact, "all nodes", a.Client.Nodes, metav1.ListOptions{})
	return &otherNodes{newReflection(nodes, stripNode, set, gone), make(chan struct{})}
}

// followOtherNodes follows the nodes from when the Store first wants them: each of
// them writes its object every few minutes, and where no Service has an address that
// may be theirs, nobody needs to hear of it. wanted is whether it wants them
// already, which must be what whoever waits for known goes by: before the Store has
// synced it tells nobody of a change.
func (a *API) followOtherNodes(ctx context.Context, store *proxier.Store, others *otherNodes, wanted bool) {
	changed := store.Watch()
	for !wanted {
		select {
		case <-ctx.Done():
			return
		case <-changed:
			wanted = store.WantsOtherNodes()
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		others.run(ctx)
	}()
	if !receivedWithin(ctx, a.nodeWait(), others.synced) && ctx.Err() == nil {
		klog.FromContext(ctx).Info("The Nodes cannot be had; going on without their addresses: a Service that has one of them cuts this node off from that one. May this client list and watch nodes?")
	}
	store.OtherNodesKnown()
	done(others.known)
	<-ended
}
