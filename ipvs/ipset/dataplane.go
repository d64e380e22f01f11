package ipset

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// Want says which sets a State needs.
type Want func(ctx context.Context, state *proxier.State) ([]Set, error)

// Sets is the dataplane that brings the sets of one family into the shape a
// State asks for. It comes before the one of the rules that use them, and leaves
// alone what may still be needed: see Rest and Leftovers. It is used by one
// goroutine, except Forget.
type Sets struct {
	kernel Kernel
	family proxier.Family
	want   Want
	rules  iptables.Kernel
	// left is what the last whole pass has left; nil where something was written since.
	left []Set

	mu sync.Mutex
	// have is what the kernel is believed to hold; nil when it has to be asked.
	have []Set
	// forgets counts the calls of Forget, so that one in the middle of an Apply
	// is not lost.
	forgets int
}

// NewSets returns a dataplane that has not looked at the kernel yet. rules are
// where rules are deleted that keep a set of the wrong type from going.
func NewSets(kernel Kernel, family proxier.Family, want Want, rules iptables.Kernel) *Sets {
	return &Sets{kernel: kernel, family: family, want: want, rules: rules}
}

// Name is "ipset".
func (*Sets) Name() string { return "ipset" }

// Forget makes the next Plan look at the kernel, because somebody else may have
// changed it. It is safe to call from any goroutine.
func (d *Sets) Forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.have = nil
	d.forgets++
}

// Plan compares the kernel's sets with what the State asks for, but for what Rest
// takes away.
func (d *Sets) Plan(ctx context.Context, state *proxier.State) (proxier.Plan, error) {
	want, have, forgets, err := d.look(ctx, state)
	if err != nil {
		return nil, err
	}
	p := &plan{kernel: d.kernel, rules: d.rules, patch: Diff(d.family, have, withRest(d.family, have, want))}
	if p.releases, err = release(ctx, d.rules, p.patch.Release); err != nil {
		return nil, err
	}
	if p.Empty() {
		d.remember(p.patch.After, forgets)
	}
	p.before = d.write
	p.done = func() { d.remember(p.patch.After, forgets+1) }
	return p, nil
}

// look returns the wanted sets and those that are there, from memory where that is
// good; forgets is for remember.
func (d *Sets) look(ctx context.Context, state *proxier.State) (want, have []Set, forgets int, err error) {
	if want, err = d.want(ctx, state); err != nil {
		return nil, nil, 0, err
	}
	for _, s := range want {
		if !Owned(d.family, s.Name) {
			return nil, nil, 0, fmt.Errorf("set %s is wanted for %s, but the name is not among those that are ours", s.Name, d.family)
		}
	}
	have, forgets = d.remembered()
	if have == nil {
		all, err := d.kernel.List(ctx)
		if err != nil {
			return nil, nil, 0, err
		}
		have = owned(d.family, all)
	}
	return want, have, forgets, nil
}

// write comes before the Ops: until all are through, nobody knows what there is.
func (d *Sets) write() {
	d.left = nil
	d.Forget()
}

// remember takes sets for what the kernel holds, unless Forget was called since
// forgets was read.
func (d *Sets) remember(sets []Set, forgets int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.forgets == forgets {
		d.have = append([]Set{}, sets...) // not nil, even if there is none
	}
}

func owned(family proxier.Family, all []Set) []Set {
	ours := []Set{}
	for _, s := range all {
		if Owned(family, s.Name) {
			ours = append(ours, s)
		}
	}
	return ours
}

// A plan is what one pass does to the sets.
type plan struct {
	kernel   Kernel
	rules    iptables.Kernel
	releases []string // inputs of iptables-restore
	patch    Patch
	drift    proxier.DriftFinding

	before, done func()
}

func (p *plan) Empty() bool { return p.patch.Empty() }

// Diff shows the sets that change.
func (p *plan) Diff() string { return p.patch.Unified() }

// String is the input of ipset restore; before it, where rules have to yield
// first, that of iptables-restore.
func (p *plan) String() string {
	return strings.Join(p.releases, "") + Script(p.patch.Ops)
}

// Summary counts entries as rules, and sets that change as chains.
func (p *plan) Summary() proxier.Summary {
	s := proxier.Summary{Bytes: len(p.String())}
	for _, o := range p.patch.Ops {
		switch o.Verb {
		case Add, Delete:
			s.Rules += len(o.Set.Entries)
		case Create:
			s.Chains++
		case Destroy:
			s.Deleted++
		case Swap:
		}
	}
	return s
}

// Findings say whether the patch undoes what somebody else did, where that is known.
func (p *plan) Findings() proxier.Findings { return proxier.Findings{Drift: p.drift} }

// Apply makes the changes. No entry is refused because of its Service: a set
// takes any address.
func (p *plan) Apply(ctx context.Context) ([]proxier.Refusal, error) {
	if p.Empty() {
		return nil, nil
	}
	p.before()
	for _, input := range p.releases {
		if err := p.rules.Restore(ctx, input); err != nil {
			return nil, fmt.Errorf("delete rules that refer to a set of the wrong type: %w", err)
		}
	}
	if err := p.kernel.Do(ctx, p.patch.Ops); err != nil {
		return nil, err
	}
	p.done()
	return nil, nil
}
