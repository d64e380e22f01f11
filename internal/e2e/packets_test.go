package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// patience is how long something may take that takes a second at most, on a
// machine that does several other things. A busy machine also makes the daemon
// look at the kernel less often: after a hundred times of what a look takes.
const patience = 2 * time.Minute

// pollEvery is how often await asks.
const pollEvery = 20 * time.Millisecond

// await polls until missing returns "", and fails the test with what it
// returned last.
func (s *stage) await(what string, missing func() string) {
	s.t.Helper()
	tick, deadline := time.NewTicker(pollEvery), time.After(patience)
	defer tick.Stop()
	for {
		last := missing()
		if last == "" {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Fatalf("%s: not within %s: %s", what, patience, last)
		}
	}
}

// expect waits until all probes have one outcome: the name of who answers, or
// "refused", "timed out".
func (s *stage) expect(what, outcome string, probes []testenv.Probe) {
	s.t.Helper()
	if len(probes) == 0 {
		s.t.Fatalf("%s: no probes", what)
	}
	s.await(what, func() string {
		var wrong []string
		for i, result := range testenv.DialAll(s.t.Context(), probes) {
			if have := result.Outcome(); have != outcome {
				wrong = append(wrong, fmt.Sprintf("%s to %s %s: have %s, want %s", probes[i].From.Name, probes[i].Proto, probes[i].To, have, outcome))
			}
		}
		return strings.Join(wrong, "\n\t")
	})
}

// expectServers waits until connections go to all of these and to no other.
func (s *stage) expectServers(what string, probe testenv.Probe, servers ...*testenv.Host) {
	s.t.Helper()
	var want []string
	for _, host := range servers {
		want = append(want, host.Name)
	}
	slices.Sort(want)
	s.await(what, func() string {
		have := s.outcomes(probe)
		if slices.Equal(have, want) {
			return ""
		}
		return fmt.Sprintf("%s to %s %s: have %v, want %v", probe.From.Name, probe.Proto, probe.To, have, want)
	})
}

// outcome is that of one dial.
func (s *stage) outcome(probe testenv.Probe) string {
	return testenv.Outcome(probe.From.Dial(s.t.Context(), probe.Proto, probe.To, probe.Options))
}

// outcomes are those of many dials, sorted, each once.
func (s *stage) outcomes(probe testenv.Probe) []string {
	s.t.Helper()
	const dials = 20 // with two servers, one time in 500,000 all go to one
	have := map[string]bool{}
	for _, result := range testenv.DialAll(s.t.Context(), slices.Repeat([]testenv.Probe{probe}, dials)) {
		have[result.Outcome()] = true
	}
	return slices.Sorted(maps.Keys(have))
}
