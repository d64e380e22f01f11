package e2e

import (
	"net/netip"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

func TestDryRunPrintsEachPlanAndWritesNothing(t *testing.T) {
	t.Parallel()
	bothVariants(t, func(t *testing.T, variant testenv.Variant) {
		t.Parallel()
		s := newStage(t, variant)
		service := s.createService("web", nil)
		s.setEndpoints("web", s.local)
		// Looking at a table of the legacy variant creates it, without rules.
		for _, table := range []string{"nat", "filter"} {
			s.iptables("iptables", "-t", table, "-S")
			s.iptables("ip6tables", "-t", table, "-S")
		}
		rules := s.rules()
		d := s.start("--dry-run")
		for _, family := range []string{"IPv4", "IPv6"} {
			d.awaitLog("# " + family + " iptables: write ")
		}
		for _, addr := range s.local.Addrs() {
			d.awaitLog("--to-destination " + netip.AddrPortFrom(addr, backendPort).String())
		}
		s.setEndpoints("web", s.remote)
		for _, addr := range s.remote.Addrs() {
			d.awaitLog("--to-destination " + netip.AddrPortFrom(addr, backendPort).String())
		}
		if sent := s.restores.drain(); sent != "" {
			t.Errorf("a dry run has written:\n%s", sent)
		}
		if have := s.rules(); have != rules {
			t.Errorf("a dry run has changed the rules from\n%s\nto\n%s", rules, have)
		}
		s.expect("a dry run", "timed out", from(clusterIPs(service), s.caller))
	})
}
