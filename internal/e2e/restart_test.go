package e2e

import (
	"fmt"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// Not in parallel: objects of other tests would be something to write.
func TestRestartWritesNothing(t *testing.T) {
	bothVariants(t, func(t *testing.T, variant testenv.Variant) {
		s := newStage(t, variant)
		d := s.startSynced()
		steady := s.startSteady()
		s.awaitNoDiff()
		if s.restores.drain() == "" {
			t.Fatal("nothing has been recorded of the first start")
		}
		rules := s.rules()

		d.kill()
		d = s.startSynced()
		if sent := s.restores.drain(); sent != "" {
			t.Errorf("after SIGKILL, the next one has written:\n%s", sent)
		}
		d.stop()
		d = s.startSynced()
		if sent := s.restores.drain(); sent != "" {
			t.Errorf("after SIGTERM, the next one has written:\n%s", sent)
		}
		if again := s.rules(); again != rules {
			t.Errorf("the rules were\n%s\nand are\n%s", rules, again)
		}
		steady.stop("restarts")
		d.stop()
		if again := s.rules(); again != rules {
			t.Errorf("the rules are others after the end:\n%s", again)
		}
	})
}

func TestKilledAtAnyMomentTheNextOneCompletes(t *testing.T) {
	bothVariants(t, func(t *testing.T, variant testenv.Variant) {
		s := newStage(t, variant)
		d := s.startSynced()
		steady := s.startSteady()
		service := s.createBalanced("web")
		probes := from(clusterIPs(service), s.caller)
		pods := []*testenv.Host{s.local, s.remote}
		const kills = 6
		for i := range kills {
			pod := pods[i%len(pods)]
			s.setEndpoints("web", pod)
			if i%2 == 1 {
				// Not before it has begun to write.
				s.await("a write", func() string {
					if s.restores.drain() == "" {
						return "nothing is written"
					}
					return ""
				})
			}
			d.kill()
			s.restores.drain()
			d = s.startSynced()
			s.expect(fmt.Sprintf("after kill %d", i+1), pod.Name, probes)
		}
		s.awaitNoDiff()
		steady.stop("kills")
	})
}
