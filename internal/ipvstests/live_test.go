package ipvstests

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// liveProgram is the real program in IPVS mode, which would compare with the kernel
// once an hour, and serves what set writes.
func liveProgram(t *testing.T, s *stage) (p *program, set func(manifests string)) {
	t.Helper()
	p, dir := newProgram(t, s), t.TempDir()
	writeFile(t, dir, "config.conf", testenv.Configuration+"mode: ipvs\niptables: {syncPeriod: 1h}\nipvs: {syncPeriod: 1h}\n")
	return p, func(manifests string) {
		writeFile(t, dir, "web.yaml", manifests)
		if p.cmd == nil {
			p.start(t, "--config="+filepath.Join(dir, "config.conf"), "--manifests="+filepath.Join(dir, "web.yaml"), "--hostname-override=node1")
		}
		p.awaitInForce(t)
	}
}

// withPolicyLocal makes the Service of webManifestOf one with the external policy
// Local.
func withPolicyLocal(manifest string) string {
	const spec = "  type: LoadBalancer\n"
	return strings.Replace(manifest, spec, spec+"  externalTrafficPolicy: Local\n", 1)
}

// A pod of the node takes the short circuit to a Service with policy Local: rules
// have translated its flow, and it would keep to an endpoint that is gone.
func TestUDPFlowsOfTheShortCircuitFollow(t *testing.T) {
	s := newStage(t, []string{"asker", "here"}, []string{"there"}, settings{})
	p, set := liveProgram(t, s)
	for _, pod := range []string{"here", "there"} {
		set(withPolicyLocal(s.webManifestOf(pod)))
		for _, family := range proxier.Families {
			source := netip.AddrPortFrom(own(s.hosts["asker"], family), 5353)
			p.await(t, func() string {
				reply, err := s.hosts["asker"].Dial(t.Context(), "udp", s.addressOf(family, "lb", 10), testenv.DialOptions{Source: source})
				if who := testenv.Outcome(reply, err); who != pod {
					return fmt.Sprintf("%s answers over %s, want %s", who, family, pod)
				}
				return ""
			})
		}
	}
	p.end(t)
}

// An address that the node gets serves node ports at once.
func TestANewAddressOfTheNodeServesNodePorts(t *testing.T) {
	s := newStage(t, []string{"asker", "here"}, []string{"there"}, settings{})
	p, set := liveProgram(t, s)
	set(s.webManifest())
	for _, text := range []string{"203.0.113.99", "2001:db8:113::99"} { // the client sends there over node1
		addr := netip.MustParseAddr(text)
		if err := s.node.AddAddress(addr); err != nil {
			t.Fatal(err)
		}
		p.await(t, func() string {
			reply, err := s.hosts["client"].Dial(t.Context(), "tcp", netip.AddrPortFrom(addr, 30010), testenv.DialOptions{})
			if who := testenv.Outcome(reply, err); who != "here" && who != "there" {
				return fmt.Sprintf("%s: %s", addr, who)
			}
			return ""
		})
	}
	p.end(t)
}

// New connections follow what changes about a Service that lives on.
func TestAChangedServiceIsServedAsItIsNow(t *testing.T) {
	s := newStage(t, []string{"asker", "here"}, []string{"there"}, settings{})
	web := service{name: "web", number: 10, endpoints: s.on("here", "there")}
	for _, change := range []struct{ spec, packets string }{
		{"", `
client lb 10:       here there masq
client nodeport 10: here there masq
asker  cluster 10:  here there
`},
		{"  externalTrafficPolicy: Local\n", `
client lb 10:       here
client nodeport 10: here
asker  lb 10:       here there
`},
		{"  internalTrafficPolicy: Local\n", `
client lb 10:       here there masq
client nodeport 10: here there masq
asker  cluster 10:  here
`},
		{"  loadBalancerSourceRanges: [198.51.100.0/24, \"2001:db8:51::/64\"]\n", `
client lb 10:       dropped
client nodeport 10: here there masq
asker  cluster 10:  here there
`},
		{"", `
client lb 10:       here there masq
`},
	} {
		web.spec = change.spec
		s.serve(t, web)
		s.check(t, change.packets)
	}
}
