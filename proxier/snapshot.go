package proxier

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A Snapshot is everything the sources know at one moment. It is immutable;
// two snapshots share the ServiceObjects that did not change between them.
type Snapshot struct {
	// Services are sorted by name.
	Services []*ServiceObjects
	// Node is this node's object, nil while it is unknown.
	Node *corev1.Node
	// OtherNodes are the addresses of the other nodes; nil where those do not
	// matter or there are none.
	OtherNodes *OtherNodes
	// Changes are those of the store that the snapshot holds.
	Changes Changes
}

// Changes counts the changes of objects that make a difference to what is
// served: those a source found at the start, and all that came later.
type Changes struct {
	// Services were set or deleted.
	Services int
	// Endpoints are EndpointSlices that were set or deleted.
	Endpoints int
}

// ServiceObjects are the API objects of one Service.
type ServiceObjects struct {
	Name types.NamespacedName
	// Service is nil when only slices refer to the name.
	Service *corev1.Service
	// Slices are sorted by name.
	Slices []*EndpointSlice
}

// CompareNames is the order of a Snapshot's and a State's Services: by namespace, then
// by name.
func CompareNames(a, b types.NamespacedName) int {
	if c := compareStrings(a.Namespace, b.Namespace); c != 0 {
		return c
	}
	return compareStrings(a.Name, b.Name)
}
