package kerneltest

import (
	"slices"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/scenarios"
	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A firewall is what the host has in its tables before our rules come.
type firewall struct {
	name  string
	rules map[proxier.Family]string
	// scenario is whose rules are put beside it; packets, where there are any, are sent
	// instead of the scenario's own.
	scenario, packets string
}

func firewalls() []firewall {
	both := func(rules string) map[proxier.Family]string {
		return map[proxier.Family]string{proxier.IPv4: rules, proxier.IPv6: rules}
	}
	return []firewall{
		{
			// The answers pass FORWARD, too. What is not masqueraded is the host's own affair.
			name: "FORWARD drops", scenario: "external-cluster-policy-masquerades-every-source",
			rules: both("*filter\n:FORWARD DROP [0:0]\nCOMMIT\n"),
			packets: `
client 192.0.2.7      172.18.0.11:30080/tcp        10.244.1.21:8080 10.244.2.21:8080 masq
client 192.0.2.7      203.0.113.10:80/tcp          10.244.1.21:8080 10.244.2.21:8080 masq
pod 10.244.1.5        10.96.10.2:80/tcp            drop
client 2001:db8::7    [fd00:172:18::11]:30080/tcp  [fd00:10:244:1::21]:8080 [fd00:10:244:2::21]:8080 masq
pod fd00:10:244:1::5  [fd00:10:96::a2]:80/tcp      drop
`,
		},
		{
			name: "everything is accepted, nobody answers", scenario: "no-endpoints-rejects-at-every-address",
			rules: both(scenarios.AcceptAll),
		},
		{
			name: "everything is accepted, sources are restricted", scenario: "source-ranges-restrict-load-balancer-addresses-only",
			rules: both(scenarios.AcceptAll),
		},
		{
			name: "INPUT drops", scenario: "health-check-node-port-is-open-on-every-node",
			rules: map[proxier.Family]string{
				proxier.IPv4: "*filter\n:INPUT DROP [0:0]\nCOMMIT\n",
				proxier.IPv6: "*filter\n:INPUT DROP [0:0]\n-A INPUT -p ipv6-icmp -j ACCEPT\nCOMMIT\n", // neighbour discovery
			},
			packets: `
client 192.0.2.7    172.18.0.11:32441/tcp        -
client 192.0.2.7    172.18.0.11:32442/tcp        drop
client 2001:db8::7  [fd00:172:18::11]:32441/tcp  -
client 2001:db8::7  [fd00:172:18::11]:32442/tcp  drop
`,
		},
		{
			name: "others send to a loopback address", scenario: "localhost-node-port-works-over-ipv4-only",
			rules: map[proxier.Family]string{
				proxier.IPv4: "*nat\n-A PREROUTING -p tcp -m tcp --dport 8053 -j DNAT --to-destination 127.0.0.1:8053\nCOMMIT\n",
			},
			packets: "client 192.0.2.7  172.18.0.11:8053/tcp  127.0.0.1:8053\n",
		},
	}
}

// TestFirewalls sends packets through our rules on hosts that have rules of others.
func TestFirewalls(t *testing.T) {
	all := loadScenarios(t)
	eachVariant(t, func(t *testing.T, variant testenv.Variant) {
		for _, f := range firewalls() {
			t.Run(f.name, func(t *testing.T) {
				c := f.cast(t, all)
				p := play{stage: newStage(t, c.places, c.targets()), cast: c}
				kernels := newKernels(t, p.node1.Host, variant)
				for family, rules := range f.rules {
					k := kernels[family]
					if err := k.host.Do(func() error { return k.tool.Restore(t.Context(), rules) }); err != nil {
						t.Fatal(err)
					}
				}
				p.prepare(t, kernels)
				p.run(t)
			})
		}
	})
}

// cast are the firewall's packets.
func (f firewall) cast(t *testing.T, all []*scenarios.Scenario) *cast {
	t.Helper()
	i := slices.IndexFunc(all, func(s *scenarios.Scenario) bool { return s.Name == f.scenario })
	if i < 0 {
		t.Fatalf("there is no scenario %s", f.scenario)
	}
	s := *all[i]
	if f.packets != "" {
		s.Packets = f.packets
	}
	return fullCast(t, &s)
}
