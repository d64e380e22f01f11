package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// kube-proxy and kube-proxier take over from each other, again and again.
func TestTakeOverFromKubeProxyAndBack(t *testing.T) {
	t.Parallel()
	testenv.Need(t, testenv.KubeProxy)
	bothVariants(t, func(t *testing.T, variant testenv.Variant) {
		t.Parallel()
		s := newStage(t, variant)
		// Enough for chains that kube-proxy does not know.
		others := 40 + *rounds
		for i := range others {
			s.createService(fmt.Sprintf("other-%d", i), nil)
			s.setEndpoints(fmt.Sprintf("other-%d", i), s.local)
		}
		service := s.createService("web", nil)
		pods := []*testenv.Host{s.local, s.remote}
		s.setEndpoints("web", pods[0])
		kubeProxy := s.startKubeProxy()
		probes := from(clusterIPs(service), s.caller)
		s.expect("by kube-proxy", "local", probes)
		steady := s.startAllFrontends()
		for i := 1; i <= *rounds; i++ {
			kubeProxy.kill()
			d := s.startSynced()
			s.setEndpoints("web", pods[i%2])
			s.expect(fmt.Sprintf("round %d, taken over", i), pods[i%2].Name, probes)
			s.awaitNoDiff()
			d.stop()
			// Of what is gone, kube-proxy finds our chains.
			s.deleteService(fmt.Sprintf("other-%d", i))
			kubeProxy = s.startKubeProxy()
			s.setEndpoints("web", pods[(i+1)%2])
			s.expect(fmt.Sprintf("round %d, given back", i), pods[(i+1)%2].Name, probes)
		}
		for _, save := range []string{"iptables-save", "ip6tables-save"} {
			for line := range strings.Lines(s.iptables(save, "-t", "nat")) {
				if strings.HasPrefix(line, ":KUBE-SVC-") && strings.ContainsAny(line, "./") {
					t.Errorf("kube-proxy has left a chain of ours: %s", line)
				}
			}
		}
		steady.stop(fmt.Sprintf("%d rounds there and back", *rounds))
	})
}
