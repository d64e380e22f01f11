package ipvstests

import (
	"net/netip"
	"testing"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// All kinds of addresses, from all kinds of clients.
func TestServicesAnswerAtTheirAddresses(t *testing.T) {
	s := newStage(t, []string{"asker", "here"}, []string{"there"}, settings{})
	s.serve(t,
		service{name: "web", number: 10, endpoints: s.on("here", "there")},
		service{name: "edge", number: 11, spec: "  externalTrafficPolicy: Local\n", endpoints: s.on("here", "there")},
		service{name: "far", number: 12, spec: "  externalTrafficPolicy: Local\n", endpoints: s.on("there")},
		service{name: "inner", number: 13, spec: "  internalTrafficPolicy: Local\n", endpoints: s.on("here", "there")},
		service{name: "nowhere", number: 14},
		service{
			name: "club", number: 15, spec: "  loadBalancerSourceRanges: [198.51.100.0/24, \"2001:db8:51::/64\"]\n",
			endpoints: s.on("here", "there"),
		},
		service{name: "self", number: 16, endpoints: s.on("asker")},
	)
	s.settled(t)
	s.check(t, `
asker  cluster 10:  here there
node   cluster 10:  here there
client cluster 10:  here there masq
asker  external 10: here there masq
asker  lb 10:       here there masq
node   lb 10:       here there
client lb 10:       here there masq
client external 10: here there masq
asker  nodeport 10: here there masq
node   nodeport 10: here there
client nodeport 10: here there masq
`)
	s.check(t, `
asker  cluster 11:  here there
asker  lb 11:       here there
node   lb 11:       here there
client lb 11:       here
client external 11: here
asker  nodeport 11: here there
node   nodeport 11: here there
client nodeport 11: here
`)
	s.check(t, `
client cluster 12:  there masq
asker  lb 12:       there
node   lb 12:       there
client lb 12:       dropped
client external 12: dropped
asker  nodeport 12: there
node   nodeport 12: there
client nodeport 12: dropped
`)
	s.check(t, `
asker  cluster 13:  here
node   cluster 13:  here
client cluster 13:  here masq
client lb 13:       here there masq
`)
	s.check(t, `
asker  cluster 14:  refused
node   cluster 14:  refused
client cluster 14:  refused
asker  lb 14:       refused
node   lb 14:       refused
client lb 14:       refused
asker  nodeport 14: refused
node   nodeport 14: refused
client nodeport 14: refused
`)
	s.check(t, `
client lb 15:       dropped
asker  lb 15:       dropped
node   lb 15:       dropped
client external 15: here there masq
client nodeport 15: here there masq
asker  cluster 15:  here there
`)
	s.check(t, `
asker  cluster 16:  asker masq
asker  lb 16:       asker masq
asker  nodeport 16: asker masq
client lb 16:       asker masq
`)
}

// The node's own services are not to be had at Service addresses.
func TestHostIsNotAtServiceAddresses(t *testing.T) {
	s := newStage(t, []string{"asker", "here"}, nil, settings{})
	s.serve(t, service{name: "web", number: 10, endpoints: s.on("here")})
	if _, err := s.node.Serve("tcp", netip.MustParseAddrPort("[::]:22")); err != nil { // IPv4 as well
		t.Fatal(err)
	}
	for _, family := range proxier.Families {
		for _, from := range []string{"asker", "client", "node"} {
			for kind, want := range map[string]string{"cluster": "refused", "lb": "refused", "external": "refused", "nodeport": "node1"} {
				to := netip.AddrPortFrom(s.addressOf(family, kind, 10).Addr(), 22)
				if have := s.outcome(t, from, "tcp", to); have != want {
					t.Errorf("%s %s, %s: have %s, want %s", from, to, kind, have, want)
				}
			}
		}
	}
}

// A Service that claims another node's address is served there, and that node's own
// services can still be reached.
func TestOtherNodesStayInReach(t *testing.T) {
	s := newStage(t, []string{"asker", "here"}, nil, settings{})
	s.serve(t, service{name: "web", number: 10, endpoints: s.on("here"), external: []string{"172.18.0.12", "fd00:172:18::12"}})
	s.settled(t)
	for _, family := range proxier.Families {
		other := own(s.hosts["node2"], family)
		if _, err := s.Node("node2").Serve("tcp", netip.AddrPortFrom(other, 22)); err != nil {
			t.Fatal(err)
		}
		for _, from := range []string{"asker", "node"} {
			if have := s.outcome(t, from, "tcp", netip.AddrPortFrom(other, 80)); have != "here" {
				t.Errorf("%s to the Service at %s: have %s, want here", from, other, have)
			}
			if have := s.outcome(t, from, "tcp", netip.AddrPortFrom(other, 22)); have != "node2" {
				t.Errorf("%s to %s itself: have %s, want node2", from, other, have)
			}
		}
		for _, kind := range []string{"lb", "nodeport", "cluster"} {
			if have := s.outcome(t, "client", "tcp", s.addressOf(family, kind, 10)); have != "here" {
				t.Errorf("client to %s over %s: have %s, want here", kind, family, have)
			}
		}
	}
}
