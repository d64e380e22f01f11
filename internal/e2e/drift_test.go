package e2e

import (
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// Not in parallel: objects of other tests would be a difference, too.
func TestDiffSeesAndTheDaemonRepairsWhatSomebodyElseChanged(t *testing.T) {
	bothVariants(t, func(t *testing.T, variant testenv.Variant) {
		s := newStage(t, variant)
		s.iptables("iptables", "-t", "nat", "-A", "PREROUTING", "-m", "comment", "--comment", "stranger", "-j", "ACCEPT")
		d := s.startSynced()
		service := s.createService("web", nil)
		s.setEndpoints("web", s.remote)
		probes := from(clusterIPs(service), s.caller)
		s.expect("at first", "remote", probes)
		s.awaitNoDiff()

		d.stop() // it would repair it at once
		s.iptables("iptables", "-t", "nat", "-F", "KUBE-SERVICES")
		broken := s.rules()
		difference, status := s.diff()
		if status != 1 || !strings.Contains(difference, "KUBE-SERVICES") {
			t.Errorf("diff: have exit status %d, want 1, and KUBE-SERVICES named in\n%s", status, difference)
		}
		if rules := s.rules(); rules != broken {
			t.Errorf("diff has changed the rules from\n%s\nto\n%s", broken, rules)
		}
		s.expect("over IPv4, without the rules", "timed out", probes[:1])

		d = s.startSynced("--iptables-sync-period=1h") // it does not compare with the kernel again
		s.expect("after a restart", "remote", probes)
		s.iptables("iptables", "-t", "nat", "-F", "KUBE-SERVICES")
		s.iptables("ip6tables", "-t", "filter", "-D", "FORWARD", "1")
		s.awaitNoDiff()
		s.expect("repaired", "remote", probes)
		d.awaitLog(`Somebody else changed our rules; they are repaired" family="IPv4"`)
		d.awaitLog(`Somebody else changed our rules; they are repaired" family="IPv6"`)
		if rules := s.rules(); !strings.Contains(rules, "--comment stranger") {
			t.Errorf("the rule of a stranger is gone:\n%s", rules)
		}
	})
}
