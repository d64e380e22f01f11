package tracer

import (
	"net/netip"
	"strings"
	"testing"
)

// The programs that compare source and destination address, by family.
const (
	sameAddress4 = "6,32 0 0 12,7 0 0 0,32 0 0 16,29 0 1 0,6 0 0 65535,6 0 0 0"
	sameAddress6 = "18,32 0 0 8,7 0 0 0,32 0 0 24,29 0 13 0,32 0 0 12,7 0 0 0,32 0 0 28,29 0 9 0," +
		"32 0 0 16,7 0 0 0,32 0 0 32,29 0 5 0,32 0 0 20,7 0 0 0,32 0 0 36,29 0 1 0,6 0 0 65535,6 0 0 0"
)

// TestHairpin: after DNAT a pod that reached itself has its own address as
// source and destination, and only then is it masqueraded.
func TestHairpin(t *testing.T) {
	for _, tt := range []struct{ name, program, endpoint, packet, want string }{
		{"IPv4 itself", sameAddress4, "10.244.1.5:8080", "veth0>10.244.1.5 10.96.10.1:80/tcp", "accept, to 10.244.1.5:8080, masquerade"},
		{"IPv4 other", sameAddress4, "10.244.1.5:8080", "veth0>10.244.1.4 10.96.10.1:80/tcp", "accept, to 10.244.1.5:8080"},
		{"IPv6 itself", sameAddress6, "[fd00::1:2:3:4]:8080", "veth0>fd00::1:2:3:4 [fd00:96::1]:80/tcp", "accept, to [fd00::1:2:3:4]:8080, masquerade"},
		{"IPv6 other first word", sameAddress6, "[fd00::1:2:3:4]:8080", "veth0>fd01::1:2:3:4 [fd00:96::1]:80/tcp", "accept, to [fd00::1:2:3:4]:8080"},
		{"IPv6 other last word", sameAddress6, "[fd00::1:2:3:4]:8080", "veth0>fd00::1:2:3:5 [fd00:96::1]:80/tcp", "accept, to [fd00::1:2:3:4]:8080"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := newTracer(t, testHost,
				"nat PREROUTING -p tcp -j DNAT --to-destination "+tt.endpoint,
				`nat POSTROUTING -m conntrack --ctstate DNAT -m bpf --bytecode "`+tt.program+`" -j MASQUERADE --random-fully`)
			if have := outcomes(t, tr, packet(t, tt.packet)); have != tt.want {
				t.Errorf("want %s, have %s", tt.want, have)
			}
		})
	}
}

func TestBPFInstructions(t *testing.T) {
	tests := []struct {
		name, program string
		want          uint32
	}{
		{"return constant", "1,6 0 0 7", 7},
		{"load immediate, return accumulator", "2,0 0 0 9,22 0 0 0", 9},
		{"word at offset", "2,32 0 0 12,22 0 0 0", 0x0af40105},
		{"half word at offset", "2,40 0 0 22,22 0 0 0", 80},
		{"byte at offset", "2,48 0 0 9,22 0 0 0", protoTCP},
		{"byte beyond the end", "2,48 0 0 40,6 0 0 1", 0},
		{"word across the end", "2,32 0 0 38,6 0 0 1", 0},
		{"length", "2,128 0 0 0,22 0 0 0", 40},
		{"header length, indirect half word", "3,177 0 0 0,72 0 0 2,22 0 0 0", 80},
		{"indirect beyond 32 bits", "3,1 0 0 4294967295,72 0 0 2,6 0 0 1", 0},
		{"memory", "5,0 0 0 5,2 0 0 15,0 0 0 6,96 0 0 15,22 0 0 0", 5},
		{"memory of the index", "5,1 0 0 5,3 0 0 1,97 0 0 1,135 0 0 0,22 0 0 0", 5},
		{"tax and txa", "5,0 0 0 5,7 0 0 0,0 0 0 6,135 0 0 0,22 0 0 0", 5},
		{"add", "3,0 0 0 5,4 0 0 3,22 0 0 0", 8},
		{"subtract index", "4,0 0 0 5,1 0 0 3,28 0 0 0,22 0 0 0", 2},
		{"multiply", "3,0 0 0 5,36 0 0 3,22 0 0 0", 15},
		{"divide", "3,0 0 0 7,52 0 0 2,22 0 0 0", 3},
		{"divide by an index of zero", "3,0 0 0 7,60 0 0 0,6 0 0 1", 0},
		{"modulo", "3,0 0 0 7,148 0 0 4,22 0 0 0", 3},
		{"or", "3,0 0 0 5,68 0 0 2,22 0 0 0", 7},
		{"and", "3,0 0 0 5,84 0 0 4,22 0 0 0", 4},
		{"xor", "3,0 0 0 5,164 0 0 4,22 0 0 0", 1},
		{"shift left", "3,0 0 0 5,100 0 0 4,22 0 0 0", 80},
		{"shift by an index of 33", "4,0 0 0 5,1 0 0 33,108 0 0 0,22 0 0 0", 10},
		{"shift right", "3,0 0 0 80,116 0 0 4,22 0 0 0", 5},
		{"negate", "3,0 0 0 1,132 0 0 0,22 0 0 0", 0xffffffff},
		{"jump always", "3,5 0 0 1,6 0 0 1,6 0 0 2", 2},
		{"jump if equal", "4,0 0 0 5,21 1 0 5,6 0 0 1,6 0 0 2", 2},
		{"jump if not equal", "4,0 0 0 5,21 0 1 6,6 0 0 1,6 0 0 2", 2},
		{"jump if greater", "4,0 0 0 5,37 0 1 5,6 0 0 1,6 0 0 2", 2},
		{"jump if at least", "4,0 0 0 5,53 0 1 5,6 0 0 1,6 0 0 2", 1},
		{"jump if bits", "4,0 0 0 5,69 0 1 2,6 0 0 1,6 0 0 2", 2},
	}
	p := packet(t, podPacket)
	f := flow{src: p.Src, dst: p.Dst, srcPort: p.SrcPort, dstPort: p.DstPort, proto: protoTCP}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			program, err := parseBytecode(tt.program)
			if err != nil {
				t.Fatal(err)
			}
			var buf [maxHeaders]byte
			if have := program.run(f.headers(&buf)); have != tt.want {
				t.Errorf("want %#x, have %#x", tt.want, have)
			}
		})
	}
}

func TestBPFRefused(t *testing.T) {
	for program, want := range map[string]string{
		"":                            "want a count of instructions",
		"65":                          "want a count of instructions from 1 to 64",
		"2,6 0 0 0":                   "2 instructions announced, 1 given",
		"1,6 0 0":                     "want CODE JT JF K",
		"1,6 0 0 0x1":                 `"0x1": want a number of 32 bits`,
		"1,0 0 0 0":                   "the last instruction does not return",
		"2,21 1 0 0,6 0 0 0":          "jump beyond the end",
		"2,5 0 0 4294967295,6 0 0 0":  "jump beyond the end",
		"2,52 0 0 0,6 0 0 0":          "division by zero",
		"2,100 0 0 32,6 0 0 0":        "shift by 32 bits",
		"2,96 0 0 16,6 0 0 0":         "memory word 16 of 16",
		"2,2 0 0 16,6 0 0 0":          "memory word 16 of 16",
		"2,48 0 0 4294963200,6 0 0 0": "offset -4096",
		"2,15 0 0 0,6 0 0 0":          "unknown code 15",
		"2,65 0 0 0,6 0 0 0":          "unknown code 65",
		"2,14 0 0 0,6 0 0 0":          "unknown code 14",
	} {
		if _, err := parseBytecode(program); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: want an error with %q, have %v", program, want, err)
		}
	}
}

func TestHeaders(t *testing.T) {
	src, dst := netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")
	var buf [maxHeaders]byte
	f := flow{src: src, dst: dst, srcPort: 1, dstPort: 53, proto: protoUDP}
	b := f.headers(&buf)
	if len(b) != 48 || b[0] != 0x60 || b[5] != 8 || b[6] != protoUDP || b[23] != 1 || b[39] != 2 || b[43] != 53 || b[45] != 8 {
		t.Errorf("UDP over IPv6: % x", b)
	}
	f = flow{src: netip.MustParseAddr("10.0.0.1"), dst: netip.MustParseAddr("10.0.0.2"), proto: protoICMP}
	if b := f.headers(&buf); len(b) != 28 || b[3] != 28 || b[20] != 8 {
		t.Errorf("ICMP over IPv4: % x", b)
	}
}
