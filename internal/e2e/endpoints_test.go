package e2e

import (
	"slices"
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

		s.setEndpoints("web", s.remote)
		s.expect("replaced by another", "remote", probes)

		s.setEndpoints("web", s.remote, s.local)
		for _, probe := range probes {
			s.expectServers("one added", probe, s.remote, s.local)
		}

		s.setBackends("web", backend{pod: s.remote, notReady: true}, backend{pod: s.local})
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

// The times are logged, not judged: they say more about the machine.
func TestTimeFromAWriteToTheFirstPacket(t *testing.T) {
	bothVariants(t, func(t *testing.T, variant testenv.Variant) {
		s := newStage(t, variant)
		s.startSynced("--iptables-min-sync-period=0")
		service := s.createService("web", nil)
		s.setEndpoints("web", s.local)
		probe := from(clusterIPs(service), s.caller)[0]
		s.expect("at first", "local", []testenv.Probe{probe})
		var times []time.Duration
		pods := []*testenv.Host{s.remote, s.local}
		const changes = 10
		for i := range changes {
			pod := pods[i%len(pods)]
			start := time.Now()
			s.setEndpoints("web", pod)
			for s.outcome(probe) != pod.Name {
				if time.Since(start) > patience {
					t.Fatalf("traffic has not followed within %s", patience)
				}
			}
			times = append(times, time.Since(start).Round(100*time.Microsecond))
		}
		slices.Sort(times)
		t.Logf("from the write of both families' EndpointSlices to the first packet at the other endpoint: median %s, at most %s", times[changes/2], times[changes-1])
	})
}
