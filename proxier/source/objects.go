package source

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// Objects are what a set of manifests holds for one node, each object once, in
// the order it was read.
type Objects struct {
	Services       []*corev1.Service
	EndpointSlices []*discoveryv1.EndpointSlice
	// Node is the object of this node; nil when the manifests have none.
	Node *corev1.Node
	// OtherNodes are the others.
	OtherNodes []*corev1.Node
	// Skipped counts the objects of kinds that a proxy does not read, by
	// "apiVersion kind", such as "apps/v1 Deployment".
	Skipped map[string]int
	// Files counts the files that were read.
	Files int
}

// Fill puts all objects into the store. It does not say that the store has
// synced: that is the caller's to know.
func Fill(store *proxier.Store, objects *Objects) {
	update(store, &Objects{}, objects)
}

// update brings a store that holds have to hold want. Objects are compared by
// pointer here; whether a new object differs in anything that matters is for
// the store to say.
func update(store *proxier.Store, have, want *Objects) {
	replace(have.Services, want.Services, store.SetService, store.DeleteService)
	replace(have.EndpointSlices, want.EndpointSlices, store.SetEndpointSlice, store.DeleteEndpointSlice)
	replace(have.OtherNodes, want.OtherNodes, store.SetOtherNode, func(name types.NamespacedName) { store.DeleteOtherNode(name.Name) })
	// A Node that is gone leaves its last object in force, as on a server.
	if want.Node != nil && want.Node != have.Node {
		store.SetNode(want.Node)
	}
}

// replace sets what is new in want and deletes what is only in have.
func replace[T interface {
	metav1.Object
	comparable
}](have, want []T, set func(T), remove func(types.NamespacedName)) {
	old := make(map[types.NamespacedName]T, len(have))
	for _, object := range have {
		old[nameOf(object)] = object
	}
	for _, object := range want {
		name := nameOf(object)
		if old[name] != object {
			set(object)
		}
		delete(old, name)
	}
	for name := range old {
		remove(name)
	}
}

func nameOf(object metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}
}
