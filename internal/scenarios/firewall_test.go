package scenarios

import (
	"path/filepath"
	"testing"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/iptablestest"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// TestBesideRulesOfOthers: what others accept is refused, restricted and translated
// all the same, in every scenario.
func TestBesideRulesOfOthers(t *testing.T) {
	all, err := LoadAll(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		for _, family := range proxier.Families {
			checkPackets(t, s.Name+": ", s, family, s.beside(t, family, AcceptAll))
		}
	}
}

// beside are all rules of a host that has others' before ours are applied.
func (s *Scenario) beside(t *testing.T, family proxier.Family, others string) iptables.Ruleset {
	t.Helper()
	kernel := iptablestest.New()
	kernel.Must(others)
	config := iptables.Config{Options: s.IPTablesOptions(iptables.AllFeatures())}
	plan, err := iptables.NewDataplane(kernel, config).Plan(t.Context(), s.State(family))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	rules, err := iptables.ParseSave(kernel.String())
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// TestFirewalls sends packets through rules beside a firewall of the host's own.
func TestFirewalls(t *testing.T) {
	for _, tt := range []struct {
		name, scenario string
		drops          string // the chain of the filter table with policy DROP
		others         string // rules that are there first
		packets        string
	}{
		{
			// What is masqueraded comes back through this node, and has to get through.
			// What is not is the host's own affair.
			name: "FORWARD drops", scenario: "external-cluster-policy-masquerades-every-source", drops: "FORWARD",
			packets: `
client 192.0.2.7       172.18.0.11:30080/tcp                      10.244.1.21:8080 10.244.2.21:8080 masq
client 192.0.2.7       203.0.113.10:80/tcp                        10.244.1.21:8080 10.244.2.21:8080 masq
pod 10.244.1.21        192.0.2.7:40000/tcp/established            -
pod 10.244.1.21        192.0.2.7/icmp/related                     -
pod 10.244.1.5         10.96.10.2:80/tcp                          drop
client 192.0.2.7       10.244.1.21:8080/tcp                       drop
client 2001:db8::7     [fd00:172:18::11]:30080/tcp                [fd00:10:244:1::21]:8080 [fd00:10:244:2::21]:8080 masq
pod fd00:10:244:1::21  [2001:db8::7]:40000/tcp/established        -
pod fd00:10:244:1::21  2001:db8::7/ipv6-icmp/related              -
pod fd00:10:244:1::5   [fd00:10:96::a2]:80/tcp                    drop
client 2001:db8::7     [fd00:10:244:1::21]:8080/tcp               drop
`,
		},
		{
			// Balancers get to ask, whatever else the host lets in.
			name: "INPUT drops", scenario: "health-check-node-port-is-open-on-every-node", drops: "INPUT",
			packets: `
client 192.0.2.7    172.18.0.11:32441/tcp        -
client 192.0.2.7    172.18.0.11:32442/tcp        drop
client 192.0.2.7    172.18.0.11:32441/udp        drop
client 2001:db8::7  [fd00:172:18::11]:32441/tcp  -
client 2001:db8::7  [fd00:172:18::11]:32442/tcp  drop
`,
		},
		{
			// What others have sent to loopback addresses, and answers to what the node
			// asked from there, are not the network's own doing.
			name: "others send to a loopback address", scenario: "localhost-node-port-works-over-ipv4-only",
			others: "*nat\n-A PREROUTING -p tcp -m tcp --dport 8053 -j DNAT --to-destination 127.0.0.1:53\nCOMMIT\n",
			packets: `
client 192.0.2.7  172.18.0.11:8053/tcp          127.0.0.1:53
client 192.0.2.7  127.0.0.1:53/tcp              drop
client 192.0.2.7  127.0.0.1:53/tcp/invalid      drop
client 192.0.2.7  127.0.0.1:53/tcp/established  -
client 192.0.2.7  127.0.0.1/icmp/related        -
node 127.0.0.1    127.0.0.1:53/tcp              -
`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Load(filepath.Join(folder, tt.scenario+".txtar"))
			if err != nil {
				t.Fatal(err)
			}
			s.Packets = tt.packets
			for _, family := range proxier.Families {
				cases, err := s.Cases(family)
				if err != nil {
					t.Fatal(err)
				}
				if len(cases) == 0 { // others' rules are of one family then
					continue
				}
				rules := s.beside(t, family, tt.others)
				if tt.drops != "" {
					rules.Table(iptables.Filter).Chain(tt.drops).Policy = "DROP"
				}
				checkPackets(t, "", s, family, rules)
			}
		})
	}
}
