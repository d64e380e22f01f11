package tracer

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/iptables"
)

// testHost is a node with one address of each family.
var testHost = Host{Addresses: []netip.Addr{
	netip.MustParseAddr("172.18.0.11"), netip.MustParseAddr("fd00:172:18::11"),
}}

// newTracer makes a tracer of lines such as "nat PREROUTING -j X" (a rule) and
// "nat X" (a chain without rules). Chains come into being by being named.
func newTracer(t testing.TB, host Host, lines ...string) *Tracer {
	t.Helper()
	tr, err := parseLines(host, lines...)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func parseLines(host Host, lines ...string) (*Tracer, error) {
	chains := map[string]*iptables.Chain{}
	tables := map[string]*iptables.Table{}
	var rs iptables.Ruleset
	var order []string
	for _, line := range lines {
		table, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, rule, hasRule := strings.Cut(rest, " ")
		if tables[table] == nil {
			tables[table] = &iptables.Table{Name: table}
			order = append(order, table)
		}
		c := chains[table+" "+name]
		if c == nil {
			c = &iptables.Chain{Name: name}
			chains[table+" "+name] = c
			tables[table].Chains = append(tables[table].Chains, c)
		}
		if policy, ok := strings.CutPrefix(rule, "policy "); ok {
			c.Policy = policy
		} else if hasRule {
			c.Rules = append(c.Rules, rule)
		}
	}
	for _, name := range order {
		rs.Tables = append(rs.Tables, *tables[name])
	}
	return New(rs, host)
}

// packet reads "[IN>]SRC[:PORT] DST:PORT/PROTO".
func packet(t testing.TB, s string) Packet {
	t.Helper()
	in, rest, arrives := strings.Cut(s, ">")
	if !arrives {
		in, rest = "", s
	}
	src, dst, _ := strings.Cut(rest, " ")
	dst, proto, _ := strings.Cut(dst, "/")
	to, err := netip.ParseAddrPort(dst)
	if err != nil {
		t.Fatal(err)
	}
	return Packet{Src: netip.MustParseAddr(src), SrcPort: 40000, Dst: to.Addr(), DstPort: to.Port(), Protocol: proto, InInterface: in}
}

func outcomes(t testing.TB, tr *Tracer, p Packet) string {
	t.Helper()
	res, err := tr.Trace(p)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, o := range res.Outcomes {
		lines = append(lines, o.String())
	}
	return strings.Join(lines, "\n")
}

const podPacket = "veth0>10.244.1.5 10.96.10.1:80/tcp"

func TestMatches(t *testing.T) {
	tests := []struct {
		rule string
		yes  string // packets that match, separated by "|"
		no   string // and those that do not
	}{
		{"-s 10.244.0.0/16", podPacket, "eth0>192.0.2.7 10.96.10.1:80/tcp"},
		{"! -s 10.244.0.0/16", "eth0>192.0.2.7 10.96.10.1:80/tcp", podPacket},
		{"-d 10.96.10.1", podPacket, "veth0>10.244.1.5 10.96.10.2:80/tcp"},
		{"! -d 10.96.10.1/32", "veth0>10.244.1.5 10.96.10.2:80/tcp", podPacket},
		{"-i veth0", podPacket, "veth01>10.244.1.5 10.96.10.1:80/tcp"},
		{"-i veth+", podPacket + "|veth>10.244.1.5 10.96.10.1:80/tcp", "eth0>10.244.1.5 10.96.10.1:80/tcp"},
		{"! -i veth+", "eth0>10.244.1.5 10.96.10.1:80/tcp", podPacket},
		{"-p tcp", podPacket, "veth0>10.244.1.5 10.96.10.1:80/udp"},
		{"-p 47", "veth0>10.244.1.5 10.96.10.1:0/gre", podPacket},
		{"! -p tcp", "veth0>10.244.1.5 10.96.10.1:80/udp", podPacket},
		{"-p tcp -m tcp --dport 80", podPacket, "veth0>10.244.1.5 10.96.10.1:81/tcp|veth0>10.244.1.5 10.96.10.1:80/sctp"},
		{"-p tcp -m tcp ! --dport 80", "veth0>10.244.1.5 10.96.10.1:81/tcp", podPacket},
		{"-p udp -m udp --dport 80:90", "veth0>10.244.1.5 10.96.10.1:80/udp|veth0>10.244.1.5 10.96.10.1:90/udp", "veth0>10.244.1.5 10.96.10.1:91/udp"},
		{"-p sctp -m sctp --dport 80:", "veth0>10.244.1.5 10.96.10.1:65535/sctp", "veth0>10.244.1.5 10.96.10.1:79/sctp"},
		{"-p tcp -m tcp --sport :40000", podPacket, ""},
		{"-p tcp -m tcp --sport 1:39999", "", podPacket},
		{"-p tcp -m multiport --dports 22,80,1000:2000", podPacket + "|veth0>10.244.1.5 10.96.10.1:1500/tcp", "veth0>10.244.1.5 10.96.10.1:2001/tcp"},
		{"-p tcp -m multiport ! --dports 22,81", podPacket, "veth0>10.244.1.5 10.96.10.1:22/tcp"},
		{"-p tcp -m multiport --ports 40000", podPacket, ""},
		{"-p tcp -m multiport --sports 80", "", podPacket},
		{`-m comment --comment "a \"quoted\" -j DROP comment"`, podPacket, ""},
		{"-m nfacct --nfacct-name  packets", podPacket, ""},
		{"-m mark --mark 0x4000/0x4000", "", podPacket},
		{"-m mark ! --mark 0x4000/0x4000", podPacket, ""},
		{"-m mark --mark 0x0", podPacket, ""},
		{"-m addrtype --dst-type LOCAL", "eth0>192.0.2.7 172.18.0.11:80/tcp|10.1.1.1 127.1.2.3:80/tcp", podPacket},
		{"-m addrtype ! --src-type LOCAL", podPacket, "172.18.0.11 10.96.10.1:80/tcp"},
		{"-m conntrack --ctstate NEW", podPacket, ""},
		{"-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT", podPacket, ""},
		{"-m conntrack --ctstate INVALID,DNAT,SNAT", "", podPacket},
		{"-m conntrack --ctorigdst 10.96.10.1/32 --ctorigdstport 80 --ctorigsrc 10.244.0.0/16", podPacket, "veth0>10.244.1.5 10.96.10.2:80/tcp|veth0>10.244.1.5 10.96.10.1:81/tcp"},
		{"-m conntrack ! --ctorigdst 10.96.10.1", "veth0>10.244.1.5 10.96.10.2:80/tcp", podPacket},
		{"-m statistic --mode random --probability 1", podPacket, ""},
		{"-m statistic --mode random --probability 0.00000000000", "", podPacket},
		{"-m statistic --mode random ! --probability 1", "", podPacket},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			// Non-local destinations pass FORWARD, local ones INPUT, the host's own OUTPUT.
			tr := newTracer(t, testHost, "filter FORWARD "+tt.rule+" -j DROP", "filter INPUT "+tt.rule+" -j DROP", "filter OUTPUT "+tt.rule+" -j DROP")
			for want, list := range map[string]string{"drop": tt.yes, "accept": tt.no} {
				for p := range strings.SplitSeq(list, "|") {
					if p == "" {
						continue
					}
					if have := outcomes(t, tr, packet(t, p)); have != want {
						t.Errorf("%s: want %s, have %s", p, want, have)
					}
				}
			}
		})
	}
}

func TestOutDevice(t *testing.T) {
	tr := newTracer(t, testHost, "filter FORWARD -o cali+ -j DROP", "filter OUTPUT -o lo -j DROP", "filter OUTPUT ! -o cali1 -j REJECT")
	for out, want := range map[string]string{"": "accept", "eth0": "accept", "cali1": "drop"} {
		p := packet(t, podPacket)
		p.OutInterface = out
		if have := outcomes(t, tr, p); have != want {
			t.Errorf("forwarded to %q: want %s, have %s", out, want, have)
		}
	}
	for dst, want := range map[string]string{"172.18.0.11": "drop", "192.0.2.1": "reject"} {
		if have := outcomes(t, tr, packet(t, "172.18.0.11 "+dst+":1/tcp")); have != want {
			t.Errorf("host to %s: want %s, have %s", dst, want, have)
		}
	}
}

// TestDeviceByHook: which of the two devices a rule sees depends on the hook.
func TestDeviceByHook(t *testing.T) {
	for _, tt := range []struct {
		rule, packet, want string
	}{
		{"filter INPUT -i lo -j DROP", "127.0.0.1 127.0.0.1:1/tcp", "drop"},
		{"filter OUTPUT -i lo -j DROP", "127.0.0.1 127.0.0.1:1/tcp", "accept"},
		{"filter INPUT -i eth0 -j DROP", "eth0>192.0.2.7 172.18.0.11:1/tcp", "drop"},
		{"filter INPUT -o lo -j DROP", "eth0>192.0.2.7 172.18.0.11:1/tcp", "accept"},
		{"nat POSTROUTING -i veth0 -j MASQUERADE", podPacket, "accept, masquerade"},
		{"nat PREROUTING -o lo -j DNAT --to-destination 10.0.0.1", "eth0>192.0.2.7 172.18.0.11:1/tcp", "accept"},
		{"nat POSTROUTING -o lo -j MASQUERADE", "172.18.0.11 127.0.0.1:1/tcp", "accept, masquerade"},
	} {
		if have := outcomes(t, newTracer(t, testHost, tt.rule), packet(t, tt.packet)); have != tt.want {
			t.Errorf("%s: %s: want %s, have %s", tt.rule, tt.packet, tt.want, have)
		}
	}
}

func TestPacketState(t *testing.T) {
	tr := newTracer(t, testHost,
		"nat PREROUTING -p tcp -j DNAT --to-destination 10.244.1.21:8080",
		"filter FORWARD -m conntrack --ctstate INVALID -j DROP",
		"filter FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j REJECT",
		"filter FORWARD -m conntrack ! --ctorigdst 10.96.10.1 -j REJECT",
		"filter FORWARD -m conntrack --ctstate UNTRACKED -m conntrack --ctorigsrc 0.0.0.0/0 -j REJECT",
	)
	for state, want := range map[CTState]string{
		StateNew:         "accept, to 10.244.1.21:8080",
		StateInvalid:     "drop",
		StateEstablished: "reject",
		StateRelated:     "reject, to 10.244.1.21:8080",
		StateUntracked:   "accept",
	} {
		p := packet(t, podPacket)
		p.State = state
		if have := outcomes(t, tr, p); have != want {
			t.Errorf("%s: want %s, have %s", state, want, have)
		}
	}
}

func TestMark(t *testing.T) {
	for _, tt := range []struct {
		options string
		want    uint32
	}{
		{"--set-xmark 0x4000/0x4000", 0x40f0},
		{"--set-xmark 0x4000/0x0", 0x40f0},
		{"--set-xmark 0x1/0xffffffff", 0x1},
		{"--set-xmark 0xf0/0x0", 0x0},
		{"--set-mark 0x1", 0x1},
		{"--set-mark 0x10/0xf0", 0x10},
		{"--set-mark 0x90/0x80", 0xf0},
		{"--or-mark 0x1", 0xf1},
		{"--and-mark 0x30", 0x30},
		{"--xor-mark 0x11", 0xe1},
	} {
		t.Run(tt.options, func(t *testing.T) {
			tr := newTracer(t, testHost, "nat PREROUTING -j MARK "+tt.options,
				fmt.Sprintf("filter FORWARD -m mark ! --mark %#x -j DROP", tt.want))
			p := packet(t, podPacket)
			p.Mark = 0xf0
			if have := outcomes(t, tr, p); have != "accept" {
				t.Errorf("the mark is not %#x", tt.want)
			}
		})
	}
}

func TestChains(t *testing.T) {
	tests := []struct {
		name  string
		lines []string
		want  string
	}{
		{"policy", []string{"filter FORWARD policy DROP", "filter FORWARD -d 1.2.3.4 -j ACCEPT"}, "drop"},
		{"accept before policy", []string{"filter FORWARD policy DROP", "filter FORWARD -j ACCEPT"}, "accept"},
		{"return from base is policy", []string{"filter FORWARD policy DROP", "filter FORWARD -j RETURN", "filter FORWARD -j ACCEPT"}, "drop"},
		{"chain end comes back", []string{"filter FORWARD -j A", "filter FORWARD -j DROP", "filter A"}, "drop"},
		{"return comes back", []string{"filter FORWARD -j A", "filter FORWARD -j DROP", "filter A -j RETURN", "filter A -j ACCEPT"}, "drop"},
		{"goto does not", []string{"filter FORWARD -g A", "filter FORWARD -j DROP", "filter A"}, "accept"},
		{"goto comes back to the caller's caller", []string{
			"filter FORWARD -j A", "filter FORWARD -j REJECT --reject-with icmp-port-unreachable",
			"filter A -g B", "filter A -j DROP", "filter B -j RETURN",
		}, "reject"},
		{"no target counts only", []string{"filter FORWARD -p tcp", "filter FORWARD -j DROP"}, "drop"},
		{"log goes on", []string{`filter FORWARD -j LOG --log-prefix "a b" --log-level 4`, "filter FORWARD -j DROP"}, "drop"},
		{"first DNAT wins", []string{"nat PREROUTING -p tcp -j DNAT --to-destination 10.0.0.1:1", "nat PREROUTING -p tcp -j DNAT --to-destination 10.0.0.2:2"}, "accept, to 10.0.0.1:1"},
		{"DNAT keeps the port", []string{"nat PREROUTING -j DNAT --to-destination 10.0.0.1"}, "accept, to 10.0.0.1:80"},
		{"DNAT keeps the address", []string{"nat PREROUTING -p tcp -j DNAT --to-destination :8080"}, "accept, to 10.96.10.1:8080"},
		{"accept ends nat", []string{"nat PREROUTING -j ACCEPT", "nat PREROUTING -j DNAT --to-destination 10.0.0.1"}, "accept"},
		{"routing sees the new destination", []string{"nat PREROUTING -j DNAT --to-destination 172.18.0.11", "filter INPUT -j DROP"}, "drop, to 172.18.0.11:80"},
		{"state DNAT", []string{"nat PREROUTING -j DNAT --to-destination 10.0.0.1", "filter FORWARD -m conntrack --ctstate DNAT --ctorigdst 10.96.10.1 -j DROP"}, "drop, to 10.0.0.1:80"},
		{"no state DNAT where nothing changes", []string{"nat PREROUTING -j DNAT --to-destination 10.96.10.1", "filter FORWARD -m conntrack --ctstate DNAT -j DROP"}, "accept, to 10.96.10.1:80"},
		{"masquerade", []string{"nat POSTROUTING -j MASQUERADE --random-fully"}, "accept, masquerade"},
		{"snat", []string{"nat POSTROUTING -p tcp -j SNAT --to-source 172.18.0.11:5000"}, "accept, from 172.18.0.11:5000"},
		{"clamp goes on", []string{"filter FORWARD -p tcp -j TCPMSS --clamp-mss-to-pmtu", "filter FORWARD -j DROP"}, "drop"},
		{"nothing at all", nil, "accept"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if have := outcomes(t, newTracer(t, testHost, tt.lines...), packet(t, podPacket)); have != tt.want {
				t.Errorf("want %s, have %s", tt.want, have)
			}
		})
	}
}

func TestWay(t *testing.T) {
	hooks := []string{
		"nat PREROUTING", "nat INPUT", "nat OUTPUT", "nat POSTROUTING",
		"filter INPUT", "filter FORWARD", "filter OUTPUT",
	}
	var lines []string
	for _, h := range hooks {
		lines = append(lines, h+" -p tcp")
	}
	tr := newTracer(t, testHost, lines...)
	for _, tt := range []struct{ packet, want string }{
		{podPacket, "nat PREROUTING, filter FORWARD, nat POSTROUTING"},
		{"eth0>192.0.2.7 172.18.0.11:80/tcp", "nat PREROUTING, filter INPUT, nat INPUT"},
		{"172.18.0.11 10.96.10.1:80/tcp", "nat OUTPUT, filter OUTPUT, nat POSTROUTING"},
		{"127.0.0.1 127.0.0.1:80/tcp", "nat OUTPUT, filter OUTPUT, nat POSTROUTING, filter INPUT"},
		{"::1 [fd00:172:18::11]:80/tcp", "nat OUTPUT, filter OUTPUT, nat POSTROUTING, filter INPUT"},
	} {
		paths, err := tr.Paths(packet(t, tt.packet))
		if err != nil {
			t.Fatal(err)
		}
		var have []string
		for _, s := range paths[0].Steps {
			if s.Rule != "" {
				have = append(have, s.Table+" "+s.Chain)
			}
		}
		if have := strings.Join(have, ", "); have != tt.want {
			t.Errorf("%s: want %s, have %s", tt.packet, tt.want, have)
		}
	}
}

func TestPathReads(t *testing.T) {
	tr := newTracer(t, testHost,
		"nat PREROUTING -j KUBE-SERVICES",
		"nat KUBE-SERVICES -d 10.9.9.9/32 -j KUBE-SVC-X",
		"nat KUBE-SERVICES -d 10.96.10.1/32 -j KUBE-SVC-X",
		"nat KUBE-SVC-X -p tcp -j DNAT --to-destination 10.244.1.21:8080",
		"filter FORWARD policy ACCEPT",
	)
	paths, err := tr.Paths(packet(t, podPacket))
	if err != nil {
		t.Fatal(err)
	}
	want := `accept, to 10.244.1.21:8080
  nat PREROUTING: -j KUBE-SERVICES
    nat KUBE-SERVICES: -d 10.96.10.1/32 -j KUBE-SVC-X
      nat KUBE-SVC-X: -p tcp -j DNAT --to-destination 10.244.1.21:8080
  filter FORWARD: policy accept`
	if have := paths[0].String(); have != want {
		t.Errorf("want:\n%s\nhave:\n%s", want, have)
	}
	if n := paths[0].Outcome.RulesWalked; n != 4 {
		t.Errorf("rules walked: want 4, have %d", n)
	}
}

func TestPacketErrors(t *testing.T) {
	v4 := newTracer(t, testHost, "filter FORWARD -s 10.0.0.0/8 -j DROP")
	good := packet(t, podPacket)
	for name, change := range map[string]func(*Packet){
		"source address missing":      func(p *Packet) { p.Src = netip.Addr{} },
		"destination address missing": func(p *Packet) { p.Dst = netip.Addr{} },
		"different families":          func(p *Packet) { p.Dst = netip.MustParseAddr("fd00::1") },
		"among rules for IPv4":        func(p *Packet) { p.Src, p.Dst = netip.MustParseAddr("fd00::2"), netip.MustParseAddr("fd00::1") },
		`protocol "TCP"`:              func(p *Packet) { p.Protocol = "TCP" },
		"unknown CTState(9)":          func(p *Packet) { p.State = 9 },
	} {
		p := good
		change(&p)
		if _, err := v4.Trace(p); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want an error with %q, have %v", name, err)
		}
	}
}
