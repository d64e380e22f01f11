package ipset_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// inNamespace runs f where there are no sets yet.
func inNamespace(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.IPSet)
	if err := testenv.InNamespace(func() error { f(t); return nil }); err != nil {
		t.Fatal(err)
	}
}

// run runs a tool in the thread's namespace.
func run(t *testing.T, input string, tool ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), tool[0], tool[1:]...)
	c.Stdin = strings.NewReader(input)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(tool, " "), err, out)
	}
	return string(out)
}

func entry(t testing.TB, addr string, protocol corev1.Protocol, port uint16) ipset.Entry {
	t.Helper()
	e := ipset.Entry{Protocol: protocol, Port: port}
	if addr != "" {
		var err error
		if e.Addr, err = netip.ParseAddr(addr); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// sample has a set of each type and family.
func sample(t testing.TB) []ipset.Set {
	t.Helper()
	return []ipset.Set{
		ipset.New(ipset.ClusterIPs, ipset.HashIPPort, proxier.IPv4, []ipset.Entry{
			entry(t, "10.96.0.10", corev1.ProtocolUDP, 53), entry(t, "10.96.0.10", corev1.ProtocolTCP, 53),
			entry(t, "10.96.0.1", corev1.ProtocolTCP, 443), entry(t, "10.96.0.7", corev1.ProtocolSCTP, 3868),
		}),
		ipset.New(ipset.Bound, ipset.HashIP, proxier.IPv4, []ipset.Entry{entry(t, "10.96.0.1", "", 0), entry(t, "10.96.0.10", "", 0)}),
		ipset.New(ipset.NodePortsTCP, ipset.BitmapPort, "", []ipset.Entry{entry(t, "", "", 0), entry(t, "", "", 30080), entry(t, "", "", 65535)}),
		ipset.New(ipset.Name(proxier.IPv6, ipset.ClusterIPs), ipset.HashIPPort, proxier.IPv6, []ipset.Entry{entry(t, "fd00:10:96::a", corev1.ProtocolUDP, 53)}),
		ipset.New(ipset.Name(proxier.IPv6, ipset.Bound), ipset.HashIP, proxier.IPv6, []ipset.Entry{entry(t, "fd00:10:96::a", "", 0)}),
		ipset.New(ipset.ExternalIPs, ipset.HashIPPort, proxier.IPv4, nil),
	}
}

// sorted orders sets as List does, without what only the kernel knows.
func sorted(sets []ipset.Set) []ipset.Set {
	sets = slices.Clone(sets)
	slices.SortFunc(sets, func(a, b ipset.Set) int { return strings.Compare(a.Name, b.Name) })
	return sets
}

var sameSets = cmp.Options{cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{})}

// list lists the kernel's sets, and checks that the tool sees the same.
func list(t *testing.T) []ipset.Set {
	t.Helper()
	have, err := ipset.Netlink{}.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	saved, err := ipset.Parse(run(t, "", "ipset", "save"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range saved { // List does not look into the sets of others
		if !ipset.Owned(proxier.IPv4, saved[i].Name) && !ipset.Owned(proxier.IPv6, saved[i].Name) {
			saved[i].Entries = nil
		}
	}
	without := slices.Clone(have)
	for i := range without {
		without[i].References = 0
	}
	if d := cmp.Diff(sorted(saved), without, sameSets); d != "" {
		t.Errorf("ipset save (-) and List (+) differ:\n%s", d)
	}
	return have
}

func TestKernelTakesAndGivesBackWhatDiffWants(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		k := ipset.Netlink{}
		want := sample(t)
		for _, family := range proxier.Families {
			if err := k.Do(t.Context(), ipset.Diff(family, nil, ofFamily(family, want)).Ops); err != nil {
				t.Fatal(err)
			}
		}
		if d := cmp.Diff(sorted(want), list(t), sameSets); d != "" {
			t.Errorf("wanted (-) and kernel (+) differ:\n%s", d)
		}
		if p := ipset.Diff(proxier.IPv4, list(t), ofFamily(proxier.IPv4, want)); !p.Empty() {
			t.Errorf("the next Diff is not empty:\n%s", ipset.Script(p.Ops))
		}
		// Deleting what is not there and adding what is are no errors.
		twice := ipset.Op{Verb: ipset.Add, Set: want[0]}
		gone := ipset.Op{Verb: ipset.Delete, Set: want[0]}
		if err := k.Do(t.Context(), []ipset.Op{twice, gone, gone}); err != nil {
			t.Error(err)
		}
	})
}

func ofFamily(f proxier.Family, sets []ipset.Set) []ipset.Set {
	return slices.DeleteFunc(slices.Clone(sets), func(s ipset.Set) bool { return !ipset.Owned(f, s.Name) })
}

func TestToolDoesTheSameWithTheScript(t *testing.T) {
	want := ofFamily(proxier.IPv4, sample(t))
	inNamespace(t, func(t *testing.T) {
		run(t, ipset.Script(ipset.Diff(proxier.IPv4, nil, want).Ops), "ipset", "restore")
		if d := cmp.Diff(sorted(want), list(t), sameSets); d != "" {
			t.Errorf("wanted (-) and kernel (+) differ:\n%s", d)
		}
	})
}

func TestTakeOverFromKubeProxy(t *testing.T) {
	dump := readDump(t)
	inNamespace(t, func(t *testing.T) {
		run(t, dump, "ipset", "restore")
		foreign := "create KUBE-SRC-1234 hash:ip family inet maxelem 65536\nadd KUBE-SRC-1234 10.1.1.1\ncreate other bitmap:port range 0-65535\n"
		run(t, foreign, "ipset", "restore")
		k := ipset.Netlink{}
		for _, family := range proxier.Families {
			want := func(context.Context, *proxier.State) ([]ipset.Set, error) { return ofFamily(family, sample(t)), nil }
			for _, d := range []proxier.Dataplane{ipset.NewSets(k, family, want, nil), ipset.NewLeftovers(k, family, want, nil)} {
				settle(t, d)
			}
		}
		var have []string
		for _, s := range list(t) {
			if s.Name == "KUBE-SRC-1234" || s.Name == "other" {
				continue
			}
			have = append(have, s.Name)
		}
		var want []string
		for _, s := range sorted(sample(t)) {
			want = append(want, s.Name)
		}
		if d := cmp.Diff(want, have); d != "" {
			t.Errorf("sets wanted (-) and there (+) differ:\n%s", d)
		}
		if saved := run(t, "", "ipset", "save", "KUBE-SRC-1234"); !strings.Contains(saved, "add KUBE-SRC-1234 10.1.1.1") {
			t.Errorf("the set of somebody else has changed: %s", saved)
		}
	})
}

// settle plans and applies, and checks that then there is nothing left to do.
func settle(t *testing.T, d proxier.Dataplane) {
	t.Helper()
	plan, err := d.Plan(t.Context(), &proxier.State{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{"memory", "the kernel"} {
		again, err := d.Plan(t.Context(), &proxier.State{})
		if err != nil {
			t.Fatal(err)
		}
		if !again.Empty() {
			t.Errorf("%s from %s: the next plan is not empty:\n%s", d.Name(), from, again)
		}
		d.Forget()
	}
}

func TestSetsInUseAreReplaced(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.IPTablesNFT)
	const rule = "-m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT"
	tests := []struct {
		name, create string
		release      bool
	}{
		{name: "too small", create: "create KUBE-CLUSTER-IP hash:ip,port family inet maxelem 2"},
		{name: "with a timeout", create: "create KUBE-CLUSTER-IP hash:ip,port family inet maxelem 65536 timeout 600 comment"},
		{name: "of another type", create: "create KUBE-CLUSTER-IP bitmap:port range 0-65535", release: true},
		{name: "of the other family", create: "create KUBE-CLUSTER-IP hash:ip,port family inet6", release: true},
		{name: "of a type we do not know", create: "create KUBE-CLUSTER-IP hash:ip,port,ip", release: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inNamespace(t, func(t *testing.T) {
				run(t, test.create+"\n", "ipset", "restore")
				chain := "*nat\n:KUBE-SERVICES - [0:0]\n-A KUBE-SERVICES " + rule + "\nCOMMIT\n"
				if !strings.Contains(test.create, "family inet6") {
					run(t, chain, "iptables-nft-restore", "--noflush")
				} else {
					run(t, chain, "ip6tables-nft-restore", "--noflush")
				}
				want := ofFamily(proxier.IPv4, sample(t))
				wanted := func(context.Context, *proxier.State) ([]ipset.Set, error) { return want, nil }
				rules := tool{t, "iptables-nft"}
				if strings.Contains(test.create, "family inet6") {
					rules.name = "ip6tables-nft"
				}
				settle(t, ipset.NewSets(ipset.Netlink{}, proxier.IPv4, wanted, rules))
				if d := cmp.Diff(sorted(want), list(t), sameSets, cmpopts.IgnoreFields(ipset.Set{}, "References")); d != "" {
					t.Errorf("wanted (-) and kernel (+) differ:\n%s", d)
				}
				saved, _ := rules.Save(t.Context(), "nat")
				if strings.Contains(saved, rule) == test.release {
					t.Errorf("the rule is there: %t, should be: %t", !test.release, test.release)
				}
			})
		})
	}
}

func TestLeftoversInUseStayInTheKernel(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.IPTablesNFT)
	inNamespace(t, func(t *testing.T) {
		run(t, "create KUBE-LOOP-BACK hash:ip\ncreate KUBE-LOAD-BALANCER hash:ip\ncreate KUBE-LOAD-BALANCER-FW hash:ip\n"+
			"create KUBE-NODE-PORT-LOCAL-TCP hash:ip\ncreate all list:set\nadd all KUBE-LOAD-BALANCER\n", "ipset", "restore")
		run(t, "*raw\n-A PREROUTING -m set --match-set KUBE-LOOP-BACK src -j ACCEPT\nCOMMIT\n", "iptables-nft-restore", "--noflush")
		d := ipset.NewLeftovers(ipset.Netlink{}, proxier.IPv4, nil, tool{t, "iptables-nft"})
		settle(t, d)
		left := slices.Sorted(strings.FieldsSeq(run(t, "", "ipset", "list", "-n")))
		if want := []string{"KUBE-LOAD-BALANCER", "KUBE-LOOP-BACK", "all"}; !slices.Equal(left, want) {
			t.Errorf("left are %v, want %v", left, want)
		}
		want := []string{
			"set KUBE-LOAD-BALANCER: something refers to it that was not found, such as a rule of the other variant of iptables, or another set",
			"set KUBE-LOOP-BACK: a rule that is not ours refers to it: table raw: -A PREROUTING -m set --match-set KUBE-LOOP-BACK src -j ACCEPT",
		}
		if kept := slices.Sorted(slices.Values(d.Kept())); !slices.Equal(kept, want) {
			t.Errorf("kept: %q, want %q", kept, want)
		}
	})
}

// tool is iptables in the thread's namespace.
type tool struct {
	t    *testing.T
	name string
}

func (r tool) Save(_ context.Context, table string) (string, error) {
	return run(r.t, "", r.name+"-save", "-t", table), nil
}

func (r tool) SaveChain(_ context.Context, table, chain string) (string, error) {
	return run(r.t, "", r.name, "-t", table, "-S", chain), nil
}

func (r tool) Restore(_ context.Context, input string) error {
	run(r.t, input, r.name+"-restore", "--noflush")
	return nil
}

func TestKernelErrorsAreNamed(t *testing.T) {
	name := ipset.ClusterIPs
	set := ipset.New(name, ipset.HashIPPort, proxier.IPv4, nil)
	create := ipset.Op{Verb: ipset.Create, Set: set}
	small := set
	small.MaxElem = 1
	tests := []struct {
		name string
		ops  []ipset.Op
		want error
	}{
		{"created twice", []ipset.Op{create, create}, ipset.ErrExists},
		{"destroyed twice", []ipset.Op{create, {Verb: ipset.Destroy, Set: set}, {Verb: ipset.Destroy, Set: set}}, nil},
		{"add to none", []ipset.Op{{Verb: ipset.Add, Set: sample(t)[0]}}, ipset.ErrMissing},
		{"full", []ipset.Op{{Verb: ipset.Create, Set: small}, {Verb: ipset.Add, Set: manyEntries(name, 10)}}, ipset.ErrFull},
		{"swapped with another type", []ipset.Op{
			create, {Verb: ipset.Create, Set: ipset.New("b", ipset.BitmapPort, "", nil)}, {Verb: ipset.Swap, Set: set, Other: "b"},
		}, ipset.ErrMismatch},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inNamespace(t, func(t *testing.T) {
				err := ipset.Netlink{}.Do(t.Context(), test.ops)
				if !errors.Is(err, test.want) {
					t.Errorf("error %v, want %v", err, test.want)
				}
			})
		})
	}
}

func TestWithoutPermission(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		err := testenv.WithoutNetAdmin(func() error {
			_, listErr := ipset.Netlink{}.List(t.Context())
			errs := map[string]error{
				"List": listErr, "Probe": ipset.Netlink{}.Probe(t.Context()),
				"Do": ipset.Netlink{}.Do(t.Context(), []ipset.Op{{Verb: ipset.Create, Set: ipset.New(ipset.Bound, ipset.HashIP, proxier.IPv4, nil)}}),
			}
			for what, err := range errs {
				if !errors.Is(err, syscall.EPERM) || !strings.Contains(err.Error(), "the capability NET_ADMIN is needed") {
					t.Errorf("%s: error %v, want EPERM and the capability's name", what, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// manyEntries is a set of n ports at a few addresses.
func manyEntries(name string, n int) ipset.Set {
	entries := make([]ipset.Entry, n)
	for i := range entries {
		addr := netip.AddrFrom4([4]byte{10, 96, byte(i >> 16), byte(i >> 8)})
		entries[i] = ipset.Entry{Addr: addr, Protocol: corev1.ProtocolTCP, Port: uint16(i&255 + 1)}
	}
	return ipset.New(name, ipset.HashIPPort, proxier.IPv4, entries)
}

func TestMoreEntriesThanIPSetAllowsByDefault(t *testing.T) {
	for _, n := range []int{1, 499, 500, 501, 70_000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			inNamespace(t, func(t *testing.T) {
				set := manyEntries(ipset.ClusterIPs, n)
				patch := ipset.Diff(proxier.IPv4, nil, []ipset.Set{set})
				if err := (ipset.Netlink{}).Do(t.Context(), patch.Ops); err != nil {
					t.Fatal(err)
				}
				have, err := ipset.Netlink{}.List(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff([]ipset.Set{set}, have, sameSets); d != "" && n < 1000 {
					t.Errorf("wanted (-) and kernel (+) differ:\n%s", d)
				} else if d != "" {
					t.Errorf("the kernel has %d entries, or others than the %d wanted", len(have[0].Entries), n)
				}
			})
		})
	}
}

func BenchmarkKernel20000Entries(b *testing.B) {
	testenv.Need(b, testenv.Root, testenv.IPSet)
	set := manyEntries(ipset.ClusterIPs, 20_000)
	fill := ipset.Diff(proxier.IPv4, nil, []ipset.Set{set}).Ops
	err := testenv.InNamespace(func() error {
		for b.Loop() {
			if err := (ipset.Netlink{}).Do(b.Context(), fill); err != nil {
				return err
			}
			if _, err := (ipset.Netlink{}).List(b.Context()); err != nil {
				return err
			}
			if err := (ipset.Netlink{}).Do(b.Context(), ipset.Remove([]ipset.Set{set}).Ops); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
