package ipset

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// Leftovers is the dataplane that destroys sets with a name of ours that nobody
// wants: of an earlier version, another mode, or of kube-proxy. It comes after
// the one of the rules, when no rule of ours uses them any more. It looks at
// the kernel once, and again after Forget.
type Leftovers struct {
	kernel Kernel
	family proxier.Family
	want   Want
	rules  Rules

	// forgets counts the calls of Forget; clean is the count for which there is
	// nothing to destroy.
	forgets atomic.Int64
	clean   int64
}

// NewLeftovers returns a dataplane that has not looked at the kernel yet. A set
// that a rule of somebody else refers to stays; rules are where that is looked
// up. In a mode without sets want is nil.
func NewLeftovers(kernel Kernel, family proxier.Family, want Want, rules Rules) *Leftovers {
	return &Leftovers{kernel: kernel, family: family, want: want, rules: rules, clean: -1}
}

// Name is "ipset leftovers".
func (*Leftovers) Name() string { return "ipset leftovers" }

// Forget makes the next Plan look at the kernel. It is safe to call from any
// goroutine.
func (d *Leftovers) Forget() { d.forgets.Add(1) }

// Plan looks for sets to destroy.
func (d *Leftovers) Plan(ctx context.Context, state *proxier.State) (proxier.Plan, error) {
	forgets := d.forgets.Load()
	p := &plan{kernel: d.kernel, before: func() {}, done: func() { d.clean = forgets }}
	if d.clean == forgets {
		return p, nil
	}
	sets, err := d.unwanted(ctx, state)
	if err != nil {
		return nil, err
	}
	p.patch = Remove(sets)
	if p.Empty() {
		p.done()
	}
	return p, nil
}

func (d *Leftovers) unwanted(ctx context.Context, state *proxier.State) ([]Set, error) {
	wanted := map[string]bool{}
	if d.want != nil {
		want, err := d.want(ctx, state)
		if err != nil {
			return nil, err
		}
		for _, s := range want {
			wanted[s.Name] = true
		}
	}
	all, err := d.kernel.List(ctx)
	if err != nil {
		return nil, err
	}
	var unwanted []Set
	for _, s := range owned(d.family, all) {
		if !wanted[s.Name] {
			unwanted = append(unwanted, s)
		}
	}
	if len(unwanted) == 0 || d.rules == nil {
		return unwanted, nil
	}
	return d.free(ctx, unwanted)
}

// free are those of the sets that rules of chains that are not ours do not use.
// References are not asked for: before the rules are written, as in a dry run,
// they count our own rules, too.
func (d *Leftovers) free(ctx context.Context, sets []Set) ([]Set, error) {
	used := map[string]bool{}
	for _, table := range tables {
		saved, err := d.rules.Save(ctx, table)
		if err != nil {
			return nil, fmt.Errorf("looking for rules that refer to sets: table %s: %w", table, err)
		}
		for _, name := range foreignUse(saved) {
			used[name] = true
		}
	}
	var free []Set
	for _, s := range sets {
		if !used[s.Name] {
			free = append(free, s)
		}
	}
	return free, nil
}
