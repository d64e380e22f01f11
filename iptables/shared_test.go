package iptables

import (
	"context"
	"errors"
	"testing"
	"unsafe"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// heldRules is a kernel that holds rules already.
type heldRules struct {
	rules Ruleset
	// texts are what was read of it.
	texts *[]string
}

func (h heldRules) Save(_ context.Context, table string) (string, error) {
	text := Ruleset{Tables: []Table{h.rules.Table(table)}}.String()
	*h.texts = append(*h.texts, text)
	return text, nil
}

func (heldRules) SaveChain(context.Context, string, string) (string, error) {
	return "", errors.ErrUnsupported
}

func (heldRules) Restore(context.Context, string) error { return nil }

// A second copy of all rules would be much of the process's memory, and comparing
// with it, instead of pointers, much of what a change costs after a restart.
func TestWhatWasReadAndIsRightIsNotKept(t *testing.T) {
	state := proxier.Build(nil, clustergen.Uniform(20, 3).Snapshot(), clustergen.Options(proxier.IPv4))
	held := Compile(nil, state, Options{}).Ruleset
	nat := held.Table(NAT)
	for _, c := range []*Chain{{Name: "KUBE-SVC-OLD"}, {Name: "MINE", Rules: []string{"-j KUBE-SVC-OLD"}}} {
		nat = nat.with(c.Name, c) // which we cannot delete
	}
	held.Tables = []Table{nat, held.Table(Filter)}
	var texts []string
	d := NewDataplane(heldRules{held, &texts}, Config{})
	p, err := d.Plan(t.Context(), state)
	if err != nil {
		t.Fatal(err)
	}
	if !p.Empty() {
		t.Fatalf("the kernel has all rules, but the plan is\n%s", p)
	}
	mine := func(what, s string) {
		for _, text := range texts {
			first, start := uintptr(unsafe.Pointer(unsafe.StringData(text))), uintptr(unsafe.Pointer(unsafe.StringData(s)))
			if first <= start && start < first+uintptr(len(text)) {
				t.Errorf("%s %q keeps all of what was read", what, s)
			}
		}
	}
	for name, chains := range d.have.Referenced {
		mine("the table of references", name)
		for chain := range chains {
			mine("a chain that others lead to", chain)
		}
	}
	for name := range d.have.read {
		mine("the table that was read", name)
	}
	for _, table := range d.have.Own.Tables {
		mine("table", table.Name)
		for _, chain := range table.Chains {
			if wanted := d.compiled.Ruleset.Table(table.Name).Chain(chain.Name); wanted != nil && wanted != chain {
				t.Fatalf("%s: chain %s is kept as it was read", table.Name, chain.Name)
			}
			mine("chain", chain.Name)
		}
	}
	if !d.have.Referenced[NAT]["KUBE-SVC-OLD"] || d.have.Own.Table(NAT).Chain("KUBE-SVC-OLD") == nil {
		t.Errorf("the chain that is left is not known: %v", d.have.Referenced)
	}
}

func TestAChainThatIsNotWantedIsStillRemembered(t *testing.T) {
	mine, read := &Chain{Name: "KUBE-SVC-A"}, &Chain{Name: "KUBE-SVC-A"}
	left := &Chain{Name: "KUBE-SVC-B"} // that a stranger jumps to
	have := Ruleset{Tables: []Table{{Name: NAT, Chains: []*Chain{read, left}}}}
	got := shared(have, Ruleset{Tables: []Table{{Name: NAT, Chains: []*Chain{mine}}}})
	chains := got.Table(NAT).Chains
	if len(chains) != 2 || chains[0] != mine || chains[1].Name != left.Name {
		t.Errorf("have %v, want the chain that is wanted, and the one that is left", chains)
	}
	if have.Tables[0].Chains[0] != read {
		t.Error("what was read has been changed")
	}
}
