package mode

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/iptablestest"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
)

// kubeProxyIPVS is the beginning of what kube-proxy's ipvs mode leaves.
const kubeProxyIPVS = `*nat
:KUBE-SERVICES - [0:0]
:KUBE-MARK-MASQ - [0:0]
-A KUBE-SERVICES -s 127.0.0.0/8 -j RETURN
-A KUBE-SERVICES -m comment --comment "Kubernetes service cluster ip + port for masquerade purpose" -m set --match-set KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ
COMMIT
`

func TestWhenTheRulesOfIPVSModeAreSynced(t *testing.T) {
	state := proxier.Build(nil, clustergen.Uniform(20, 2).Snapshot(), clustergen.Options(proxier.IPv4))
	rules := func(mode string, bit int) iptables.Config {
		o := iptables.Options{Features: iptables.AllFeatures(), MasqueradeBit: bit}
		if mode == config.ModeIPVS {
			o.Virtual = SetNames(proxier.IPv4)
		}
		return iptables.Config{Options: o}
	}
	left := func(mode string) func(*iptablestest.Kernel) {
		return func(k *iptablestest.Kernel) {
			plan, err := iptables.NewDataplane(k, rules(mode, 13)).Plan(t.Context(), state)
			if err == nil {
				_, err = plan.Apply(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := []struct {
		name   string
		before func(*iptablestest.Kernel)
		last   bool
	}{
		{"on a host that serves nothing", func(*iptablestest.Kernel) {}, false},
		{"after iptables mode", left(config.ModeIPTables), true},
		{"after ipvs mode", left(config.ModeIPVS), false},
		{"after kube-proxy's ipvs mode", func(k *iptablestest.Kernel) { k.Must(kubeProxyIPVS) }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			kernel := iptablestest.New()
			test.before(kernel)
			order := &rulesOrder{Dataplane: iptables.NewDataplane(kernel, rules(config.ModeIPVS, 14)), observe: func(ctx context.Context) (iptables.Observation, error) {
				return observe(ctx, kernel)
			}}
			first, last := &rulesTurn{rulesOrder: order}, &rulesTurn{rulesOrder: order, last: true}
			turns := func() (inFirst, inLast bool) {
				t.Helper()
				return turn(t, first, state), turn(t, last, state)
			}
			if inFirst, inLast := turns(); inFirst != !test.last || inLast != test.last {
				t.Errorf("synced first: %t, last: %t", inFirst, inLast)
			}
			order.Forget()
			if inFirst, inLast := turns(); inFirst || inLast {
				t.Error("the second pass writes again")
			}
			if order.last {
				t.Error("the rules stay last")
			}
		})
	}
}

// A switch that fails is not taken for done.
func TestRulesThatFailStayLast(t *testing.T) {
	kernel := iptablestest.New()
	kernel.Must("*nat\n:KUBE-SERVICES - [0:0]\n-A KUBE-SERVICES -d 10.96.0.1/32 -j DNAT --to-destination 10.244.1.5:80\nCOMMIT\n")
	kernel.FailWrite = func(int) error { return errors.New("broken") }
	state := proxier.Build(nil, clustergen.Uniform(1, 1).Snapshot(), clustergen.Options(proxier.IPv4))
	order := &rulesOrder{Dataplane: iptables.NewDataplane(kernel, iptables.Config{}), observe: func(ctx context.Context) (iptables.Observation, error) {
		return observe(ctx, kernel)
	}}
	plan, err := (&rulesTurn{rulesOrder: order, last: true}).Plan(t.Context(), state)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Apply(t.Context()); err == nil || !order.last {
		t.Errorf("error %v, last %t", err, order.last)
	}
}

// What a plan of rules tells, it tells in its last turn, too: failed restores are
// counted, as are rules.
func TestTheLastTurnTellsAllThatRulesDo(t *testing.T) {
	kernel := iptablestest.New()
	kernel.Must("*nat\n:KUBE-SERVICES - [0:0]\n-A KUBE-SERVICES -d 10.96.0.1/32 -j DNAT --to-destination 10.244.1.5:80\nCOMMIT\n")
	state := proxier.Build(nil, clustergen.Uniform(1, 1).Snapshot(), clustergen.Options(proxier.IPv4))
	rules := iptables.NewDataplane(kernel, iptables.Config{})
	order := &rulesOrder{Dataplane: rules, observe: func(ctx context.Context) (iptables.Observation, error) {
		return observe(ctx, kernel)
	}}
	var said [2]proxier.Findings
	for i, d := range []proxier.Dataplane{rules, &rulesTurn{rulesOrder: order, last: true}} {
		plan, err := d.Plan(t.Context(), state)
		if err != nil {
			t.Fatal(err)
		}
		said[i] = plan.Findings()
	}
	if diff := cmp.Diff(said[0], said[1]); diff != "" || len(said[1].Rules) == 0 {
		t.Errorf("what the last turn's plan tells, %+v, is not what the rules' plan does (-rules +last turn):\n%s", said[1], diff)
	}
}

// turn makes a pass, and reports whether anything was written.
func turn(t *testing.T, d proxier.Dataplane, state *proxier.State) bool {
	t.Helper()
	plan, err := d.Plan(t.Context(), state)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	return !plan.Empty()
}

func observe(ctx context.Context, kernel iptables.Kernel) (iptables.Observation, error) {
	nat, err := kernel.Save(ctx, iptables.NAT)
	if err != nil {
		return iptables.Observation{}, err
	}
	rules, err := iptables.ParseSave(nat)
	return iptables.Observe(rules), err
}
