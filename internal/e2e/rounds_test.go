package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// rounds is how often programs take over from each other; make soak has more.
var rounds = flag.Int("rounds", 3, "how often one program takes over from another, in tests of that")

// startAllFrontends creates a Service with frontends of all kinds over both
// protocols and families, and starts a stream of connections to each.
func (s *stage) startAllFrontends() *stream {
	s.t.Helper()
	s.createBalanced("steady")
	v4, v6 := freshVIPs()
	service := s.patchSpec("steady", object{"externalIPs": []string{v4.String(), v6.String()}})
	s.setEndpoints("steady", s.local, s.remote)
	probes := slices.Concat(
		from(clusterIPs(service), s.caller),
		from(slices.Concat(nodePorts(service, s.node1), balancerIPs(service), externalIPs(service)), s.Client()))
	const kinds, protocols, families = 4, 2, 2
	if len(probes) != kinds*protocols*families {
		s.t.Fatalf("have probes %v, want %d", probes, kinds*protocols*families)
	}
	s.await("all frontends", func() string {
		for i, result := range testenv.DialAll(s.t.Context(), probes) {
			if have := result.Outcome(); have != "local" && have != "remote" {
				return fmt.Sprintf("%s to %s %s: %s", probes[i].From.Name, probes[i].Proto, probes[i].To, have)
			}
		}
		return ""
	})
	return s.startStream(probes...)
}

// Old and new versions take turns. The end of one and the start of the other
// are noticed by nobody.
func TestUpgrades(t *testing.T) {
	t.Parallel()
	common(t) // or it skips
	versions := []string{buildVersion(t, "v1.0.0"), buildVersion(t, "v1.1.0")}
	bothVariants(t, func(t *testing.T, variant testenv.Variant) {
		t.Parallel()
		s := newStage(t, variant)
		start := func(i int) *daemon {
			d := s.startProgram(versions[i%2], append(s.flags(), "-v=2")...)
			d.awaitSync()
			return d
		}
		d := start(0)
		service := s.createService("web", nil)
		pods := []*testenv.Host{s.local, s.remote}
		s.setEndpoints("web", pods[0])
		probes := from(clusterIPs(service), s.caller)
		s.expect("before", "local", probes)
		steady := s.startAllFrontends()
		for i := 1; i <= *rounds; i++ {
			if i%3 == 0 {
				d.kill()
			} else {
				d.stop()
			}
			s.setEndpoints("web", pods[i%2]) // while nobody looks
			d = start(i)
			d.awaitLog([]string{"v1.0.0", "v1.1.0"}[i%2])
			s.expect(fmt.Sprintf("round %d", i), pods[i%2].Name, probes)
		}
		s.awaitNoDiff()
		steady.stop(fmt.Sprintf("%d upgrades", *rounds))
	})
}

// buildVersion builds the program as a release of that version.
func buildVersion(t *testing.T, version string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "kube-proxier")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-ldflags=-X main.version="+version, "-o", program, "github.com/kube-proxier/kube-proxier/cmd/kube-proxier")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", cmd, err, output)
	}
	return program
}
