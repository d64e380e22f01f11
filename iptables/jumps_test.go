package iptables_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/iptablestest"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// Older releases of kube-proxy's ipvs mode have a chain of the kubelet's name, in
// another table.
func TestKubeProxysFirewallGoesAndTheKubeletsStays(t *testing.T) {
	kernel := iptablestest.New()
	const kubelets = ":KUBE-FIREWALL - [0:0]\n-A INPUT -j KUBE-FIREWALL\n-A KUBE-FIREWALL -j DROP\n"
	kernel.Must(`*nat
:KUBE-SERVICES - [0:0]
:KUBE-LOAD-BALANCER - [0:0]
:KUBE-FIREWALL - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A KUBE-SERVICES -m set --match-set KUBE-LOAD-BALANCER dst,dst -j KUBE-LOAD-BALANCER
-A KUBE-LOAD-BALANCER -m set --match-set KUBE-LOAD-BALANCER-FW dst,dst -j KUBE-FIREWALL
-A KUBE-FIREWALL -m set --match-set KUBE-LOAD-BALANCER-SOURCE-CIDR dst,dst,src -j RETURN
COMMIT
*filter
` + kubelets + "COMMIT\n")
	apply(t, iptables.NewDataplane(kernel, config), build(t, clustergen.Uniform(1, 1)))
	have := parse(t, kernel)
	if chain := have.Table(iptables.NAT).Chain("KUBE-FIREWALL"); chain != nil {
		t.Errorf("nat KUBE-FIREWALL is left: %v", chain.Rules)
	}
	if strings.Contains(kernel.String(), "--match-set") {
		t.Errorf("a set is still used:\n%s", kernel)
	}
	if chain := have.Table(iptables.Filter).Chain("KUBE-FIREWALL"); chain == nil || len(chain.Rules) != 1 {
		t.Errorf("the kubelet's chain is %v", chain)
	}
	if !slices.Contains(have.Table(iptables.Filter).Chain("INPUT").Rules, "-j KUBE-FIREWALL") {
		t.Error("the jump to the kubelet's chain is gone")
	}
}

// Rules of others that accept are there first, and come to nothing if ours stand
// below them.
func TestOurJumpsStandAboveStrangersRules(t *testing.T) {
	const stranger = "-m comment --comment mine -j ACCEPT"
	for _, maxNames := range []int{0, 20} {
		kernel := iptablestest.New()
		before := parse(t, kernel)
		for _, table := range before.Tables {
			for _, chain := range table.Chains {
				kernel.Must("*" + table.Name + "\n-A " + chain.Name + " " + stranger + "\nCOMMIT\n")
			}
		}
		state := build(t, clustergen.Uniform(20, 2))
		c := config
		c.MaxNames = maxNames
		apply(t, iptables.NewDataplane(kernel, c), state)
		want, have := iptables.Compile(nil, state, c.Options).Ruleset, parse(t, kernel)
		for _, table := range before.Tables {
			for _, builtin := range table.Chains {
				var rules []string
				if ours := want.Table(table.Name).Chain(builtin.Name); ours != nil {
					rules = ours.Rules
				}
				got := have.Table(table.Name).Chain(builtin.Name).Rules
				if diff := cmp.Diff(append(slices.Clone(rules), stranger), got); diff != "" {
					t.Errorf("at most %d names a call: %s %s (-want +got):\n%s", maxNames, table.Name, builtin.Name, diff)
				}
			}
		}
	}
}

// Who restores a save that holds our jumps, without flushing, has all of it twice
// then. Of equal rules iptables deletes the first, which is the one that counts.
func TestJumpsThatWereDoubledStandAboveStrangersRules(t *testing.T) {
	const others = "-A FORWARD -i eth1 -j ACCEPT\n-A FORWARD -j REJECT\n"
	kernel := iptablestest.New()
	state := build(t, clustergen.Uniform(3, 2))
	d := iptables.NewDataplane(kernel, config)
	kernel.Must("*filter\n" + others + "COMMIT\n")
	apply(t, d, state)
	want := kernel.String()
	var again strings.Builder
	for _, rule := range parse(t, kernel).Table(iptables.Filter).Chain("FORWARD").Rules {
		again.WriteString("-A FORWARD " + rule + "\n")
	}
	kernel.Must("*filter\n" + again.String() + "COMMIT\n")
	d.Forget()
	apply(t, d, state)
	want = strings.Replace(want, "-A FORWARD -j REJECT\n", "-A FORWARD -j REJECT\n"+others, 1) // theirs is theirs
	if diff := cmp.Diff(want, kernel.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What others put above and between our jumps stays there: who wants to be on top as
// well would put his back, and so on.
func TestStrangersMayStandAboveOurJumps(t *testing.T) {
	kernel := iptablestest.New()
	state := build(t, clustergen.Uniform(3, 2))
	d := iptables.NewDataplane(kernel, config)
	apply(t, d, state)
	rules := parse(t, kernel).Table(iptables.Filter).Chain("FORWARD").Rules
	kernel.Must("*filter\n-I FORWARD -i cali+ -j ACCEPT\n-D FORWARD " + rules[0] + "\n-I FORWARD " + rules[0] + "\n-I FORWARD -i eth1 -j ACCEPT\nCOMMIT\n")
	d.Forget()
	mustBeEmpty(t, plan(t, d, state))
}

// kube-proxy has our FORWARD jumps among its own, in another order. Taken for the
// same, they would be found different at each look.
func TestTheOrderOfJumpsIsTakenOver(t *testing.T) {
	dump, err := os.ReadFile("../testdata/dumps/kube-proxy-iptables-legacy.v4.save")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := iptables.ParseSave(string(dump))
	if err != nil {
		t.Fatal(err)
	}
	var jumps strings.Builder
	for _, rule := range rules.Table(iptables.Filter).Chain("FORWARD").Rules {
		if strings.Contains(rule, "-j KUBE-FORWARD") || strings.Contains(rule, "-j KUBE-SERVICES") {
			jumps.WriteString("-A FORWARD " + rule + "\n")
		}
	}
	kernel := iptablestest.New()
	kernel.Must("*filter\n:KUBE-FORWARD -\n:KUBE-SERVICES -\n" + jumps.String() + "COMMIT\n")
	store := clustergen.Uniform(3, 2)
	d := iptables.NewDataplane(kernel, config)
	apply(t, d, build(t, store))

	var doubt iptables.Doubt
	doubt.Chain(iptables.Filter, "FORWARD")
	d.Doubt(doubt)
	store.SetEndpointSlice(clustergen.Slice(1, proxier.IPv4, 2, 1))
	p := plan(t, d, build(t, store))
	if drift := p.Findings().Drift; drift != proxier.DriftNone {
		t.Errorf("nobody has changed anything, but the finding is %v", drift)
	}
	if strings.Contains(p.Diff(), "FORWARD") {
		t.Errorf("FORWARD is to be changed:\n%s", p.Diff())
	}
}

// Up to 1.26 the kubelet writes these rules, too, and appends what is missing each
// minute. kube-proxy has the same ones.
func TestTheKubeletFindsItsRules(t *testing.T) {
	dump, err := os.ReadFile("../testdata/dumps/kube-proxy-iptables-legacy.v4.save")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := iptables.ParseSave(string(dump))
	if err != nil {
		t.Fatal(err)
	}
	ours := iptables.Compile(nil, build(t, clustergen.Uniform(1, 1)), config.Options).Ruleset.Table(iptables.NAT)
	for _, name := range []string{"KUBE-POSTROUTING", "KUBE-MARK-MASQ"} {
		rules := theirs.Table(iptables.NAT).Chain(name).Rules
		for _, rule := range rules {
			if !slices.Contains(ours.Chain(name).Rules, rule) {
				t.Errorf("%s has no %s", name, rule)
			}
		}
		if len(rules) == 0 {
			t.Errorf("there is nothing in %s", name)
		}
	}
	jump := theirs.Table(iptables.NAT).Chain("POSTROUTING").Rules
	if have := ours.Chain("POSTROUTING").Rules; !slices.Contains(jump, have[0]) {
		t.Errorf("POSTROUTING has %q, want one of %q", have, jump)
	}
}

func TestStrangersRulesStay(t *testing.T) {
	kernel := iptablestest.New()
	kernel.Must(`*nat
:DOCKER - [0:0]
-A DOCKER -i docker0 -j RETURN
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
:KUBE-HOSTPORTS - [0:0]
:KUBE-HP-ABCDEFGHIJKLMNOP - [0:0]
-A KUBE-HOSTPORTS -p tcp -m comment --comment "CRI-O's" -m tcp --dport 8081 -j KUBE-HP-ABCDEFGHIJKLMNOP
-A KUBE-HP-ABCDEFGHIJKLMNOP -p tcp -m tcp -j DNAT --to-destination 10.244.1.9:80
-A PREROUTING -j KUBE-HOSTPORTS
COMMIT
*filter
:KUBE-FIREWALL - [0:0]
:MINE - [0:0]
-A KUBE-FIREWALL -j DROP
-A INPUT -j KUBE-FIREWALL
-A MINE -m comment --comment "-j KUBE-SERVICES" -j RETURN
-A FORWARD -j MINE
COMMIT
`)
	before := kernel.String()
	d := iptables.NewDataplane(kernel, config)
	apply(t, d, build(t, clustergen.Uniform(20, 2)))
	for line := range strings.Lines(before) {
		if !strings.Contains(kernel.String(), line) {
			t.Errorf("%q is gone", line)
		}
	}
	empty := iptables.Cleanup(iptables.Observe(parse(t, kernel)))
	for _, call := range empty.Calls {
		if err := kernel.Restore(context.Background(), call); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(before, kernel.String()); diff != "" {
		t.Errorf("after the cleanup the kernel is not as before (-before +after):\n%s", diff)
	}
}
