package tracer_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/tracer"
)

const virtualRules = `*filter
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -s 192.0.2.9/32 -d 10.96.0.1/32 -j DROP
-A OUTPUT -d 10.244.0.9/32 -j DROP
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -m set --match-set services dst,dst -j MARK --set-xmark 0x1/0x1
-A PREROUTING -p tcp -m set --match-set ports dst -j MARK --set-xmark 0x1/0x1
-A PREROUTING -m set --match-set pods src -j MARK --set-xmark 0x0/0x1
-A PREROUTING -d 10.96.0.8/32 -p tcp -j DNAT --to-destination 10.244.0.8:8080
-A POSTROUTING -m ipvs --ipvs -m mark --mark 0x1/0x1 -j MASQUERADE
COMMIT
`

// virtualHost has 10.96.0.1:80, with servers of weight 1 and 3, and more beside.
func virtualHost() tracer.Host {
	servers := map[string]tracer.VirtualServer{
		"10.96.0.1:80": {Servers: []tracer.RealServer{
			{Addr: netip.MustParseAddrPort("10.244.0.1:8080"), Weight: 1},
			{Addr: netip.MustParseAddrPort("10.244.0.2:8080"), Weight: 3},
			{Addr: netip.MustParseAddrPort("10.244.0.3:8080"), Weight: 0},
		}},
		"10.96.0.1:81": {Servers: []tracer.RealServer{{Addr: netip.MustParseAddrPort("10.244.0.1:8080")}}},
		"10.96.0.1:82": {Name: "sticky", Persistent: true, Servers: []tracer.RealServer{
			{Addr: netip.MustParseAddrPort("10.244.0.1:8080"), Weight: 1},
			{Addr: netip.MustParseAddrPort("10.244.0.2:8080"), Weight: 1},
		}},
		"10.96.0.1:83": {Servers: []tracer.RealServer{{Addr: netip.MustParseAddrPort("172.18.0.11:8080"), Weight: 1}}},
		"10.96.0.1:84": {Servers: []tracer.RealServer{{Addr: netip.MustParseAddrPort("10.244.0.9:8080"), Weight: 1}}},
	}
	return tracer.Host{
		Addresses: []netip.Addr{netip.MustParseAddr("172.18.0.11"), netip.MustParseAddr("10.96.0.1"), netip.MustParseAddr("10.96.0.8")},
		Sets: map[string]tracer.Set{
			"services": {Type: "hash:ip,port", Entries: map[string]bool{"10.96.0.1,tcp:80": true}},
			"ports":    {Type: "bitmap:port", Entries: map[string]bool{"83": true, "84": true}},
			"pods":     {Type: "hash:ip", Entries: map[string]bool{"10.244.0.5": true}},
		},
		Virtual: func(protocol string, at netip.AddrPort) (tracer.VirtualServer, bool) {
			v, found := servers[at.String()]
			return v, found && protocol == "tcp"
		},
	}
}

func TestVirtualServers(t *testing.T) {
	rules, err := iptables.ParseSave(virtualRules)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, from, to, protocol string
		state                    tracer.CTState
		recent                   map[string][]netip.Addr
		want                     []string
	}{
		{
			name: "shares by weight, and a set that marks", from: "192.0.2.7", to: "10.96.0.1:80",
			want: []string{"accept, to 10.244.0.1:8080, masquerade, p=0.25", "accept, to 10.244.0.2:8080, masquerade, p=0.75"},
		},
		{
			name: "a set of sources", from: "10.244.0.5", to: "10.96.0.1:80",
			want: []string{"accept, to 10.244.0.1:8080, p=0.25", "accept, to 10.244.0.2:8080, p=0.75"},
		},
		{
			name: "from the host", to: "10.96.0.1:80",
			want: []string{"accept, to 10.244.0.1:8080, p=0.25", "accept, to 10.244.0.2:8080, p=0.75"},
		},
		{name: "filter INPUT comes before", from: "192.0.2.9", to: "10.96.0.1:80", want: []string{"drop"}},
		{name: "filter OUTPUT comes after", from: "192.0.2.7", to: "10.96.0.1:84", want: []string{"drop, to 10.244.0.9:8080"}},
		{name: "also from the host", to: "10.96.0.1:84", want: []string{"drop, to 10.244.0.9:8080"}},
		{name: "nobody has weight", from: "192.0.2.7", to: "10.96.0.1:81", want: []string{"reject"}},
		{name: "a real server on the host is not masqueraded", from: "192.0.2.7", to: "10.96.0.1:83", want: []string{"accept, to 172.18.0.11:8080"}},
		{name: "no virtual server", from: "192.0.2.7", to: "10.96.0.1:90", want: []string{"accept"}},
		{name: "another protocol", from: "192.0.2.7", to: "10.96.0.1:80", protocol: "udp", want: []string{"accept"}},
		{name: "not a first packet", from: "192.0.2.7", to: "10.96.0.1:80", state: tracer.StateEstablished, want: []string{"accept"}},
		{name: "DNAT comes before", from: "192.0.2.7", to: "10.96.0.8:80", want: []string{"accept, to 10.244.0.8:8080"}},
		{
			name: "persistence begins", from: "192.0.2.7", to: "10.96.0.1:82",
			want: []string{
				"accept, to 10.244.0.1:8080, recent sticky 10.244.0.1:8080, p=0.5",
				"accept, to 10.244.0.2:8080, recent sticky 10.244.0.2:8080, p=0.5",
			},
		},
		{
			name: "persistence holds", from: "192.0.2.7", to: "10.96.0.1:82",
			recent: map[string][]netip.Addr{"sticky 10.244.0.2:8080": {netip.MustParseAddr("192.0.2.7")}},
			want:   []string{"accept, to 10.244.0.2:8080, recent sticky 10.244.0.2:8080"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			host := virtualHost()
			host.RecentClients = test.recent
			tr, err := tracer.New(rules, host)
			if err != nil {
				t.Fatal(err)
			}
			to := netip.MustParseAddrPort(test.to)
			p := tracer.Packet{Dst: to.Addr(), DstPort: to.Port(), Protocol: "tcp", State: test.state, SrcPort: 50000}
			if test.protocol != "" {
				p.Protocol = test.protocol
			}
			if p.Src = netip.MustParseAddr("172.18.0.11"); test.from != "" {
				p.Src, p.InInterface = netip.MustParseAddr(test.from), "eth0"
			}
			result, err := tr.Trace(p)
			if err != nil {
				t.Fatal(err)
			}
			var have []string
			for _, o := range result.Outcomes {
				have = append(have, o.String())
			}
			if diff := cmp.Diff(test.want, have); diff != "" {
				t.Errorf("-want +have:\n%s", diff)
			}
		})
	}
}

func TestSetsThatCannotBe(t *testing.T) {
	for _, test := range []struct{ rule, want string }{
		{"-m set --match-set nets dst -j DROP", "type hash:net is not known"},
		{"-m set --match-set services dst -j DROP", "1 flags for type hash:ip,port, want 2"},
		{"-m set --match-set pods to -j DROP", `flag "to": want src or dst`},
		{"-m set -j DROP", "--match-set missing"},
		{"-m ipvs -j DROP", "--ipvs missing"},
		{"-m ipvs --vport 80 -j DROP", "unknown option --vport"},
	} {
		host := virtualHost()
		host.Sets["nets"] = tracer.Set{Type: "hash:net"}
		rules, err := iptables.ParseSave("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT " + test.rule + "\nCOMMIT\n")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tracer.New(rules, host); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: want an error with %q, have %v", test.rule, test.want, err)
		}
	}
}
