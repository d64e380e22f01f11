package proxier

import corev1 "k8s.io/api/core/v1"

// ToBeDeletedTaint is the key of the taint by which the cluster autoscaler marks
// a node that it is about to remove, whatever its value and effect (KEP-3836).
const ToBeDeletedTaint = "ToBeDeletedByClusterAutoscaler"

// An Eligibility says whether load balancers should send new connections to this
// node: Eligible, or why not. It changes nothing about what the node serves.
type Eligibility string

// The values of Eligibility.
const (
	Eligible    Eligibility = ""
	NodeMissing Eligibility = "the node has no Node object"
	NodeDeleted Eligibility = "the Node object is being deleted"
	NodeTainted Eligibility = "the Node object has the taint " + ToBeDeletedTaint
	// ObjectsMissing and NothingServed are of a program that has just started, or
	// never gets further: rules of another one may be in force.
	ObjectsMissing Eligibility = "not all objects have been received yet"
	NothingServed  Eligibility = "no pass over all IP families has succeeded yet"
)

// Eligibility tells of the Node object as it is now, once the Store has synced.
func (s *Store) Eligibility() Eligibility {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.synced:
		return ObjectsMissing
	case s.node == nil || s.nodeGone:
		return NodeMissing
	}
	return eligibility(s.node)
}

func eligibility(node *corev1.Node) Eligibility {
	if node.DeletionTimestamp != nil {
		return NodeDeleted
	}
	for _, t := range node.Spec.Taints {
		if t.Key == ToBeDeletedTaint {
			return NodeTainted
		}
	}
	return Eligible
}
