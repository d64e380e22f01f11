package ipset

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// Leftovers is the dataplane that destroys sets with a name of ours that nobody
// wants: of an earlier version, another mode, or of kube-proxy. It comes after
// the one of the rules, when no rule of ours uses them any more. It looks at
// the kernel once, and again after Forget. A set that others use stays, and
// holds up nobody.
type Leftovers struct {
	kernel Kernel
	family proxier.Family
	want   Want
	tables Tables

	// forgets counts the calls of Forget; clean is the count for which there is
	// nothing to destroy.
	forgets atomic.Int64
	clean   int64
	// busy are sets, by name, that the kernel would not destroy.
	busy map[string]bool
	// kept says which are left, for others use them.
	kept []string
}

// NewLeftovers returns a dataplane that has not looked at the kernel yet. tables
// are where rules of others that refer to a set are looked for. In a mode
// without sets want is nil.
func NewLeftovers(kernel Kernel, family proxier.Family, want Want, tables Tables) *Leftovers {
	return &Leftovers{kernel: kernel, family: family, want: want, tables: tables, clean: -1, busy: map[string]bool{}}
}

// Name is "ipset leftovers".
func (*Leftovers) Name() string { return "ipset leftovers" }

// Forget makes the next Plan look at the kernel. It is safe to call from any
// goroutine.
func (d *Leftovers) Forget() { d.forgets.Add(1) }

// Kept are the sets that the last Plan left because others use them, with who does.
func (d *Leftovers) Kept() []string { return d.kept }

// Plan looks for sets to destroy.
func (d *Leftovers) Plan(ctx context.Context, state *proxier.State) (proxier.Plan, error) {
	p := &destruction{leftovers: d, forgets: d.forgets.Load()}
	p.kernel = d.kernel
	if d.clean == p.forgets {
		return p, nil
	}
	sets, err := d.unwanted(ctx, state)
	if err != nil {
		return nil, err
	}
	var rules map[string]string
	if len(sets) > 0 {
		rules, p.unread = d.rulesOfOthers(ctx)
	}
	p.patch = Remove(d.free(sets, rules, p.unread))
	if p.Empty() {
		d.clean = p.forgets
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
	return slices.DeleteFunc(owned(d.family, all), func(s Set) bool { return wanted[s.Name] }), nil
}

// free are those of the sets that nobody else is known to use, by the rules of
// others; the rest is kept. References alone do not tell: before our rules are
// written, as in a dry run, they count these, too. So the kernel is asked to
// destroy what no rule was found for, and what it would not destroy is left until
// it has no references any more.
func (d *Leftovers) free(sets []Set, rules map[string]string, unread error) []Set {
	var free []Set
	busy := map[string]bool{}
	d.kept = nil
	for _, s := range sets {
		switch rule, found := rules[s.Name]; {
		case found:
			d.kept = append(d.kept, fmt.Sprintf("set %s: a rule that is not ours refers to it: %.300s", s.Name, rule))
		case d.busy[s.Name] && s.References > 0:
			busy[s.Name] = true
			d.kept = append(d.kept, keptBusy(s, unread))
		default:
			free = append(free, s)
		}
	}
	d.busy = busy
	return free
}

// keptBusy says what is known of a set that the kernel would not destroy.
func keptBusy(s Set, unread error) string {
	text := "set " + s.Name + ": something refers to it that was not found, such as a rule of the other variant of iptables, or another set"
	if unread != nil {
		text += fmt.Sprintf("; not everything could be looked at: %.500v", unread)
	}
	return text
}

// rulesOfOthers has one rule for each set that such rules use. The error says
// what could not be looked at.
func (d *Leftovers) rulesOfOthers(ctx context.Context) (map[string]string, error) {
	found := map[string]string{}
	if d.tables == nil {
		return found, nil
	}
	var unread []error
	for _, table := range allTables {
		unread = append(unread, foreignUse(ctx, d.tables, table, found))
	}
	return found, errors.Join(unread...)
}

// A destruction is the plan to destroy sets.
type destruction struct {
	plan

	leftovers *Leftovers
	forgets   int64
	// unread says where rules of others could not be looked for.
	unread error
}

// Findings are the sets that are left.
func (p *destruction) Findings() proxier.Findings {
	return proxier.Findings{Kept: p.leftovers.kept}
}

// Apply destroys the sets, but those that something else turns out to use.
func (p *destruction) Apply(ctx context.Context) ([]proxier.Refusal, error) {
	if p.Empty() {
		return nil, nil
	}
	busy, err := p.destroy(ctx)
	if err != nil {
		return nil, err
	}
	d := p.leftovers
	for _, s := range busy {
		d.busy[s.Name] = true
		d.kept = append(d.kept, keptBusy(s, p.unread))
	}
	d.clean = p.forgets
	return nil, nil
}

// destroy returns the sets that something refers to, which are left. The Kernel
// has waited for rules that were just deleted: what refers to a set then, does
// so for good.
func (p *destruction) destroy(ctx context.Context) (busy []Set, err error) {
	if err = p.kernel.Do(ctx, p.patch.Ops); !errors.Is(err, ErrReferenced) {
		return nil, err
	}
	all, err := p.kernel.List(ctx)
	if err != nil {
		return nil, err
	}
	var free []Set
	for _, s := range all {
		switch _, planned := p.patch.Have[s.Name]; {
		case planned && s.References > 0:
			busy = append(busy, s)
		case planned:
			free = append(free, s)
		}
	}
	return busy, p.kernel.Do(ctx, Remove(free).Ops)
}
