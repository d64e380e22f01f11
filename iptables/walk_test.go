package iptables_test

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/tracer"
	"github.com/kube-proxier/kube-proxier/proxier"
)

var nodeAddresses = []netip.Addr{netip.MustParseAddr("172.18.0.11"), netip.MustParseAddr("fd00:172:18::11")}

func trace(t testing.TB, rs iptables.Ruleset) *tracer.Tracer {
	t.Helper()
	tr, err := tracer.New(rs, tracer.Host{Addresses: nodeAddresses})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// An origin is a kind of client: pod of this node, the node, the world.
type origin struct {
	name  string
	src   map[proxier.Family]netip.Addr
	iface string
}

var origins = []origin{
	{"pod", addrs("10.244.9.9", "fd00:10:244::9999"), "veth1"},
	{"node", addrs("172.18.0.11", "fd00:172:18::11"), ""},
	{"client", addrs("198.51.100.7", "2001:db8:51::7"), "eth0"},
	{"stranger", addrs("192.0.2.99", "2001:db8:99::7"), "eth0"},
}

func addrs(v4, v6 string) map[proxier.Family]netip.Addr {
	return map[proxier.Family]netip.Addr{proxier.IPv4: netip.MustParseAddr(v4), proxier.IPv6: netip.MustParseAddr(v6)}
}

func packet(o origin, family proxier.Family, f *proxier.Frontend) tracer.Packet {
	protocols := map[corev1.Protocol]string{corev1.ProtocolTCP: "tcp", corev1.ProtocolUDP: "udp", corev1.ProtocolSCTP: "sctp"}
	p := tracer.Packet{
		Src: o.src[family], Dst: f.Addr, Protocol: protocols[f.Protocol()],
		SrcPort: 40000, DstPort: f.Port, InInterface: o.iface,
	}
	if f.Kind == proxier.NodePort {
		p.Dst = nodeAddresses[slices.Index(proxier.Families, family)]
	}
	return p
}

// At 10,000 Services a new connection to any of them, or to none, walks fewer
// than 100 rules.
func TestAPacketWalksFewRules(t *testing.T) {
	const most = 100
	store := clustergen.Uniform(10000, 3)
	// Services of all kinds among them, without endpoints, too.
	cluster := clustergen.NewRandom(1, 3000)
	cluster.Store = store
	for range 8000 {
		cluster.Step()
	}
	for _, family := range proxier.Families {
		t.Run(string(family), func(t *testing.T) {
			state := proxier.Build(nil, store.Snapshot(), clustergen.Options(family))
			tr := trace(t, iptables.Compile(nil, state, config.Options).Ruleset)
			longest, where := 0, ""
			walk := func(what string, p tracer.Packet) {
				result, err := tr.Trace(p)
				if err != nil {
					t.Fatal(err)
				}
				for _, o := range result.Outcomes {
					if o.RulesWalked > longest {
						longest, where = o.RulesWalked, what
					}
				}
			}
			for i, f := range slices.Concat(state.Frontends, state.NodePorts) {
				if f.Target.Affinity > 0 && len(f.Target.ShortCircuit.Endpoints)+len(f.Target.Internal.Endpoints) > 20 {
					continue // looks for the client in each endpoint's list
				}
				walk(f.String(), packet(origins[i%len(origins)], family, f))
			}
			none := packet(origins[0], family, &proxier.Frontend{Target: state.Frontends[0].Target, Port: 5432})
			none.Dst = addrs("10.244.200.1", "fd00:10:244::8888")[family]
			walk("a pod", none)
			t.Logf("%d frontends, the longest way is %d rules, to %s", len(state.Frontends)+len(state.NodePorts), longest, where)
			if longest >= most {
				t.Errorf("a packet to %s walks %d rules, want fewer than %d", where, longest, most)
			}
		})
	}
}

// For random clusters, every packet fares as the State says.
func TestPacketsFareAsTheStateSays(t *testing.T) {
	for seed := range uint64(12) {
		cluster := clustergen.NewRandom(seed, 80)
		for range 400 {
			cluster.Step()
		}
		for _, family := range proxier.Families {
			options := clustergen.Options(family)
			options.MasqueradeAll = seed%4 == 1
			if seed%4 == 2 {
				options.ClusterCIDRs = nil
			}
			state := proxier.Build(nil, cluster.Store.Snapshot(), options)
			c := config.Options
			c.BPF = seed%2 == 0
			tr := trace(t, iptables.Compile(nil, state, c).Ruleset)
			for _, f := range slices.Concat(state.Frontends, state.NodePorts) {
				for _, o := range origins {
					p := packet(o, family, f)
					if err := fares(tr, p, expect(state, f, o, p.Src)); err != nil {
						t.Errorf("seed %d: from %s to %s of %s: %v", seed, o.name, f, f.Target.Name, err)
					}
				}
			}
		}
	}
}

type expectation struct {
	pool       proxier.Pool
	masquerade bool
}

// expect is the table of who gets what, from the State.
func expect(state *proxier.State, f *proxier.Frontend, o origin, src netip.Addr) expectation {
	t := f.Target
	pods := state.LocalPods.Known() && state.LocalPods.Source.Contains(src)
	if f.Kind == proxier.ClusterIP {
		return expectation{t.Internal, state.MasqueradeAll || state.LocalPods.Known() && !pods}
	}
	if f.Restricted() && t.ShortCircuit.Verdict == proxier.Accept &&
		!slices.ContainsFunc(t.AllowedSources, func(p netip.Prefix) bool { return p.Contains(src) }) {
		// Without endpoints the answer is the same for all.
		if t.External.Verdict != proxier.Reject {
			return expectation{pool: proxier.Pool{Verdict: proxier.Drop}}
		}
	}
	switch {
	case t.ExternalLocal && pods:
		return expectation{t.ShortCircuit, false}
	case t.ExternalLocal && o.name == "node":
		return expectation{t.ShortCircuit, true}
	default:
		return expectation{t.External, !t.ExternalLocal}
	}
}

func fares(tr *tracer.Tracer, p tracer.Packet, want expectation) error {
	result, err := tr.Trace(p)
	if err != nil {
		return err
	}
	if want.pool.Verdict != proxier.Accept {
		verdict := map[proxier.Verdict]tracer.Verdict{proxier.Drop: tracer.Drop, proxier.Reject: tracer.Reject}[want.pool.Verdict]
		if len(result.Outcomes) != 1 || result.Outcomes[0].Verdict != verdict {
			return fmt.Errorf("got %v, want %v", result.Outcomes, want.pool.Verdict)
		}
		return nil
	}
	chances := map[netip.AddrPort]float64{}
	for _, o := range result.Outcomes {
		self := o.DNAT.Addr() == p.Src
		if o.Verdict != tracer.Accept || o.Masquerade != (want.masquerade || self) {
			return fmt.Errorf("got %v, want accept and masquerade %v", o, want.masquerade)
		}
		chances[o.DNAT] += o.Probability
	}
	even := 1 / float64(len(want.pool.Endpoints))
	for i := range want.pool.Endpoints {
		addr := want.pool.Endpoints[i].Addr
		if math.Abs(chances[addr]-even) > 1e-6*even+1e-7 {
			return fmt.Errorf("endpoint %s has probability %v, want %v", addr, chances[addr], even)
		}
	}
	if len(chances) != len(want.pool.Endpoints) {
		return fmt.Errorf("%d endpoints, want %d", len(chances), len(want.pool.Endpoints))
	}
	return nil
}

func TestALargePoolIsChosenFromEvenlyAndChangesLittle(t *testing.T) {
	const endpoints = 5000
	store := clustergen.Uniform(1, endpoints)
	state := build(t, store)
	before := iptables.Compile(nil, state, config.Options)
	tr := trace(t, before.Ruleset)
	p := packet(origins[0], proxier.IPv4, state.Frontends[0])
	if err := fares(tr, p, expectation{pool: state.Frontends[0].Target.Internal}); err != nil {
		t.Error(err)
	}
	result, err := tr.Trace(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range result.Outcomes {
		if o.RulesWalked > 250 {
			t.Errorf("%v walks %d rules of %d endpoints", o.DNAT, o.RulesWalked, endpoints)
		}
	}
	store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv4, endpoints, 1))
	after := iptables.Compile(before, proxier.Build(state, store.Snapshot(), clustergen.Options(proxier.IPv4)), config.Options)
	patch := iptables.Diff(iptables.Observe(before.Ruleset), after.Ruleset, 0)
	if patch.Written > 5 || patch.Rules > 150 {
		t.Errorf("one endpoint of %d rewrites %d chains of %d rules, want at most 5 of 150: the groups it left and joined, on two levels, and their parent",
			endpoints, patch.Written, patch.Rules)
	}
}
