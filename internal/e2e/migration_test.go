package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// TestFromKubeProxyAndBack: on one node the real kube-proxy gives way to the
// program, and comes back. Connections to a Service that nobody touches do not
// fail, and changes are followed by whoever is in charge.
func TestFromKubeProxyAndBack(t *testing.T) {
	t.Parallel()
	testenv.Need(t, testenv.KubeProxy)
	bothVariants(t, func(t *testing.T, variant testenv.Variant) {
		t.Parallel()
		s := newStage(t, variant)
		service := s.createBalanced("web")
		everywhere := append(from(clusterIPs(service), s.everybody()...), from(nodePorts(service, s.node1), s.Client())...)
		s.setEndpoints("web", s.local)

		for i := range 20 { // enough for trees of chains
			name := fmt.Sprintf("filler-%d", i)
			s.createBalanced(name)
			s.setEndpoints(name, s.local, s.remote)
		}
		theirs := s.startKubeProxy()
		steady := s.startSteady()
		s.expect("kube-proxy before", "local", everywhere)
		theirs.kill()
		d := s.startSynced()
		s.setEndpoints("web", s.remote)
		s.expect("after the take-over", "remote", everywhere)
		s.awaitNoDiff()

		d.stop()
		if out, problems, status := s.command("cleanup", "--hand-back"); status != 0 {
			t.Fatalf("exit status %d: %s%s", status, out, problems)
		}
		s.expect("between the two", "remote", everywhere)
		if rules := s.rules(); strings.Contains(rules, ":KUBE-SVC-10.") || strings.Contains(rules, ":KUBE-SVC-fd00:") {
			t.Errorf("these hold kube-proxy up:\n%s", rules)
		}
		s.deleteService("filler-3") // whose chains kube-proxy has to delete
		s.setEndpoints("web", s.local)
		theirs = s.startKubeProxy()
		s.expect("kube-proxy again", "local", everywhere)
		s.deleteService("filler-4")
		s.setEndpoints("web", s.remote)
		s.expect("a change under kube-proxy", "remote", everywhere)

		if out, problems, status := s.command("cleanup", "--hand-back"); status != 0 {
			t.Fatalf("exit status %d: %s%s", status, out, problems)
		}
		if rules := s.rules(); strings.Contains(rules, "KUBE-REJECT-NODEPORTS") {
			t.Errorf("this is left:\n%s", rules)
		}
		s.setEndpoints("web", s.local)
		s.expect("after kube-proxy has been rid of what it does not know", "local", everywhere)
		steady.stop("the way there and back")
		theirs.kill()
	})
}

// startKubeProxy runs kube-proxy as kubeadm configures it until it is healthy; but that
// it leaves nf_conntrack_max alone, which it could only write on the host itself, and
// does wherever that has another one.
func (s *stage) startKubeProxy() *daemon {
	s.t.Helper()
	d := s.startProgram(testenv.KubeProxyProgram(), "--config="+s.kubeadmConfig("maxPerCore: null", "maxPerCore: 0"), "--hostname-override="+s.nodeName, "-v=2")
	s.t.Cleanup(func() { // it does not end well when it is asked to
		select {
		case <-d.ended:
		default:
			d.kill()
		}
	})
	s.expectCode("kube-proxy", http.StatusOK, healthPort, "/healthz")
	s.await("kube-proxy's rules", func() string {
		if strings.Contains(s.rules(), "KUBE-SEP-") {
			return ""
		}
		return "there are none"
	})
	return d
}
