package iptables_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/iptablestest"
	"github.com/kube-proxier/kube-proxier/proxier"
)

var config = iptables.Config{Options: iptables.Options{Features: iptables.AllFeatures(), MasqueradeBit: 14}}

func build(t testing.TB, store *proxier.Store) *proxier.State {
	t.Helper()
	return proxier.Build(nil, store.Snapshot(), clustergen.Options(proxier.IPv4))
}

func plan(t testing.TB, d *iptables.Dataplane, state *proxier.State) proxier.Plan {
	t.Helper()
	p, err := d.Plan(context.Background(), state)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func apply(t testing.TB, d *iptables.Dataplane, state *proxier.State) []proxier.Refusal {
	t.Helper()
	refused, err := plan(t, d, state).Apply(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return refused
}

func mustBeEmpty(t *testing.T, p proxier.Plan) {
	t.Helper()
	if !p.Empty() {
		t.Errorf("the plan is not empty:\n%s", p)
	}
}

func TestOneApplyReachesTheFixpoint(t *testing.T) {
	kernel := iptablestest.New()
	state := build(t, clustergen.Uniform(100, 3))
	d := iptables.NewDataplane(kernel, config)
	apply(t, d, state)
	mustBeEmpty(t, plan(t, d, state))

	d.Forget()
	mustBeEmpty(t, plan(t, d, state))
	mustBeEmpty(t, plan(t, iptables.NewDataplane(kernel, config), state))
	if n := len(kernel.Inputs()); n != 1 {
		t.Errorf("%d restores, want 1", n)
	}
}

func TestOnlyWhatChangedIsSent(t *testing.T) {
	store := clustergen.Uniform(500, 3)
	state := build(t, store)
	d := iptables.NewDataplane(iptablestest.New(), config)
	apply(t, d, state)

	store.SetEndpointSlice(clustergen.Slice(7, proxier.IPv4, 3, 1))
	next := proxier.Build(state, store.Snapshot(), clustergen.Options(proxier.IPv4))
	p := plan(t, d, next)
	if got := p.Summary(); got.Chains != 1 || got.Rules != 4 || got.Deleted != 0 {
		t.Errorf("one endpoint of three changed: %+v, want 1 chain of 4 rules\n%s", got, p)
	}

	apply(t, d, next)
	store.SetService(clustergen.Service(500))
	store.SetEndpointSlice(clustergen.Slice(500, proxier.IPv4, 3, 0))
	p = plan(t, d, proxier.Build(next, store.Snapshot(), clustergen.Options(proxier.IPv4)))
	if got := p.Summary(); got.Chains > 3 {
		t.Errorf("a new Service rewrites %d chains, want at most 3:\n%s", got.Chains, p)
	}
}

func parse(t testing.TB, kernel *iptablestest.Kernel) iptables.Ruleset {
	t.Helper()
	rs, err := iptables.ParseSave(kernel.String())
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func TestAChainThatStrangersJumpToIsEmptiedNotDeleted(t *testing.T) {
	kernel := iptablestest.New()
	kernel.Must("*nat\n:KUBE-SVC-OLD - [0:0]\n:MINE - [0:0]\n-A KUBE-SVC-OLD -j RETURN\n-A MINE -j KUBE-SVC-OLD\nCOMMIT\n")
	d := iptables.NewDataplane(kernel, config)
	state := build(t, clustergen.Uniform(1, 1))
	apply(t, d, state)
	nat := parse(t, kernel).Table(iptables.NAT)
	if c := nat.Chain("KUBE-SVC-OLD"); c == nil || len(c.Rules) != 0 {
		t.Errorf("KUBE-SVC-OLD is %+v, want it there and empty", c)
	}
	mustBeEmpty(t, plan(t, iptables.NewDataplane(kernel, config), state))
}

func TestDriftIsRepaired(t *testing.T) {
	state := build(t, clustergen.Uniform(30, 2))
	for name, drift := range map[string]string{
		"a rule appended":       "*nat\n-A KUBE-MARK-MASQ -j ACCEPT\nCOMMIT\n",
		"a chain emptied":       "*nat\n:KUBE-SERVICES - [0:0]\nCOMMIT\n",
		"a jump removed":        "*nat\n-D OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\nCOMMIT\n",
		"a jump doubled":        "*nat\n-I OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\nCOMMIT\n",
		"a chain of our naming": "*nat\n:KUBE-SEP-ABC - [0:0]\n-A KUBE-SEP-ABC -j RETURN\nCOMMIT\n",
		"a jump of our naming":  "*filter\n-A INPUT -j KUBE-SERVICES\nCOMMIT\n",
	} {
		t.Run(name, func(t *testing.T) {
			kernel := iptablestest.New()
			d := iptables.NewDataplane(kernel, config)
			apply(t, d, state)
			want := kernel.String()
			kernel.Must(drift)
			d.Forget()
			apply(t, d, state)
			if diff := cmp.Diff(want, kernel.String()); diff != "" {
				t.Errorf("not repaired (-want +got):\n%s", diff)
			}
		})
	}
}

func TestARefusedServiceIsSetAside(t *testing.T) {
	for _, hide := range []bool{false, true} {
		t.Run(fmt.Sprintf("line hidden=%v", hide), func(t *testing.T) {
			kernel := iptablestest.New()
			kernel.HideLine = hide
			kernel.Refuse = func(_, rule string) bool {
				return strings.Contains(rule, "service-13:") || strings.Contains(rule, "service-77:")
			}
			store := clustergen.Uniform(100, 1)
			state := build(t, store)
			d := iptables.NewDataplane(kernel, config)
			refused := apply(t, d, state)
			var names []string
			for _, r := range refused {
				names = append(names, r.Target.Name.Name)
				if r.Err == nil {
					t.Errorf("%s is refused without a reason", r.Target.Name)
				}
			}
			if diff := cmp.Diff([]string{"service-13", "service-77"}, names); diff != "" {
				t.Fatalf("refused (-want +got):\n%s", diff)
			}
			for i := range 100 {
				served := strings.Contains(kernel.String(), fmt.Sprintf("/service-%d:http ", i))
				if bad := i == 13 || i == 77; served == bad {
					t.Errorf("service-%d is served: %v", i, served)
				}
			}
			mustBeEmpty(t, plan(t, d, state))

			// It is tried again when it changes, and otherwise not soon.
			writes := len(kernel.Inputs())
			if again := apply(t, d, state); len(again) != 2 || len(kernel.Inputs()) != writes {
				t.Errorf("unchanged: %d refused, %d writes", len(again), len(kernel.Inputs())-writes)
			}
			kernel.Refuse = nil
			store.SetEndpointSlice(clustergen.Slice(13, proxier.IPv4, 1, 1))
			state = proxier.Build(state, store.Snapshot(), clustergen.Options(proxier.IPv4))
			if again := apply(t, d, state); len(again) != 1 || again[0].Target.Name.Name != "service-77" {
				t.Errorf("after service-13 changed: %d refused, want service-77 only", len(again))
			}
			if !strings.Contains(kernel.String(), "/service-13:http ") {
				t.Error("service-13 is not served although it changed and nothing refuses it")
			}
		})
	}
}

// The tool counts lines wrong, and in the middle of the search the kernel is
// out of memory: nobody innocent stays refused.
func TestNobodyInnocentStaysRefused(t *testing.T) {
	state := build(t, clustergen.Uniform(40, 1))
	refusedNames := func(kernel *iptablestest.Kernel) []string {
		d := iptables.NewDataplane(kernel, config)
		var names []string
		for range 100 {
			refused, err := plan(t, d, state).Apply(context.Background())
			if err != nil {
				continue // tried again, as after any failed pass
			}
			for _, r := range refused {
				names = append(names, r.Target.Name.Name)
			}
			return names
		}
		t.Fatal("never served")
		return nil
	}
	for _, offset := range []int{-3, -1, 0, 2, 7} {
		for failing := range 12 {
			kernel := iptablestest.New()
			kernel.LineOffset = offset
			kernel.HideLine = failing%2 == 1
			kernel.Refuse = func(_, rule string) bool { return strings.Contains(rule, "service-13:") }
			calls := 0
			kernel.FailWrite = func(int) error {
				if calls++; calls == failing {
					return errors.New("no memory")
				}
				return nil
			}
			if diff := cmp.Diff([]string{"service-13"}, refusedNames(kernel)); diff != "" {
				t.Errorf("lines off by %d, call %d fails: refused (-want +got):\n%s", offset, failing, diff)
			}
		}
	}
}

func TestAKernelThatTakesNothingBlamesNoService(t *testing.T) {
	store := clustergen.Uniform(5, 1)
	kernel := iptablestest.New()
	d := iptables.NewDataplane(kernel, config)
	apply(t, d, build(t, store))
	kernel.FailWrite = func(int) error { return &iptables.RestoreError{Output: "read-only"} }
	store.SetService(clustergen.Service(5))
	store.SetEndpointSlice(clustergen.Slice(5, proxier.IPv4, 1, 0))
	state := build(t, store)
	if refused, err := plan(t, d, state).Apply(context.Background()); err == nil || len(refused) != 0 {
		t.Errorf("error %v and %d refusals, want an error only", err, len(refused))
	}
	kernel.FailWrite = nil
	if refused := apply(t, d, state); len(refused) != 0 {
		t.Errorf("%d Services stay refused", len(refused))
	}
}

// The tool names a line, but what was wrong has passed when that Service is left
// out: it was not the Service.
func TestARefusalThatPassesBlamesNoService(t *testing.T) {
	kernel := iptablestest.New()
	first := true
	kernel.Refuse = func(_, rule string) bool {
		refuse := first && strings.Contains(rule, "service-13:")
		first = first && !refuse
		return refuse
	}
	state := build(t, clustergen.Uniform(40, 1))
	d := iptables.NewDataplane(kernel, config)
	if refused := apply(t, d, state); len(refused) != 0 || first {
		t.Errorf("%d Services are left out (refused once: %v), want none", len(refused), !first)
	}
	mustBeEmpty(t, plan(t, d, state))
}

// A watched kernel is looked at after each write that it took, in part or whole.
type watched struct {
	*iptablestest.Kernel
	look func()
}

func (w watched) Restore(ctx context.Context, input string) error {
	err := w.Kernel.Restore(ctx, input)
	w.look()
	return err
}

// What is served goes on being served while those are searched for that the kernel
// refuses: after a restart, where nothing is known of what was accepted, and where the
// cause is nobody's.
func TestASearchTakesNothingFromOthers(t *testing.T) {
	store := clustergen.Uniform(100, 1)
	for _, c := range []struct {
		name   string
		refuse func() func(chain, rule string) bool
		want   []string
		err    string
		// restarted: the process before has found the one that is refused.
		restarted bool
	}{
		{name: "a Service, after a restart", restarted: true, want: []string{"service-13"}, refuse: func() func(string, string) bool {
			return func(_, rule string) bool { return strings.Contains(rule, "service-13:") }
		}},
		{name: "for a moment", refuse: func() func(string, string) bool {
			times := 0
			return func(string, string) bool { times++; return times == 1 }
		}},
		{name: "what is no Service's, in the filter table", err: "even without the Services that changed", refuse: func() func(string, string) bool {
			return func(chain, _ string) bool { return chain == "KUBE-FORWARD" }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			kernel := iptablestest.New()
			kernel.HideLine = true
			state := build(t, store)
			if c.restarted {
				kernel.Refuse = c.refuse()
			}
			apply(t, iptables.NewDataplane(kernel, config), state)
			served := func(i int) bool { // by a rule that leads to its chain, and those of the chain
				return strings.Count(kernel.String(), fmt.Sprintf("/service-%d:http ", i)) >= 2
			}
			kernel.Refuse = c.refuse()
			d := iptables.NewDataplane(watched{kernel, func() {
				for i := range 100 {
					suspect := i == 13 && (len(c.want) > 0 || c.err != "")
					if !suspect && !served(i) {
						t.Errorf("service-%d is not served any more", i)
					}
				}
			}}, config)
			changed := clustergen.Uniform(100, 1)
			changed.SetEndpointSlice(clustergen.Slice(13, proxier.IPv4, 1, 1))
			if c.err != "" { // something to write in the table that is refused, of the Service, too
				kernel.Must("*filter\n:KUBE-FORWARD -\nCOMMIT\n")
				service := clustergen.Service(13)
				service.Spec.Type, service.Spec.LoadBalancerSourceRanges = corev1.ServiceTypeLoadBalancer, []string{"192.0.2.0/24"}
				service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "198.51.100.7"}}
				changed.SetService(service)
			}
			refused, err := plan(t, d, build(t, changed)).Apply(t.Context())
			if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("the error is %v, want one that says %q", err, c.err)
			}
			var names []string
			for _, r := range refused {
				names = append(names, r.Target.Name.Name)
			}
			if diff := cmp.Diff(c.want, names); diff != "" {
				t.Errorf("refused (-want +got):\n%s", diff)
			}
			if want := len(c.want) == 0; served(13) != want {
				t.Errorf("the Service that changed is served: %v, want %v", !want, want)
			}
		})
	}
}

func TestARefusalOfTheBaseIsAnError(t *testing.T) {
	kernel := iptablestest.New()
	kernel.Refuse = func(chain, _ string) bool { return chain == "KUBE-POSTROUTING" }
	d := iptables.NewDataplane(kernel, config)
	_, err := plan(t, d, build(t, clustergen.Uniform(10, 1))).Apply(context.Background())
	if err == nil || !strings.Contains(err.Error(), "KUBE-POSTROUTING") {
		t.Errorf("error %v, want one that holds the offending line", err)
	}
	kernel.Refuse = nil
	if refused := apply(t, d, build(t, clustergen.Uniform(10, 1))); len(refused) != 0 {
		t.Errorf("%d Services are blamed for what was not their fault", len(refused))
	}
}

func TestManyNamesGoInSeveralCallsEssentialsFirst(t *testing.T) {
	store := clustergen.Uniform(400, 2)
	essential := clustergen.Service(1000)
	essential.Namespace, essential.Name = "default", "kubernetes"
	store.SetService(essential)
	slice := clustergen.Slice(1000, proxier.IPv4, 1, 0)
	slice.Namespace, slice.Labels["kubernetes.io/service-name"] = "default", "kubernetes"
	store.SetEndpointSlice(slice)
	state := build(t, store)

	chunked := config
	chunked.MaxNames = 50
	kernel, whole := iptablestest.New(), iptablestest.New()
	d := iptables.NewDataplane(kernel, chunked)
	apply(t, d, state)
	if n := len(kernel.Inputs()); n < 8 {
		t.Errorf("%d calls, want many", n)
	}
	// Once the cluster's own Service is in service it stays so between calls.
	replay := iptablestest.New()
	for i, input := range kernel.Inputs() {
		replay.Must(input)
		if i > 0 && !strings.Contains(replay.String(), "default/kubernetes:http") {
			t.Errorf("after call %d default/kubernetes is not served", i+1)
		}
	}
	apply(t, iptables.NewDataplane(whole, config), state)
	if diff := cmp.Diff(whole.String(), kernel.String()); diff != "" {
		t.Errorf("several calls end up elsewhere than one (-one +several):\n%s", diff)
	}
	apply(t, d, build(t, clustergen.Uniform(3, 1)))
	apply(t, iptables.NewDataplane(whole, config), build(t, clustergen.Uniform(3, 1)))
	if diff := cmp.Diff(whole.String(), kernel.String()); diff != "" {
		t.Errorf("after most Services went (-one +several):\n%s", diff)
	}
}

// Somebody has loaded the nat table anew. Until it is as before, in many calls, nobody
// gets to where the filter table keeps him from.
func TestWhileNatComesBackFilterKeepsOut(t *testing.T) {
	store := clustergen.Uniform(400, 2)
	for i := range 400 {
		service := clustergen.Service(i)
		service.Spec.Type, service.Spec.LoadBalancerSourceRanges = corev1.ServiceTypeLoadBalancer, []string{"192.0.2.0/24"}
		service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: fmt.Sprintf("198.51.%d.%d", i/200, 1+i%200)}}
		store.SetService(service)
	}
	state := build(t, store)
	before, kernel := iptablestest.New(), iptablestest.New()
	apply(t, iptables.NewDataplane(before, config), state)
	rules := parse(t, before).Table(iptables.Filter)
	rules.Chains = slices.DeleteFunc(slices.Clone(rules.Chains), func(c *iptables.Chain) bool { return c.Policy != "" })
	kernel.Must(iptables.Ruleset{Tables: []iptables.Table{rules}}.String())

	drops := func() int { return strings.Count(kernel.String(), "-j DROP") }
	want, calls := drops(), 0
	chunked := config
	chunked.MaxNames = 50
	apply(t, iptables.NewDataplane(watched{kernel, func() {
		if calls++; drops() != want {
			t.Errorf("after call %d there are %d DROP, want %d", calls, drops(), want)
		}
	}}, chunked), state)
	if calls < 8 || want < 400 {
		t.Errorf("%d calls and %d DROP say nothing", calls, want)
	}
	if diff := cmp.Diff(before.String(), kernel.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// meddle is a stranger who changes one of our chains, or our rules of a built-in one,
// and is noticed.
func meddle(t *testing.T, kernel *iptablestest.Kernel, d *iptables.Dataplane, random *rand.Rand) {
	t.Helper()
	table := iptables.Observe(parse(t, kernel)).Own.Table([]string{iptables.NAT, iptables.Filter}[random.IntN(2)])
	c := &iptables.Chain{Name: "KUBE-FW-NOBODY"}
	if len(table.Chains) > 0 {
		c = table.Chains[random.IntN(len(table.Chains))]
	}
	var input string
	switch {
	case len(c.Rules) == 0:
		input = ":" + c.Name + " -\n-A " + c.Name + " -j RETURN\n"
		if c.Policy != "" {
			return
		}
	case random.IntN(2) == 0:
		input = "-D " + c.Name + " " + c.Rules[0] + "\n"
	default:
		for _, rule := range c.Rules { // as iptables-restore --noflush of what was saved does
			input += "-A " + c.Name + " " + rule + "\n"
		}
	}
	kernel.Must("*" + table.Name + "\n" + input + "COMMIT\n")
	var doubt iptables.Doubt
	doubt.Chain(table.Name, c.Name)
	d.Doubt(doubt)
}

// From wherever a random sequence of changes, failures and strangers leaves the
// kernel, one Apply reaches the desired state.
func TestAnyHistoryEndsInTheSameBytes(t *testing.T) {
	for seed := range uint64(20) {
		cluster := clustergen.NewRandom(seed, 60)
		kernel := iptablestest.New()
		c := config
		c.BPF = seed%3 != 0
		if seed%2 == 0 {
			c.MaxNames = 20
		}
		d := iptables.NewDataplane(kernel, c)
		fail := 0
		kernel.FailWrite = func(int) error {
			if fail++; fail%10 == 9 {
				return errors.New("no memory")
			}
			return nil
		}
		var state *proxier.State
		random := rand.New(rand.NewPCG(seed, 2))
		for range 60 {
			for range 5 {
				cluster.Step()
			}
			meddle(t, kernel, d, random)
			state = proxier.Build(state, cluster.Store.Snapshot(), clustergen.Options(proxier.IPv4))
			if _, err := plan(t, d, state).Apply(context.Background()); err == nil {
				mustBeEmpty(t, plan(t, d, state))
			}
		}
		kernel.FailWrite = nil
		apply(t, d, state)

		fresh := iptablestest.New()
		again := proxier.Build(nil, cluster.Store.Snapshot(), clustergen.Options(proxier.IPv4))
		apply(t, iptables.NewDataplane(fresh, c), again)
		if diff := cmp.Diff(fresh.String(), kernel.String()); diff != "" {
			t.Fatalf("seed %d: history shows in the kernel (-fresh +got):\n%s", seed, diff)
		}
		d.Forget()
		mustBeEmpty(t, plan(t, d, state))
	}
}
