package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

func TestTrafficFollowsEndpoints(t *testing.T) {
	t.Parallel()
	bothVariants(t, func(t *testing.T, variant testenv.Variant) {
		t.Parallel()
		s := newStage(t, variant)
		s.startSynced()
		service := s.createService("web", nil)
		s.setEndpoints("web", s.local)
		probes := from(clusterIPs(service), s.caller)
		s.expect("at first", "local", probes)

		s.measure("an endpoint replaced by another", probes[0], s.remote, func() { s.setEndpoints("web", s.remote) })
		s.expect("replaced", "remote", probes)

		s.setEndpoints("web", s.remote, s.local)
		for _, probe := range probes {
			s.expectServers("one added", probe, s.remote, s.local)
		}

		s.measure("an endpoint not ready any more", probes[0], s.local, func() {
			s.setBackends("web", backend{pod: s.remote, notReady: true}, backend{pod: s.local})
		})
		for _, probe := range probes {
			s.expectServers("one not ready", probe, s.local)
		}

		s.setEndpoints("web", s.remote, s.local)
		for _, probe := range probes {
			s.expectServers("ready again", probe, s.remote, s.local)
		}

		s.setEndpoints("web", s.remote)
		for _, probe := range probes {
			s.expectServers("one removed", probe, s.remote)
		}
	})
}

func TestServiceIsServedByAllOfItsSlices(t *testing.T) {
	t.Parallel()
	s := newStage(t, testenv.VariantNFT)
	s.startSynced()
	service := s.createService("web", nil)
	s.setEndpoints("web", s.local)
	probes := from(clusterIPs(service), s.caller)
	s.expect("one slice for each family", "local", probes)
	s.setSlices("web", "second", backends([]*testenv.Host{s.remote}))
	for _, probe := range probes {
		s.expectServers("two slices for each family", probe, s.local, s.remote)
	}
	s.deleteSlices("web", "first")
	s.expect("the first ones deleted", "remote", probes)
	s.deleteSlices("web", "second")
	s.expect("all deleted", "refused", probes)
}

// measure logs how long it takes from a write to the API until the first
// packet arrives where it should. Part of it can be the rest of the second that
// lies at least between two passes.
func (s *stage) measure(what string, probe testenv.Probe, server *testenv.Host, write func()) {
	s.t.Helper()
	start := time.Now()
	write()
	written := time.Since(start)
	s.await(what, func() string {
		result := testenv.DialAll(s.t.Context(), []testenv.Probe{probe})[0]
		if have := result.Outcome(); have != server.Name {
			return fmt.Sprintf("have %s, want %s", have, server.Name)
		}
		return ""
	})
	s.t.Logf("%s: %s after the write began, %s after it was answered, its first packet arrived",
		what, time.Since(start).Round(time.Millisecond), (time.Since(start) - written).Round(time.Millisecond))
}
