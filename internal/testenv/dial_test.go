package testenv_test

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

func TestOutcomeOfADial(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.IPTablesNFT)
	c := testenv.StartCluster(t)
	node := c.Node("node1")
	pod, err := node.AddPod("pod")
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range pod.Addrs() {
		for _, proto := range []string{"tcp", "udp"} {
			serve(t, pod, proto, netip.AddrPortFrom(addr, 80))
		}
	}
	rules := map[string]string{ // what happens on the way to the pod's ports
		"81": "-j DROP",
		"82": "-j REJECT",
		"83": "-j REJECT --reject-with %s",
	}
	prohibited := map[string]string{"iptables": "icmp-host-prohibited", "ip6tables": "icmp6-adm-prohibited"}
	for _, tool := range []string{"iptables", "ip6tables"} {
		for _, chain := range []string{"FORWARD", "OUTPUT"} {
			for _, proto := range []string{"tcp", "udp"} {
				for port, action := range rules {
					action = strings.ReplaceAll(action, "%s", prohibited[tool])
					args := append([]string{tool, "-w", "-A", chain, "-p", proto, "--dport", port}, strings.Fields(action)...)
					if out, err := node.Command(t.Context(), "xtables-nft-multi", args...).CombinedOutput(); err != nil {
						t.Fatalf("%v: %v: %s", args, err, out)
					}
				}
			}
		}
	}
	tests := []struct {
		name string
		port uint16
		want string
	}{
		{"server", 80, "pod"},
		{"dropped on the way", 81, "timed out"},
		{"rejected on the way", 82, "refused"},
		{"prohibited on the way", 83, "unreachable"},
		{"no server", 84, "refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var probes []testenv.Probe
			for _, addr := range pod.Addrs() {
				for _, from := range []*testenv.Host{c.Client(), node.Host} {
					for _, proto := range []string{"tcp", "udp"} {
						probes = append(probes, testenv.Probe{From: from, Proto: proto, To: netip.AddrPortFrom(addr, tt.port)})
					}
				}
			}
			for i, result := range testenv.DialAll(t.Context(), probes) {
				if have := result.Outcome(); have != tt.want {
					t.Errorf("%s -> %s %s: have %s (%v), want %s", probes[i].From.Name, probes[i].Proto, probes[i].To, have, result.Err, tt.want)
				}
			}
		})
	}
}

func TestDialWithoutRouteIsUnreachable(t *testing.T) {
	c := testenv.StartCluster(t)
	for _, to := range []string{"192.0.2.1:80", "[2001:db8:dead::1]:80"} {
		have := testenv.Outcome(c.Client().Dial(t.Context(), "tcp", netip.MustParseAddrPort(to), testenv.DialOptions{}))
		if have != "unreachable" {
			t.Errorf("%s: have %s, want unreachable", to, have)
		}
	}
}

func TestOpenFlowCanBeAskedAgain(t *testing.T) {
	c := testenv.StartCluster(t)
	node := c.Node("node2").Host
	for _, proto := range []string{"tcp", "udp"} {
		server := serve(t, node, proto, netip.AddrPortFrom(node.Addr4(), 0))
		conn, err := c.Client().Open(t.Context(), proto, server.Addr(), testenv.DialOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for range 3 {
			reply, err := conn.Ask()
			if err != nil || reply.Server != "node2" || reply.Peer != conn.Local() {
				t.Errorf("%s: have %+v, %v; want node2 asked by %s", proto, reply, err, conn.Local())
			}
		}
		if err := server.Close(); err != nil {
			t.Fatal(err)
		}
		if have := testenv.Outcome(conn.Ask()); proto == "udp" && have != "refused" {
			t.Errorf("udp after the server closed: have %s, want refused", have)
		}
	}
}

func TestVariantIsChosenByPath(t *testing.T) {
	c := testenv.StartCluster(t)
	want := map[testenv.Variant]string{testenv.VariantNFT: "(nf_tables)", testenv.VariantLegacy: "(legacy)"}
	for _, variant := range testenv.Variants() {
		t.Run(string(variant), func(t *testing.T) {
			testenv.Need(t, variant.Capability())
			dir, err := variant.PathDir(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			for _, tool := range []string{"iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"} {
				inside := c.Client().Command(t.Context(), tool, "--version")
				outside := exec.CommandContext(t.Context(), dir+"/"+tool, "--version")
				inside.Env, outside.Env = testenv.Environ(dir), testenv.Environ(dir)
				for _, cmd := range []*exec.Cmd{inside, outside} {
					out, err := cmd.CombinedOutput()
					if err != nil || !strings.Contains(string(out), want[variant]) {
						t.Errorf("%v: have %q, %v; want %s", cmd.Args, out, err, want[variant])
					}
				}
			}
		})
	}
}
