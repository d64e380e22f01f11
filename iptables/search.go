package iptables

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// A search finds the Service ports whose rules the kernel refuses. First those are
// suspected that it has refused before and that have changed; then the line the tool
// complains about is believed. Where it names none, those whose rules the kernel would
// have got are left out; what it holds already, and serves by, is not touched for that.
// Whoever was left out is then acquitted or not (acquit.go).
type search struct {
	dataplane *Dataplane
	state     *proxier.State
	// want is what was tried last, and cause and hint how it was refused.
	want  *Compiled
	cause error
	hint  *RestoreError
	// left are the ports that were left out on the way, and proven those of them
	// that fail alone.
	left   []*proxier.Target
	proven map[*proxier.Target]bool
	// rules are those of all ports, none left out.
	rules *Compiled

	begun time.Time
	tries int
	// served is whether the last try was accepted.
	served bool
}

// What a search may cost one pass. While it lasts no change of an object is
// programmed, and a pass that takes a minute is taken for one that hangs (/livez). A
// try at 10,000 Services takes seconds: both tables are read and compiled. The one
// culprit among 10,000 is found in 2 tries for each bit.
const (
	maxTries  = 48
	maxSearch = 20 * time.Second
)

// maxHints bounds how often the tool's word is taken. With many culprits each one named
// costs a try, and groups of them do not.
const maxHints = 4

func (d *Dataplane) newSearch(state *proxier.State) *search {
	return &search{dataplane: d, state: state, proven: map[*proxier.Target]bool{}, begun: d.config.Now()}
}

// spent reports whether the rest has to be left to the next passes.
func (s *search) spent() bool {
	return s.tries >= maxTries || s.dataplane.config.Now().Sub(s.begun) >= maxSearch
}

// run leaves the culprits in the dataplane's refused, after a refusal of all that is
// wanted. If it cannot come to an end, only those that are proven stay there.
func (s *search) run(ctx context.Context, want *Compiled, cause error, hint *RestoreError) error {
	s.want, s.rules, s.cause, s.hint = want, want, cause, hint
	// A kernel that takes nothing at all has nothing against a Service.
	if err := s.dataplane.kernel.Restore(ctx, "*nat\nCOMMIT\n"); err != nil {
		return fmt.Errorf("%w; not even an empty write is taken: %w", s.cause, err)
	}
	return s.orPardon(ctx, s.find)
}

// orPardon pardons those that are not proven where the search cannot go on.
func (s *search) orPardon(ctx context.Context, search func(context.Context) error) error {
	err := search(ctx)
	if err == nil {
		return nil
	}
	for _, t := range s.left {
		if !s.proven[t] {
			delete(s.dataplane.refused, t)
		}
	}
	s.dataplane.suspected = nil
	if _, ok := asRefusal(err); ok {
		// One table may have been taken without those that were left out.
		_ = s.try(ctx)
	}
	return err
}

func (s *search) find(ctx context.Context) error {
	if known := s.dataplane.refusedBefore(s.state); len(known) > 0 {
		s.leaveOut(known...)
		if err := s.try(ctx); err != nil {
			return err
		}
		if s.served && len(known) == 1 {
			return nil // refused with it, and served without, not for the first time
		}
	}
	if err := s.believe(ctx); err != nil {
		return err
	}
	if !s.served && len(s.left) == 0 {
		// Somebody else may have been in the way; try has looked at the kernel again.
		if err := s.try(ctx); s.served || err != nil {
			return err
		}
	}
	// What the kernel holds, it may still refuse when it is written again.
	for _, all := range []bool{false, true} {
		if s.served {
			break
		}
		suspects, err := s.suspects(ctx, all)
		if err != nil {
			return err
		}
		if len(suspects) == 0 {
			continue
		}
		s.leaveOut(suspects...)
		if err := s.try(ctx); err != nil {
			return err
		}
	}
	if !s.served {
		return fmt.Errorf("the rules are refused even without the Services that changed: %w", s.cause)
	}
	// Also those the tool has named: it does not always count lines right.
	return s.acquit(ctx, s.rules.byKind(s.left))
}

// believe leaves out whom the tool names, one after the other, until the rest is
// accepted.
func (s *search) believe(ctx context.Context) error {
	for range maxHints {
		culprit := s.named()
		if s.served || culprit == nil {
			return nil
		}
		s.leaveOut(culprit)
		if err := s.try(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *search) leaveOut(targets ...*proxier.Target) {
	s.dataplane.refuse(targets, s.cause)
	s.left = append(s.left, targets...)
}

// refuse leaves ports out. Of several that were refused together some may be innocent.
func (d *Dataplane) refuse(targets []*proxier.Target, cause error) {
	if others := len(targets) - 1; others > 0 {
		cause = fmt.Errorf("refused together with %d other Service ports, and not tried alone yet: %w", others, cause)
	}
	for _, t := range targets {
		d.refused[t] = cause
	}
}

// suspects are the ports with a rule to write that the kernel does not hold yet; with
// all, with any rule to write. A table that it has taken before it refused another is
// not looked at.
func (s *search) suspects(ctx context.Context, all bool) ([]*proxier.Target, error) {
	have, _, err := s.dataplane.observe(ctx)
	if err != nil {
		return nil, err
	}
	owners := s.want.owners()
	suspected := map[*proxier.Target]bool{}
	tables := s.dataplane.diff(have, s.want).tables
	for i := range tables {
		table := &tables[i]
		var held map[string]bool
		if !all {
			held = table.held()
		}
		for _, chain := range table.write {
			suspected[owners.chains[chain.Name]] = true
			for _, rule := range chain.Rules {
				if !held[rule] {
					suspected[owners.rules[rule]] = true
				}
			}
		}
	}
	var suspects []*proxier.Target
	for t := range s.state.Targets {
		if suspected[t] && s.dataplane.refused[t] == nil {
			suspects = append(suspects, t)
		}
	}
	return suspects, nil
}

// held are the rules of the chains that the patch writes or removes, as they are.
func (t *tablePatch) held() map[string]bool {
	held := map[string]bool{}
	for _, chains := range [][]*Chain{t.have, t.remove} {
		for _, c := range chains {
			if c == nil {
				continue
			}
			for _, rule := range c.Rules {
				held[rule] = true
			}
		}
	}
	return held
}

// try looks at the kernel and programs everything but the refused ports. The
// error is of a kernel or tool that cannot work at all.
func (s *search) try(ctx context.Context) error {
	d := s.dataplane
	s.tries++
	s.served = false
	have, _, err := d.observe(ctx)
	if err != nil {
		return err
	}
	s.want = Compile(nil, s.state, d.options())
	d.compiled = s.want
	err = d.apply(ctx, s.want, d.diff(have, s.want))
	if hint, ok := asRefusal(err); ok {
		s.hint, s.cause = hint, err
		return nil
	}
	s.served = err == nil
	return err
}

// named is the port whose rule the tool complains about; nil when it named no
// line, or one that is nobody's.
func (s *search) named() *proxier.Target {
	rest, ok := strings.CutPrefix(s.hint.Text, "-A ")
	if !ok {
		return nil
	}
	chain, rule, _ := strings.Cut(rest, " ")
	owners := s.want.owners()
	t := owners.chains[chain]
	if t == nil {
		t = owners.rules[rule]
	}
	if t == nil || s.dataplane.refused[t] != nil {
		return nil
	}
	return t
}

// owners tells which port a chain belongs to, and a rule in a chain of several.
type owners struct {
	chains, rules map[string]*proxier.Target
}

func (c *Compiled) owners() owners {
	o := owners{map[string]*proxier.Target{}, map[string]*proxier.Target{}}
	for _, s := range c.services {
		for _, t := range s.targets {
			for chain := range t.all {
				o.chains[chain.Name] = t.target
			}
		}
	}
	for _, tree := range c.frontendTrees() {
		for _, e := range tree.all {
			for _, rule := range e.rules {
				o.rules[rule] = e.frontend.Target
			}
		}
	}
	return o
}
