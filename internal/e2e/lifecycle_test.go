package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

func TestServiceIsServedFromCreationToDeletion(t *testing.T) {
	t.Parallel()
	bothVariants(t, func(t *testing.T, variant testenv.Variant) {
		t.Parallel()
		s := newStage(t, variant)
		s.startWith("--config="+s.kubeadmConfig(), "--hostname-override="+s.nodeName, "-v=2").awaitSync()

		service := s.createBalanced("web")
		frontends := slices.Concat(clusterIPs(service), nodePorts(service, s.node1), balancerIPs(service))
		if len(frontends) != 3*2*2 {
			t.Fatalf("have frontends %v, want three kinds over two protocols and two families", frontends)
		}
		everywhere := from(frontends, s.everybody()...)
		s.expect("without EndpointSlices", "refused", everywhere)

		s.setEndpoints("web", s.remote)
		s.expect("with a remote endpoint", "remote", everywhere)

		s.setEndpoints("web", s.local)
		s.expect("with a local endpoint", "local", everywhere)

		s.setEndpoints("web")
		s.expect("with empty EndpointSlices", "refused", everywhere)

		s.setEndpoints("web", s.remote)
		s.expect("with an endpoint again", "remote", everywhere)

		s.deleteService("web")
		addresses := slices.Concat(clusterIPs(service), balancerIPs(service))
		s.expect("addresses of a deleted Service", "timed out", from(addresses, s.everybody()...))
		s.expect("node ports of a deleted Service", "refused", from(nodePorts(service, s.node1), s.Client()))
		if rules := s.rules(); strings.Contains(rules, s.namespace+"/web") {
			t.Errorf("there are rules left of the deleted Service:\n%s", rules)
		}
	})
}

// kubeadmConfig is the file that kubeadm makes for kube-proxy, with the
// kubeconfig file of this stage, and with further words in place of others.
func (s *stage) kubeadmConfig(others ...string) string {
	s.t.Helper()
	text, err := os.ReadFile("../../proxier/config/testdata/kubeadm.yaml")
	if err != nil {
		s.t.Fatal(err)
	}
	words := append([]string{"kubeconfig: /var/lib/kube-proxy/kubeconfig.conf", "kubeconfig: " + s.kubeconfig}, others...)
	for i := 0; i < len(words); i += 2 {
		if strings.Count(string(text), words[i]) != 1 {
			s.t.Fatalf("the file of kubeadm does not say %q once", words[i])
		}
	}
	path := filepath.Join(s.t.TempDir(), "config.conf")
	if err := os.WriteFile(path, []byte(strings.NewReplacer(words...).Replace(string(text))), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}
