package packets

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/tracer"
)

func TestParse(t *testing.T) {
	const table = `
# a comment
pod 10.244.1.5          10.96.10.1:80/tcp    10.0.0.2:80 10.0.0.1:80=masq  # another
client 192.0.2.7%eth1   10.96.10.1:80/sctp   masq 10.0.0.1:80 recent
node                    [fd00::1]:53/udp     reject
node 127.0.0.1          127.0.0.1/icmp       - masq
pod fd00::5%cbr0        [fd00::1]:53/tcp/invalid  drop
`
	cases, err := Parse(table, node1)
	if err != nil {
		t.Fatal(err)
	}
	type parsed struct {
		line                      int
		from                      Origin
		src, in, dst, proto, want string
		port                      uint16
		state                     tracer.CTState
	}
	want := []parsed{
		{3, Pod, "10.244.1.5", "veth0", "10.96.10.1", "tcp", "10.0.0.2:80 10.0.0.1:80=masq", 80, tracer.StateNew},
		{4, Client, "192.0.2.7", "eth1", "10.96.10.1", "sctp", "10.0.0.1:80=masq recent", 80, tracer.StateNew},
		{5, Node, "fd00:172:18::11", "", "fd00::1", "udp", "reject", 53, tracer.StateNew},
		{6, Node, "127.0.0.1", "", "127.0.0.1", "icmp", "- masq", 0, tracer.StateNew},
		{7, Pod, "fd00::5", "cbr0", "fd00::1", "tcp", "drop", 53, tracer.StateInvalid},
	}
	if len(cases) != len(want) {
		t.Fatalf("want %d cases, have %d", len(want), len(cases))
	}
	for i, c := range cases {
		p := c.Packet
		have := parsed{c.Line, c.From, p.Src.String(), p.InInterface, p.Dst.String(), p.Protocol, c.Want.String(), p.DstPort, p.State}
		if have != want[i] {
			t.Errorf("want %+v\nhave %+v", want[i], have)
		}
	}
	if have := cases[0].Text; have != "pod 10.244.1.5 10.96.10.1:80/tcp 10.0.0.2:80 10.0.0.1:80=masq" {
		t.Errorf("text: %s", have)
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ line, want string }{
		{"host 10.0.0.1 10.0.0.2:80/tcp -", `"host": want pod, client or node`},
		{"pod", "pod: address missing"},
		{"pod 10.0.0.1", "destination missing"},
		{"pod 10.96.0.1:80/tcp -", `pod: "10.96.0.1:80/tcp" is not an address`},
		{"client 10.0.0.300 10.0.0.2:80/tcp -", `client: "10.0.0.300" is not an address`},
		{"pod 10.0.0.1% 10.0.0.2:80/tcp -", "device missing"},
		{"node 10.0.0.1%eth0 10.0.0.2:80/tcp -", "what the host sends has no device"},
		{"node", "destination missing"},
		{"pod 10.0.0.1 10.0.0.2:80 -", `destination "10.0.0.2:80": want ADDR:PORT/PROTOCOL`},
		{"pod 10.0.0.1 10.0.0.2/tcp -", "want ADDR:PORT before /tcp"},
		{"pod 10.0.0.1 10.0.0.2:0/tcp -", "want ADDR:PORT before /tcp"},
		{"pod 10.0.0.1 10.0.0.2:80/icmp -", "want ADDR before /icmp"},
		{"pod 10.0.0.1 10.0.0.2:80/TCP -", `protocol "TCP"`},
		{"pod 10.0.0.1 10.0.0.2:80/tcp/new -", `state "new"`},
		{"pod 10.0.0.1 10.0.0.2:80/tcp/ -", `state ""`},
		{"pod 10.0.0.1 [fd00::1]:80/tcp -", "of different families"},
		{"pod 10.0.0.1 10.0.0.2:80/tcp", "expectation missing"},
		{"pod 10.0.0.1 10.0.0.2:80/tcp masq", "expectation missing"},
		{"pod 10.0.0.1 10.0.0.2:80/tcp accept", `"accept": want drop, reject`},
		{"pod 10.0.0.1 10.0.0.2:80/tcp 10.0.0.3", `"10.0.0.3": want drop, reject`},
		{"pod 10.0.0.1 10.0.0.2:80/tcp [fd00::1]:80", "not of the family"},
		{"pod 10.0.0.1 10.0.0.2:80/tcp drop reject", "drop and reject exclude each other"},
		{"pod 10.0.0.1 10.0.0.2:80/tcp 10.0.0.3:1 -", "an endpoint and - exclude each other"},
		{"pod 10.0.0.1 10.0.0.2:80/tcp drop drop", `"drop" is given twice`},
		{"pod 10.0.0.1 10.0.0.2:80/tcp 10.0.0.3:1 10.0.0.3:1=masq", "endpoint 10.0.0.3:1 is given twice"},
		{"pod 10.0.0.1 10.0.0.2:80/tcp 10.0.0.3:1=masq masq", "masq holds for all"},
		{"pod 10.0.0.1 10.0.0.2:80/tcp drop masq", "masq with drop"},
		{"pod 10.0.0.1 10.0.0.2:80/tcp - recent", "recent with -"},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			_, err := Parse("# first line\n"+tt.line, node1)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "line 2") {
				t.Errorf("want an error for line 2 with %q, have %v", tt.want, err)
			}
		})
	}
	if _, err := Parse("node [fd00::1]:80/tcp -", node1[:1]); err == nil || !strings.Contains(err.Error(), "no address of the family") {
		t.Errorf("node without IPv6 address: have %v", err)
	}
}

// rules is a save of these rules of nat's chain S, where all packets to
// 10.96.0.1 go, and of POSTROUTING and FORWARD.
func rules(t *testing.T, lines ...string) *tracer.Tracer {
	t.Helper()
	save := "*nat\n:PREROUTING ACCEPT\n:POSTROUTING ACCEPT\n:S -\n-A PREROUTING -d 10.96.0.1/32 -j S\n"
	filter := "*filter\n:FORWARD ACCEPT\n"
	for _, l := range lines {
		if strings.HasPrefix(l, "FORWARD") {
			filter += "-A " + l + "\n"
		} else {
			save += "-A " + l + "\n"
		}
	}
	rs, err := iptables.ParseSave(save + "COMMIT\n" + filter + "COMMIT\n")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := tracer.New(rs, tracer.Host{Addresses: []netip.Addr{node1[0]}})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

const (
	half = "S -p tcp -m statistic --mode random --probability 0.50000000000 "
	toA  = "-j DNAT --to-destination 10.0.0.1:80"
	toB  = "-j DNAT --to-destination 10.0.0.2:80"
	rest = "S -p tcp "
	from = "pod 10.244.1.5 10.96.0.1:80/tcp "
)

// TestCheckSees: every way in which rules can differ from a case is seen, and
// said; an empty problem is for rules that are right.
func TestCheckSees(t *testing.T) {
	both := []string{half + toA, rest + toB}
	recent := []string{
		"S -p tcp -m recent --update --name A --rsource " + toA,
		"S -p tcp -m recent --update --name B --rsource " + toB,
		half + "-m recent --set --name A --rsource " + toA,
		rest + "-m recent --set --name B --rsource " + toB,
	}
	masq := "POSTROUTING -j MASQUERADE"
	tests := []struct {
		name, line string
		rules      []string
		problem    string
	}{
		{"as wanted", from + "10.0.0.1:80 10.0.0.2:80", both, ""},
		{"in another order", from + "10.0.0.2:80 10.0.0.1:80", both, ""},
		{"as wanted, masq", from + "10.0.0.2:80 10.0.0.1:80 masq", append(both, masq), ""},
		{"untouched", from + "-", nil, ""},
		{"untouched but masqueraded", from + "- masq", []string{masq}, ""},
		{"drop", from + "drop", append(both, "FORWARD -j DROP"), ""},
		{"affinity", from + "10.0.0.1:80 10.0.0.2:80 recent", recent, ""},
		{"snat is masq", from + "- masq", []string{"POSTROUTING -j SNAT --to-source 172.18.0.11"}, ""},

		{"endpoint too many", from + "10.0.0.1:80", both, "unexpected: 10.0.0.2:80"},
		{"endpoint missing", from + "10.0.0.1:80 10.0.0.2:80 10.0.0.3:80", both, "missing: 10.0.0.3:80"},
		{"other port", from + "10.0.0.1:80 10.0.0.2:81", both, "missing: 10.0.0.2:81; unexpected: 10.0.0.2:80"},
		{
			"unequal chances", from + "10.0.0.1:80 10.0.0.2:80",
			[]string{strings.Replace(half, "0.50", "0.51", 1) + toA, rest + toB},
			"10.0.0.1:80 has a chance of 0.51",
		},
		{
			"chances unequal by little", from + "10.0.0.1:80 10.0.0.2:80",
			[]string{strings.Replace(half, "0.50000000", "0.50000100", 1) + toA, rest + toB},
			"10.0.0.1:80 has a chance of 0.500001",
		},
		{"masq missing", from + "10.0.0.1:80 10.0.0.2:80 masq", both, "missing: 10.0.0.1:80=masq"},
		{"masq unexpected", from + "10.0.0.1:80 10.0.0.2:80", append(both, masq), "unexpected: 10.0.0.1:80=masq"},
		{"masq for one only", from + "10.0.0.1:80=masq 10.0.0.2:80", append(both, masq), "unexpected: 10.0.0.2:80=masq"},
		{"untouched masqueraded", from + "-", []string{masq}, "unexpected: - masq"},
		{"dropped", from + "10.0.0.1:80 10.0.0.2:80", append(both, "FORWARD -d 10.0.0.2 -j DROP"), "unexpected: drop"},
		{"rejected instead", from + "drop", []string{"FORWARD -j REJECT"}, "missing: drop; unexpected: reject"},
		{"accepted", from + "drop", both, "missing: drop; unexpected: 10.0.0.1:80"},
		{"not remembered", from + "10.0.0.1:80 10.0.0.2:80 recent", both, "the client is not remembered"},
		{"remembered", from + "10.0.0.1:80 10.0.0.2:80", recent, "unexpected: on the way to 10.0.0.1:80 the client is remembered in A"},
		{"memory not used", from + "10.0.0.1:80 10.0.0.2:80 recent", recent[2:], "a client remembered for 10.0.0.1:80 can get 10.0.0.2:80"},
		{
			"memory not renewed", from + "10.0.0.1:80 10.0.0.2:80 recent",
			append([]string{strings.Replace(recent[0], "update", "rcheck", 1)}, recent[1:]...), "a client remembered for 10.0.0.1:80 is not renewed",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cases, err := Parse(tt.line, node1)
			if err != nil {
				t.Fatal(err)
			}
			err = cases[0].Check(rules(t, tt.rules...))
			switch {
			case tt.problem == "" && err != nil:
				t.Error(err)
			case tt.problem != "" && (err == nil || !strings.Contains(err.Error(), tt.problem)):
				t.Errorf("want %q, have %v", tt.problem, err)
			}
		})
	}
}

func TestMismatchReads(t *testing.T) {
	cases, err := Parse(from+"10.0.0.1:80", node1)
	if err != nil {
		t.Fatal(err)
	}
	want := `packets, line 1, "pod 10.244.1.5 10.96.0.1:80/tcp 10.0.0.1:80": unexpected: 10.0.0.2:80
want: 10.0.0.1:80
have: 10.0.0.1:80 (p=0.5), 10.0.0.2:80 (p=0.5)
the way to accept, to 10.0.0.2:80, p=0.5
  nat PREROUTING: -d 10.96.0.1/32 -j S
    nat S: -p tcp -j DNAT --to-destination 10.0.0.2:80
  filter FORWARD: policy accept
  nat POSTROUTING: policy accept`
	err = cases[0].Check(rules(t, half+toA, rest+toB))
	if err == nil || err.Error() != want {
		t.Errorf("want:\n%s\nhave:\n%v", want, err)
	}
}

// FuzzParse: no table makes the parser panic, and what it accepts can be said
// again and means the same.
func FuzzParse(f *testing.F) {
	for _, table := range dumpTables {
		for line := range strings.Lines(table) {
			f.Add(line)
		}
	}
	f.Fuzz(func(t *testing.T, table string) {
		cases, err := Parse(table, node1)
		if err != nil {
			return
		}
		for _, c := range cases {
			fields := strings.Fields(c.Text)
			upTo := len(fields)
			for i, w := range fields {
				if strings.Contains(w, "/") {
					upTo = i + 1
					break
				}
			}
			line := strings.Join(fields[:upTo], " ") + " " + c.Want.String()
			again, err := Parse(line, node1)
			if err != nil || again[0].Want.String() != c.Want.String() || again[0].Packet != c.Packet {
				t.Fatalf("%q, said again as %q: %v", c.Text, line, err)
			}
		}
	})
}
