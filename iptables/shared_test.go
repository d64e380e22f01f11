package iptables

import (
	"context"
	"errors"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// heldRules is a kernel that holds rules already.
type heldRules struct{ rules Ruleset }

func (h heldRules) Save(_ context.Context, table string) (string, error) {
	return Ruleset{Tables: []Table{h.rules.Table(table)}}.String(), nil
}

func (heldRules) SaveChain(context.Context, string, string) (string, error) {
	return "", errors.ErrUnsupported
}

func (heldRules) Restore(context.Context, string) error { return nil }

// A second copy of all rules would be much of the process's memory, and comparing
// with it, instead of pointers, much of what a change costs after a restart.
func TestWhatWasReadAndIsRightIsNotKept(t *testing.T) {
	state := proxier.Build(nil, clustergen.Uniform(20, 3).Snapshot(), clustergen.Options(proxier.IPv4))
	d := NewDataplane(heldRules{Compile(nil, state, Options{}).Ruleset}, Config{})
	p, err := d.Plan(t.Context(), state)
	if err != nil {
		t.Fatal(err)
	}
	if !p.Empty() {
		t.Fatalf("the kernel has all rules, but the plan is\n%s", p)
	}
	for _, table := range d.compiled.Ruleset.Tables {
		for i, chain := range table.Chains {
			if have := d.have.Own.Table(table.Name).Chains[i]; have != chain {
				t.Fatalf("%s: chain %s is kept as it was read", table.Name, chain.Name)
			}
		}
	}
}

func TestAChainThatIsNotWantedIsStillRemembered(t *testing.T) {
	mine, read := &Chain{Name: "KUBE-SVC-A"}, &Chain{Name: "KUBE-SVC-A"}
	left := &Chain{Name: "KUBE-SVC-B"} // that a stranger jumps to
	have := Ruleset{Tables: []Table{{Name: NAT, Chains: []*Chain{read, left}}}}
	got := shared(have, Ruleset{Tables: []Table{{Name: NAT, Chains: []*Chain{mine}}}})
	chains := got.Table(NAT).Chains
	if len(chains) != 2 || chains[0] != mine || chains[1] != left {
		t.Errorf("have %v, want the chain that is wanted, and the one that is left", chains)
	}
	if have.Tables[0].Chains[0] != read {
		t.Error("what was read has been changed")
	}
}
