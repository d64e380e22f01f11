package metrics

import (
	"slices"
	"strings"
	"time"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// maxTriggers bounds what is remembered while passes fail.
const maxTriggers = 10_000

// triggers finds the trigger times of EndpointSlices that changed, from one
// State to the next: when the Pod or Service changed that made the controller
// write the slice. Those before since say nothing of this process.
type triggers struct {
	family  proxier.Family
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
		for len(old) > 0 && proxier.CompareNames(old[0].Objects.Name, s.Objects.Name) < 0 {
			old = old[1:]
		}
		var was []*proxier.EndpointSlice
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

func (t *triggers) addChanged(was, are []*proxier.EndpointSlice) {
	for _, slice := range are {
		if slice.Family != t.family || len(t.pending) == maxTriggers {
			continue
		}
		i, found := slices.BinarySearchFunc(was, slice.Name, func(s *proxier.EndpointSlice, name string) int {
			return strings.Compare(s.Name, name)
		})
		if found && was[i].Trigger.Equal(slice.Trigger) {
			continue
		}
		if slice.Trigger.After(t.since) {
			t.pending = append(t.pending, slice.Trigger)
		}
	}
}

// take returns what was pending, and forgets it.
func (t *triggers) take() []time.Time {
	taken := t.pending
	t.pending = nil
	return taken
}
