package tracer

import (
	"strings"
	"testing"
)

// TestStrict: what is not known is an error that names the rule.
func TestStrict(t *testing.T) {
	tests := []struct{ line, want string }{
		{"filter FORWARD -m set --match-set x src -j DROP", "the host has no set x"},
		{"filter FORWARD -m limit --limit 5/min", "unknown match -m limit"},
		{"filter FORWARD -f -j DROP", "unknown option -f"},
		{"filter FORWARD --dport 80 -j DROP", "unknown option --dport"},
		{"filter FORWARD -m tcp --dport 80 -j DROP", "needs -p tcp"},
		{"filter FORWARD ! -p tcp -m tcp --dport 80 -j DROP", "needs -p tcp"},
		{"filter FORWARD -p udp -m tcp --dport 80 -j DROP", "needs -p tcp"},
		{"filter FORWARD -p tcp -m tcp --tcp-flags SYN SYN -j DROP", "unknown option --tcp-flags"},
		{"filter FORWARD -p tcp -m tcp --dport 80 --dport 81", "option --dport is given twice"},
		{"filter FORWARD -p tcp -p udp", "option -p is given twice"},
		{"filter FORWARD -p tcp -m tcp --dport 65536", `port "65536"`},
		{"filter FORWARD -p tcp -m tcp --dport 90:80", `port "90:80"`},
		{"filter FORWARD -p tcp -m tcp --dport", "option --dport without its value"},
		{"filter FORWARD -p tcpp", `protocol "tcpp"`},
		{"filter FORWARD -s 10.0.0.0/33", `"10.0.0.0/33"`},
		{"filter FORWARD -s example.org", `"example.org"`},
		{"filter FORWARD -s 10.0.0.1 -d fd00::1", "address fd00::1 among rules for IPv4"},
		{"filter FORWARD !", `"!" without an option`},
		{"filter FORWARD ! -m mark --mark 1", `option -m takes no "!"`},
		{"filter FORWARD ! -j DROP", `option -j takes no "!"`},
		{"filter FORWARD -m comment ! --comment x", `option --comment takes no "!"`},
		{"filter FORWARD -m comment -j DROP", "--comment missing"},
		{`filter FORWARD -m comment --comment "x`, "no closing quote"},
		{`filter FORWARD -m comment --comment "x"-j DROP`, "no space after the quoted word"},
		{`filter FORWARD -m comment --comment x"y`, "quote inside the word"},
		{"filter FORWARD -m mark", "--mark missing"},
		{"filter FORWARD -m mark --mark 0x100000000", "want a number of 32 bits"},
		{"filter FORWARD -m conntrack --ctstate NEW,OLD", `state "OLD"`},
		{"filter FORWARD -m conntrack --ctproto 6", "unknown option --ctproto"},
		{"filter FORWARD -m addrtype --dst-type LOCAL --limit-iface-in", "unknown option --limit-iface-in"},
		{"filter FORWARD -m addrtype --dst-type UNICAST", `address type "UNICAST"`},
		{"filter FORWARD -m statistic --mode nth --every 2", "unknown option --every"},
		{"filter FORWARD -m statistic --mode nth", `mode "nth"`},
		{"filter FORWARD -m statistic --mode random", "--probability missing"},
		{"filter FORWARD -m statistic --mode random --probability 1.5", `"1.5"`},
		{"filter FORWARD -m statistic --mode random --probability NaN", `"NaN"`},
		{"filter FORWARD -m recent --name L", "none of --set"},
		{"filter FORWARD -m recent --set --update", "option --update: after --set"},
		{"filter FORWARD -m recent --rcheck --hitcount 4", "unknown option --hitcount"},
		{"filter FORWARD -m recent --rcheck --seconds 0", `"0"`},
		{"filter FORWARD -p tcp -m multiport --dports 1,,2", `port ""`},
		{"filter FORWARD -m multiport --dports 1", "a protocol that has ports"},
		{"filter FORWARD -j KUBE-NOWHERE", "KUBE-NOWHERE is neither a known target nor a chain"},
		{"filter FORWARD -j CT --notrack", "target CT: unknown option --notrack"},
		{"filter FORWARD -j NOTRACK", "NOTRACK is neither a known target nor a chain"},
		{"filter FORWARD -j FORWARD", "jump to the built-in chain FORWARD"},
		{"filter FORWARD -g DROP", "DROP is neither"},
		{"filter FORWARD -j DROP -s 10.0.0.1", "unknown option -s"},
		{"filter FORWARD -j MARK", "want exactly one option, have 0"},
		{"filter FORWARD -j MARK --set-xmark 1/1 --or-mark 1", "want exactly one option, have 2"},
		{"filter FORWARD -j MARK --or-mark 1/1", "takes no mask"},
		{"nat PREROUTING -j DNAT", "--to-destination missing"},
		{"nat PREROUTING -j DNAT --to-destination 10.0.0.1:80", "a port needs -p"},
		{"nat PREROUTING -p tcp -j DNAT --to-destination 10.0.0.1-10.0.0.9", "ranges are not known"},
		{"nat PREROUTING -p tcp -j DNAT --to-destination 10.0.0.1:0", "want ADDRESS"},
		{"nat POSTROUTING -j DNAT --to-destination 10.0.0.1", "not valid in table nat at hook POSTROUTING"},
		{"nat PREROUTING -j MASQUERADE", "not valid in table nat at hook PREROUTING"},
		{"nat PREROUTING -j REJECT", "not valid in table nat at hook PREROUTING"},
		{"nat PREROUTING -j DROP", "not valid in table nat at hook PREROUTING"},
		{"nat PREROUTING policy DROP", "the nat table does not drop"},
		{"filter FORWARD -j MASQUERADE", "not valid in table filter at hook FORWARD"},
		{"filter FORWARD policy QUEUE", "policy QUEUE"},
		{"nat FORWARD policy ACCEPT", "no such built-in chain"},
		{"mangle PREROUTING -j ACCEPT", "table mangle: has rules"},
		{`filter FORWARD -m bpf --bytecode "1,6 0 0"`, "want CODE JT JF K"},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			_, err := parseLines(testHost, tt.line)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("want an error with %q, have %v", tt.want, err)
			}
			table, rest, _ := strings.Cut(tt.line, " ")
			name, rule, _ := strings.Cut(rest, " ")
			if strings.HasPrefix(rule, "policy") || table == "mangle" {
				return
			}
			for _, part := range []string{"table " + table, "chain " + name, "rule 1, "} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%v: does not say %s", err, part)
				}
			}
		})
	}
}

func TestLinkErrors(t *testing.T) {
	for want, lines := range map[string][]string{
		"circle: A -> B -> A": {"filter FORWARD -j A", "filter A -j B", "filter B -g A"},
		"circle: A -> A":      {"filter A -j A"},
		"chain D: rule 1, \"-p tcp -j DNAT --to-destination 10.0.0.1:80\": target DNAT is not valid in table nat at hook POSTROUTING": {
			"nat PREROUTING -j D", "nat POSTROUTING -j C", "nat C -j D", "nat D -p tcp -j DNAT --to-destination 10.0.0.1:80",
		},
	} {
		if _, err := parseLines(testHost, lines...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, have %v", want, err)
		}
	}
}

// FuzzRule: no text makes the parser or a trace panic, and a rule that is
// accepted is accepted again.
func FuzzRule(f *testing.F) {
	for _, seed := range []string{
		`-d 10.96.10.1/32 -p tcp -m comment --comment "a b" -m tcp --dport 80 -j DROP`,
		`! -s 10.244.0.0/16 -m conntrack ! --ctstate RELATED,DNAT -j REJECT --reject-with icmp-port-unreachable`,
		`-p udp -m recent --update --seconds 10 --reap --name L --mask 255.255.255.255 --rsource -m udp -j ACCEPT`,
		`-m statistic --mode random --probability 0.33333333349 -m recent --set --rdest -j MARK --set-xmark 0x4000/0x4000`,
		`-m bpf --bytecode "6,32 0 0 12,7 0 0 0,32 0 0 16,29 0 1 0,6 0 0 65535,6 0 0 0" -j DROP`,
		`-m bpf --bytecode "4,177 0 0 0,72 0 0 2,53 0 0 80,22 0 0 0" -j LOG --log-prefix "\"x\\"`,
		`-p tcp -m multiport --dports 1,2:3 -m addrtype ! --dst-type LOCAL -i eth+ ! -o lo`,
		`-d ::1/128 -m mark ! --mark 1/0xff -j RETURN`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, rule string) {
		line := "filter FORWARD " + rule
		tr, err := parseLines(testHost, line)
		if err != nil {
			return
		}
		if _, err := parseLines(testHost, line); err != nil {
			t.Fatalf("accepted once, then: %v", err)
		}
		p := packet(t, podPacket)
		if tr.family == 6 {
			p = packet(t, "veth0>fd00::1 [fd00::2]:80/tcp")
		}
		res, err := tr.Trace(p)
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for _, o := range res.Outcomes {
			sum += o.Probability
		}
		if sum < 0.999999999 || sum > 1.000000001 {
			t.Fatalf("probabilities add up to %g", sum)
		}
	})
}
