package iptables_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/tracer"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// Whatever is masqueraded leaves without our mark, so that it is not once more inside
// a tunnel; and with the bits of others.
func TestTheMarkIsCleared(t *testing.T) {
	const others = 0x8001
	for _, family := range proxier.Families {
		for _, bpf := range []bool{true, false} {
			for _, all := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s bpf=%v masqueradeAll=%v", family, bpf, all), func(t *testing.T) {
					options := clustergen.Options(family)
					options.MasqueradeAll = all
					state := proxier.Build(nil, clustergen.Uniform(1, 1).Snapshot(), options)
					features := config.Options
					features.BPF = bpf
					rules := iptables.Compile(nil, state, features).Ruleset
					tr := trace(t, keptUnless(rules, others, 0x4000|others))
					frontend, pod := state.Frontends[0], state.Frontends[0].Target.Endpoints[0].Addr
					packet := tracer.Packet{
						Protocol: "tcp", Src: pod.Addr(), SrcPort: 40000, Dst: frontend.Addr, DstPort: frontend.Port,
						InInterface: "veth1", OutInterface: "veth1", Mark: others,
					}
					expect := func(who string, masquerade bool) {
						t.Helper()
						result, err := tr.Trace(packet)
						if err != nil {
							t.Fatal(err)
						}
						want := fmt.Sprintf("accept, to %s", pod)
						if masquerade {
							want += ", masquerade"
						}
						if len(result.Outcomes) != 1 || result.Outcomes[0].String() != want {
							t.Errorf("%s: %v, want %s", who, result.Outcomes, want)
						}
					}
					expect("the pod, which reaches itself", true)
					packet.Src = pod.Addr().Next()
					expect("another pod", all)
					packet.Src, packet.InInterface = netip.MustParseAddr("198.51.100.7"), "eth0"
					if family == proxier.IPv6 {
						packet.Src = netip.MustParseAddr("2001:db8:51::7")
					}
					expect("a client", true)
				})
			}
		}
	}
}

// keptUnless are rules that keep the source of what they would masquerade with another
// mark.
func keptUnless(rules iptables.Ruleset, mark, mask int) iptables.Ruleset {
	for i, table := range rules.Tables {
		for k, chain := range table.Chains {
			strict := *chain
			strict.Rules = nil
			for _, rule := range chain.Rules {
				if match, _, found := strings.Cut(rule, "-j MASQUERADE"); found {
					strict.Rules = append(strict.Rules, fmt.Sprintf("%s-m mark ! --mark %#x/%#x -j ACCEPT", match, mark, mask))
				}
				strict.Rules = append(strict.Rules, rule)
			}
			rules.Tables[i].Chains[k] = &strict
		}
	}
	return rules
}
