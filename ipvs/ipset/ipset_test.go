package ipset_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/ipvs/ipset/ipsettest"
	"github.com/kube-proxier/kube-proxier/proxier"
)

func TestTextIsReadBack(t *testing.T) {
	want := sample(t)
	have, err := ipset.Parse(ipset.Text(want))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, have, sameSets); d != "" {
		t.Errorf("printed (-) and read (+) differ:\n%s", d)
	}
}

func TestText(t *testing.T) {
	const want = `create KUBE-6-CLUSTER-IP hash:ip,port family inet6 maxelem 1048576
add KUBE-6-CLUSTER-IP fd00::1,tcp:443
add KUBE-6-CLUSTER-IP fd00::a,sctp:3868
add KUBE-6-CLUSTER-IP fd00::a,udp:53
create KUBE-NODE-PORT-UDP bitmap:port range 0-65535
add KUBE-NODE-PORT-UDP 30053
`
	sets := []ipset.Set{
		ipset.New(ipset.Name(proxier.IPv6, ipset.ClusterIPs), ipset.HashIPPort, proxier.IPv6, []ipset.Entry{
			entry(t, "fd00::a", corev1.ProtocolUDP, 53), entry(t, "fd00::a", corev1.ProtocolSCTP, 3868),
			entry(t, "fd00::1", corev1.ProtocolTCP, 443), entry(t, "fd00::a", corev1.ProtocolUDP, 53),
		}),
		ipset.New(ipset.NodePortsUDP, ipset.BitmapPort, proxier.IPv4, []ipset.Entry{entry(t, "", "", 30053)}),
	}
	if d := cmp.Diff(want, ipset.Text(sets)); d != "" {
		t.Errorf("wanted (-) and printed (+) differ:\n%s", d)
	}
}

func TestKubeProxysSetsAreReadAndOurs(t *testing.T) {
	sets, err := ipset.Parse(readDump(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(sets) != 34 {
		t.Errorf("%d sets, want 34", len(sets))
	}
	byName := map[string]ipset.Set{}
	for _, s := range sets {
		byName[s.Name] = s
		v4, v6 := ipset.Owned(proxier.IPv4, s.Name), ipset.Owned(proxier.IPv6, s.Name)
		if v4 == v6 || v6 != strings.HasPrefix(s.Name, "KUBE-6-") {
			t.Errorf("%s: ours in IPv4 %t, in IPv6 %t", s.Name, v4, v6)
		}
		if s.Options != "" {
			t.Errorf("%s has options %q", s.Name, s.Options)
		}
	}
	lb := byName["KUBE-LOAD-BALANCER"]
	if got := len(lb.Entries); got != 4 || lb.MaxElem != 65536 || lb.Family != proxier.IPv4 {
		t.Errorf("KUBE-LOAD-BALANCER: %d entries, maxelem %d, %s", got, lb.MaxElem, lb.Family)
	}
	if e := byName["KUBE-NODE-PORT-SCTP-HASH"].Entries[0]; e != entry(t, "10.0.2.15", corev1.ProtocolSCTP, 30868) {
		t.Errorf("first entry of KUBE-NODE-PORT-SCTP-HASH is %s", e)
	}
}

func TestParseRefuses(t *testing.T) {
	const create = "create a hash:ip,port family inet maxelem 10\n"
	tests := []struct{ name, text string }{
		{"entry of no set", "add a 10.0.0.1"},
		{"set created twice", create + create},
		{"unknown verb", "flush a b"},
		{"too few words", "create a"},
		{"option without value", "create a hash:ip family"},
		{"maxelem of no number", "create a hash:ip maxelem many"},
		{"address of no kind", create + "add a 10.0.0,tcp:1"},
		{"no port", create + "add a 10.0.0.1"},
		{"port too large", create + "add a 10.0.0.1,tcp:65536"},
		{"port of an address set", "create a hash:ip family inet\nadd a 10.0.0.1,tcp:1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if sets, err := ipset.Parse(test.text); err == nil {
				t.Errorf("no error, but %v", sets)
			}
		})
	}
}

func TestNames(t *testing.T) {
	tests := []struct {
		name string
		v4   bool
		v6   bool
	}{
		{"KUBE-CLUSTER-IP", true, false},
		{"KUBE-6-CLUSTER-IP", false, true},
		{"KUBE-6-LOAD-BALANCER-SOURCE-CID", false, true},
		{"KUBE-6-LOAD-BALANCER-SOURCE-CIDR", false, false},
		{"KUBE-SRC-IQWD2KRD7VJ3OWZZ", false, false},
		{"KUBE-", false, false},
		{"cali40s:abc", false, false},
	}
	for _, test := range tests {
		if v4, v6 := ipset.Owned(proxier.IPv4, test.name), ipset.Owned(proxier.IPv6, test.name); v4 != test.v4 || v6 != test.v6 {
			t.Errorf("%s: ours in IPv4 %t, in IPv6 %t", test.name, v4, v6)
		}
	}
}

func TestDiff(t *testing.T) {
	const (
		ip   = " hash:ip family inet maxelem 4\n"
		port = " hash:ip,port family inet maxelem 4\n"
	)
	tests := []struct {
		name, have, want, script string
		references               uint32
		release                  int
	}{
		{name: "nothing to do", have: "create KUBE-IPVS-IPS" + ip + "add KUBE-IPVS-IPS 10.0.0.1", want: "create KUBE-IPVS-IPS" + ip + "add KUBE-IPVS-IPS 10.0.0.1"},
		{
			name: "missing set", want: "create KUBE-IPVS-IPS" + ip + "add KUBE-IPVS-IPS 10.0.0.1\nadd KUBE-IPVS-IPS 10.0.0.2\n",
			script: "create KUBE-IPVS-IPS" + ip + "add KUBE-IPVS-IPS 10.0.0.1\nadd KUBE-IPVS-IPS 10.0.0.2\n",
		},
		{
			name:   "what blocks comes last and goes first",
			have:   "create KUBE-CLUSTER-IP" + port + "add KUBE-CLUSTER-IP 10.0.0.1,tcp:80\ncreate KUBE-IPVS-IPS" + ip + "add KUBE-IPVS-IPS 10.0.0.1",
			want:   "create KUBE-CLUSTER-IP" + port + "add KUBE-CLUSTER-IP 10.0.0.2,tcp:80\ncreate KUBE-IPVS-IPS" + ip + "add KUBE-IPVS-IPS 10.0.0.2",
			script: "add KUBE-CLUSTER-IP 10.0.0.2,tcp:80\nadd KUBE-IPVS-IPS 10.0.0.2\ndel KUBE-IPVS-IPS 10.0.0.1\ndel KUBE-CLUSTER-IP 10.0.0.1,tcp:80\n",
		},
		{
			name: "larger set is good", have: "create KUBE-IPVS-IPS hash:ip family inet maxelem 9\n",
			want: "create KUBE-IPVS-IPS" + ip,
		},
		{
			name: "no room even for a moment", have: "create KUBE-IPVS-IPS hash:ip family inet maxelem 1\nadd KUBE-IPVS-IPS 10.0.0.1", references: 1,
			want: "create KUBE-IPVS-IPS" + ip + "add KUBE-IPVS-IPS 10.0.0.2",
			script: "create KUBE-PROXIER-SPARE" + ip + "add KUBE-PROXIER-SPARE 10.0.0.2\n" +
				"swap KUBE-PROXIER-SPARE KUBE-IPVS-IPS\ndestroy KUBE-PROXIER-SPARE\n",
		},
		{
			name: "a spare set left behind", have: "create KUBE-PROXIER-SPARE" + port, want: "create KUBE-IPVS-IPS" + ip,
			script: "destroy KUBE-PROXIER-SPARE\ncreate KUBE-IPVS-IPS" + ip,
		},
		{
			name: "wrong type", have: "create KUBE-IPVS-IPS" + port, want: "create KUBE-IPVS-IPS" + ip,
			script: "destroy KUBE-IPVS-IPS\ncreate KUBE-IPVS-IPS" + ip,
		},
		{
			name: "wrong type and in use", have: "create KUBE-IPVS-IPS" + port, want: "create KUBE-IPVS-IPS" + ip, references: 2,
			script: "destroy KUBE-IPVS-IPS\ncreate KUBE-IPVS-IPS" + ip, release: 1,
		},
		{name: "sets nobody wants stay", have: "create KUBE-LOOP-BACK hash:ip,port,ip family inet\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			have, want := parse(t, test.have), parse(t, test.want)
			for i := range have {
				have[i].References = test.references
			}
			patch := ipset.Diff(proxier.IPv4, have, want)
			if d := cmp.Diff(test.script, ipset.Script(patch.Ops)); d != "" {
				t.Errorf("script wanted (-), got (+):\n%s", d)
			}
			if len(patch.Release) != test.release {
				t.Errorf("release %v, want %d", patch.Release, test.release)
			}
			if (patch.Unified() == "") != patch.Empty() {
				t.Errorf("empty: %t, but diff %q", patch.Empty(), patch.Unified())
			}
		})
	}
}

func parse(t *testing.T, text string) []ipset.Set {
	t.Helper()
	sets, err := ipset.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return sets
}

// TestAnyHistoryEndsInWhatIsWanted: whatever the sets were, and whichever writes
// failed in between, passes that succeed end in what is wanted, and the next one
// has nothing to do.
func TestAnyHistoryEndsInWhatIsWanted(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			kernel := ipsettest.New(randomHave(r)...)
			failed := errors.New("out of memory")
			kernel.FailDo = func(int, ipset.Op) error {
				if r.IntN(8) == 0 {
					return failed
				}
				return nil
			}
			var want []ipset.Set
			d := ipset.NewSets(kernel, proxier.IPv4, func(context.Context, *proxier.State) ([]ipset.Set, error) { return want, nil }, nil)
			for range 10 {
				want = randomWant(r)
				for _, d := range []proxier.Dataplane{d, d.Rest()} {
					plan, err := d.Plan(t.Context(), nil)
					if err != nil {
						t.Fatal(err)
					}
					_, err = plan.Apply(t.Context())
					if err != nil && !errors.Is(err, failed) {
						t.Fatalf("%v\n%s", err, plan)
					}
					if r.IntN(5) == 0 {
						d.Forget()
					}
					if err != nil && r.IntN(2) == 0 {
						break // the pass ends
					}
				}
			}
			kernel.FailDo = nil
			settle(t, d)
			settle(t, d.Rest())
			settle(t, d)
			settle(t, ipset.NewLeftovers(kernel, proxier.IPv4, func(context.Context, *proxier.State) ([]ipset.Set, error) { return want, nil }, nil))
			have, _ := kernel.List(t.Context())
			if d := cmp.Diff(withoutRoom(sorted(want)), withoutRoom(have), sameSets); d != "" {
				t.Errorf("wanted (-) and kernel (+) differ:\n%s", d)
			}
		})
	}
}

// withoutRoom leaves out MaxElem, which may be larger than wanted.
func withoutRoom(sets []ipset.Set) []ipset.Set {
	for i := range sets {
		if sets[i].MaxElem != 0 && int(sets[i].MaxElem) < len(sets[i].Entries) {
			panic("a set holds more than it can")
		}
		sets[i].MaxElem = 0
	}
	return sets
}

func randomEntries(r *rand.Rand, typ ipset.Type) []ipset.Entry {
	var entries []ipset.Entry
	for range r.IntN(8) {
		e := manyEntries("", 1).Entries[0]
		e.Port = uint16(r.IntN(6))
		switch typ {
		case ipset.HashIP:
			e.Protocol, e.Port = "", 0
		case ipset.BitmapPort:
			e = ipset.Entry{Port: e.Port}
		}
		entries = append(entries, e)
	}
	return entries
}

var types = map[string]ipset.Type{
	ipset.ClusterIPs: ipset.HashIPPort, ipset.Bound: ipset.HashIP, ipset.NodePortsTCP: ipset.BitmapPort,
}

func randomWant(r *rand.Rand) []ipset.Set {
	var sets []ipset.Set
	for _, name := range []string{ipset.ClusterIPs, ipset.NodePortsTCP, ipset.Bound} {
		sets = append(sets, ipset.New(name, types[name], proxier.IPv4, randomEntries(r, types[name])))
	}
	return sets
}

func randomHave(r *rand.Rand) []ipset.Set {
	var sets []ipset.Set
	for _, name := range []string{ipset.ClusterIPs, ipset.NodePortsTCP, ipset.Bound, "KUBE-PROXIER-SPARE", "KUBE-LOOP-BACK"} {
		if r.IntN(3) == 0 {
			continue
		}
		typ := []ipset.Type{ipset.HashIP, ipset.HashIPPort, ipset.BitmapPort}[r.IntN(3)]
		s := ipset.New(name, typ, proxier.Families[r.IntN(2)], nil)
		if s.Family != proxier.IPv6 {
			s = ipset.New(name, typ, s.Family, randomEntries(r, typ))
		}
		if s.MaxElem != 0 {
			s.MaxElem = uint32(len(s.Entries) + r.IntN(3) + 1)
		}
		if r.IntN(3) == 0 {
			s.Options = "timeout 600"
		}
		sets = append(sets, s)
	}
	return sets
}

// applyBoth makes a pass, and returns the plans of Sets and of its Rest.
func applyBoth(t *testing.T, sets *ipset.Sets) (plans [2]proxier.Plan) {
	t.Helper()
	for i, d := range []proxier.Dataplane{sets, sets.Rest()} {
		plan, err := d.Plan(t.Context(), nil)
		if err == nil {
			_, err = plan.Apply(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		plans[i] = plan
	}
	return plans
}

// What goes at once, and what with the end of the pass.
func TestTheRestIsDeletedLast(t *testing.T) {
	text := func(script string) []ipset.Set {
		sets, err := ipset.Parse(script)
		if err != nil {
			t.Fatal(err)
		}
		return sets
	}
	const header = "create KUBE-EXTERNAL-IP hash:ip,port family inet maxelem 1048576\n" +
		"create KUBE-EXTERNAL-IP-LOCAL hash:ip,port family inet maxelem 1048576\n" +
		"create KUBE-NODE-PORT-TCP bitmap:port range 0-65535\n" +
		"create KUBE-NODE-PORT-SCTP-HASH hash:ip,port family inet maxelem 1048576\n" +
		"create KUBE-IPVS-IPS hash:ip family inet maxelem 1048576\n"
	want := text(header)
	kernel := ipsettest.New()
	d := ipset.NewSets(kernel, proxier.IPv4, func(context.Context, *proxier.State) ([]ipset.Set, error) { return want, nil }, nil)
	pass := func() (first, rest string) {
		t.Helper()
		plans := applyBoth(t, d)
		return plans[0].String(), plans[1].String()
	}
	pass()
	want = text(header + "add KUBE-EXTERNAL-IP 203.0.113.1,tcp:80\nadd KUBE-EXTERNAL-IP 203.0.113.2,tcp:80\n" +
		"add KUBE-NODE-PORT-TCP 30080\nadd KUBE-NODE-PORT-SCTP-HASH 172.18.0.11,sctp:30080\nadd KUBE-IPVS-IPS 203.0.113.1\nadd KUBE-IPVS-IPS 203.0.113.2\n")
	if first, rest := pass(); first == "" || rest != "" {
		t.Errorf("what comes: first %q, then %q, want all at once", first, rest)
	}
	want = text(header + "add KUBE-EXTERNAL-IP-LOCAL 203.0.113.1,tcp:80\nadd KUBE-IPVS-IPS 203.0.113.1\n")
	first, rest := pass()
	if want := "add KUBE-EXTERNAL-IP-LOCAL 203.0.113.1,tcp:80\ndel KUBE-EXTERNAL-IP 203.0.113.2,tcp:80\n"; first != want {
		t.Errorf("first %q, want %q: another policy, and a place that nobody serves", first, want)
	}
	if want := "del KUBE-IPVS-IPS 203.0.113.2\ndel KUBE-NODE-PORT-SCTP-HASH 172.18.0.11,sctp:30080\n" +
		"del KUBE-NODE-PORT-TCP 30080\ndel KUBE-EXTERNAL-IP 203.0.113.1,tcp:80\n"; rest != want {
		t.Errorf("at the end %q, want %q", rest, want)
	}
	if lists := kernel.Lists(); lists != 1 {
		t.Errorf("the kernel was asked %d times, want once", lists)
	}
}

func TestUnchangedPassDoesNotAskTheKernel(t *testing.T) {
	kernel := ipsettest.New()
	want := func(context.Context, *proxier.State) ([]ipset.Set, error) {
		return ofFamily(proxier.IPv4, sample(t)), nil
	}
	for _, d := range []proxier.Dataplane{ipset.NewSets(kernel, proxier.IPv4, want, nil), ipset.NewLeftovers(kernel, proxier.IPv4, want, nil)} {
		before := kernel.Lists()
		for range 3 {
			plan, err := d.Plan(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := plan.Apply(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := kernel.Lists() - before; n != 1 {
			t.Errorf("%s: %d lists, want 1", d.Name(), n)
		}
	}
}

func TestForgetDuringApplyIsNotLost(t *testing.T) {
	kernel := ipsettest.New()
	want := func(context.Context, *proxier.State) ([]ipset.Set, error) {
		return ofFamily(proxier.IPv4, sample(t)), nil
	}
	d := ipset.NewSets(kernel, proxier.IPv4, want, nil)
	kernel.FailDo = func(int, ipset.Op) error { d.Forget(); return nil }
	plan, err := d.Plan(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	kernel.FailDo = nil
	if err := kernel.Do(t.Context(), []ipset.Op{{Verb: ipset.Destroy, Set: sample(t)[0]}}); err != nil {
		t.Fatal(err)
	}
	if again, err := d.Plan(t.Context(), nil); err != nil || again.Empty() {
		t.Errorf("the next plan does not see the change: %v, %v", again, err)
	}
}

func TestWantedNamesMustBeOurs(t *testing.T) {
	want := func(context.Context, *proxier.State) ([]ipset.Set, error) {
		return []ipset.Set{ipset.New("KUBE-NEW", ipset.HashIP, proxier.IPv4, nil)}, nil
	}
	if _, err := ipset.NewSets(ipsettest.New(), proxier.IPv4, want, nil).Plan(t.Context(), nil); err == nil {
		t.Error("a set that a restarted process would not know is planned")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(readDump(f))
	f.Add("create a hash:ip family inet maxelem 1 timeout 3\nadd a 10.0.0.1 timeout 3\n")
	f.Add("create a bitmap:port range 3-4 counters\nadd a 3 packets 0 bytes 0\n")
	f.Fuzz(func(t *testing.T, text string) {
		sets, err := ipset.Parse(text)
		if err != nil {
			return
		}
		again, err := ipset.Parse(ipset.Text(sets))
		if err != nil {
			t.Fatalf("%v\n%s", err, ipset.Text(sets))
		}
		if d := cmp.Diff(sets, again, sameSets); d != "" {
			t.Errorf("read (-) and read again (+) differ:\n%s", d)
		}
	})
}

// Of the rest, what somebody has added is drift, and what an object has not any more
// is none.
func TestWhatOfTheRestIsDrift(t *testing.T) {
	text := func(ports ...string) []ipset.Set {
		t.Helper()
		script := "create KUBE-NODE-PORT-TCP bitmap:port range 0-65535\n"
		for _, port := range ports {
			script += "add KUBE-NODE-PORT-TCP " + port + "\n"
		}
		sets, err := ipset.Parse(script)
		if err != nil {
			t.Fatal(err)
		}
		return sets
	}
	want := text("30080", "30081")
	kernel := ipsettest.New()
	d := ipset.NewSets(kernel, proxier.IPv4, func(context.Context, *proxier.State) ([]ipset.Set, error) { return want, nil }, nil)
	meddle := func() {
		t.Helper()
		added := ipset.New("KUBE-NODE-PORT-TCP", ipset.BitmapPort, proxier.IPv4, []ipset.Entry{{Port: 32000}})
		if err := kernel.Do(t.Context(), []ipset.Op{{Verb: ipset.Add, Set: added}}); err != nil {
			t.Fatal(err)
		}
		d.Forget()
	}
	for _, step := range []struct {
		name   string
		before func()
		empty  bool
		drift  proxier.DriftFinding
	}{
		{"the first pass", func() {}, true, proxier.DriftUnknown},
		{"an object has changed", func() { want = text("30080") }, false, proxier.DriftNone},
		{"nothing has changed", func() {}, true, proxier.DriftNone},
		{"somebody has added an entry", meddle, false, proxier.DriftFound},
		{"it is repaired", d.Forget, true, proxier.DriftNone},
		{"somebody has added one while an object changed", func() { meddle(); want = text() }, false, proxier.DriftFound},
		// What goes then, this pass itself may have left behind.
		{"an entry was missing, and another is too many", func() { want = text("30082"); meddle() }, false, proxier.DriftUnknown},
	} {
		step.before()
		rest := applyBoth(t, d)[1]
		if got := rest.Findings().Drift; rest.Empty() != step.empty || got != step.drift {
			t.Errorf("%s: finding %v, empty %t; want %v, %t\n%s", step.name, got, rest.Empty(), step.drift, step.empty, rest)
		}
	}
}
