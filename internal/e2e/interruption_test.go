package e2e

import (
	"fmt"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// Not in parallel: the API server is restarted.
func TestInterruptedWatches(t *testing.T) {
	s := newStage(t, testenv.VariantNFT)
	s.startSynced()
	steady := s.startSteady()
	service := s.createService("web", nil)
	leaving := s.createService("leaving", nil)
	s.setEndpoints("leaving", s.local)
	probes := from(clusterIPs(service), s.caller)
	s.expect("the Service that will leave", "local", from(clusterIPs(leaving), s.caller))

	pods := []*testenv.Host{s.local, s.remote}
	const cuts = 6
	for i := range cuts {
		// Before, after and amid the change.
		s.forward.Cut()
		s.setEndpoints("web", pods[i%len(pods)])
		s.forward.Cut()
		if i%2 == 1 {
			s.expect(fmt.Sprintf("after cut %d", i+1), pods[i%len(pods)].Name, probes)
		}
	}

	if err := shared.kube.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.setEndpoints("web", s.local)
	s.deleteService("leaving")
	s.deleteSlices("leaving", "first")
	fresh := s.createService("fresh", nil)
	s.setEndpoints("fresh", s.local)
	s.forward.Cut()
	s.expect("changed after the restart", "local", probes)
	s.expect("created after the restart", "local", from(clusterIPs(fresh), s.caller))
	s.expect("deleted after the restart", "timed out", from(clusterIPs(leaving), s.caller))
	s.awaitNoDiff()
	steady.stop("interruptions")
}
