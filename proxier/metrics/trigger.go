package metrics

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// maxTriggers bounds what is remembered while passes fail.
const maxTriggers = 10_000

// triggers finds the trigger times of EndpointSlices that changed, from one
// State to the next: when the Pod or Service changed that made the controller
// write the slice. Those before since say nothing of this process.
type triggers struct {
	family  discoveryv1.AddressType
	since   time.Time
	seen    []*proxier.Service
	started bool
	// pending are those of changes that are not in force yet.
	pending []time.Time
}

// look adds what is new in the services. Of the first it only takes note: how
// long a slice was there before the start is no latency.
func (t *triggers) look(services []*proxier.Service) {
	old := t.seen
	for _, s := range services {
		if len(old) > 0 && old[0] == s {
			old = old[1:] // the usual case: it did not change
			continue
		}
		for len(old) > 0 && before(old[0], s) {
			old = old[1:]
		}
		var was []*discoveryv1.EndpointSlice
		if len(old) > 0 && old[0].Objects.Name == s.Objects.Name {
			if old[0].Objects == s.Objects {
				continue
			}
			was = old[0].Objects.Slices
		}
		if t.started {
			t.addChanged(was, s.Objects.Slices)
		}
	}
	t.seen, t.started = services, true
}

// before is the order of a State's Services.
func before(a, b *proxier.Service) bool {
	x, y := a.Objects.Name, b.Objects.Name
	if x.Namespace != y.Namespace {
		return x.Namespace < y.Namespace
	}
	return x.Name < y.Name
}

func (t *triggers) addChanged(was, are []*discoveryv1.EndpointSlice) {
	for _, slice := range are {
		if slice.AddressType != t.family || len(t.pending) == maxTriggers {
			continue
		}
		value := slice.Annotations[corev1.EndpointsLastChangeTriggerTime]
		i, found := slices.BinarySearchFunc(was, slice.Name, func(s *discoveryv1.EndpointSlice, name string) int {
			return strings.Compare(s.Name, name)
		})
		if found && was[i].Annotations[corev1.EndpointsLastChangeTriggerTime] == value {
			continue
		}
		if at, err := time.Parse(time.RFC3339Nano, value); err == nil && at.After(t.since) {
			t.pending = append(t.pending, at)
		}
	}
}

// take returns what was pending, and forgets it.
func (t *triggers) take() []time.Time {
	taken := t.pending
	t.pending = nil
	return taken
}
