package iptables

import (
	"context"
	"fmt"
	"strings"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// A search finds the Service ports whose rules the kernel refuses. First the line
// the tool complains about is believed. Where it names none, those whose rules the
// kernel would have got are halved until the culprits are alone; what it holds
// already, and serves by, is not touched for that.
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
}

// maxHints bounds how often the tool's word is taken.
const maxHints = 64

// run leaves the culprits in the dataplane's refused. If it cannot come to an
// end, only those that are proven stay there.
func (s *search) run(ctx context.Context) error {
	// A kernel that takes nothing at all has nothing against a Service.
	if err := s.dataplane.kernel.Restore(ctx, "*nat\nCOMMIT\n"); err != nil {
		return fmt.Errorf("%w; not even an empty write is taken: %w", s.cause, err)
	}
	s.proven = map[*proxier.Target]bool{}
	err := s.find(ctx)
	if err == nil {
		return nil
	}
	for _, t := range s.left {
		if !s.proven[t] {
			delete(s.dataplane.refused, t)
		}
	}
	if _, ok := refused(err); ok {
		// One table may have been taken without those that were left out.
		_, _ = s.try(ctx)
	}
	return err
}

func (s *search) find(ctx context.Context) error {
	served, err := s.believe(ctx)
	if err != nil {
		return err
	}
	if !served && len(s.left) == 0 {
		// Somebody else may have been in the way; try has looked at the kernel again.
		if served, err = s.try(ctx); served || err != nil {
			return err
		}
	}
	// What the kernel holds, it may still refuse when it is written again.
	for _, all := range []bool{false, true} {
		if served {
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
		if served, err = s.try(ctx); err != nil {
			return err
		}
	}
	if !served {
		return fmt.Errorf("the rules are refused even without the Services that changed: %w", s.cause)
	}
	// Also those the tool has named: it does not always count lines right.
	return s.acquit(ctx, s.left)
}

// believe leaves out whom the tool names, one after the other; served means
// that the rest was accepted then.
func (s *search) believe(ctx context.Context) (served bool, err error) {
	for range maxHints {
		culprit := s.named()
		if culprit == nil {
			return false, nil
		}
		s.leaveOut(culprit)
		if served, err = s.try(ctx); served || err != nil {
			return served, err
		}
	}
	return false, nil
}

func (s *search) leaveOut(targets ...*proxier.Target) {
	for _, t := range targets {
		s.dataplane.refused[t] = s.cause
	}
	s.left = append(s.left, targets...)
}

// suspects are the ports of which a rule is to be written that the kernel does not
// hold yet; with all, that is to be written. A table that it has taken before it
// refused another is not looked at.
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
// error is of a kernel or tool that cannot work at all; where the rules are
// refused, served is false.
func (s *search) try(ctx context.Context) (served bool, err error) {
	d := s.dataplane
	have, _, err := d.observe(ctx)
	if err != nil {
		return false, err
	}
	s.want = Compile(nil, s.state, d.options())
	d.compiled = s.want
	err = d.apply(ctx, s.want, d.diff(have, s.want))
	if hint, ok := refused(err); ok {
		s.hint, s.cause = hint, err
		return false, nil
	}
	return err == nil, err
}

// acquit adds refused ports back, in halves; those that fail alone stay
// refused.
func (s *search) acquit(ctx context.Context, suspects []*proxier.Target) error {
	if len(suspects) == 0 {
		return nil
	}
	d := s.dataplane
	for _, t := range suspects {
		delete(d.refused, t)
	}
	if served, err := s.try(ctx); served || err != nil {
		return err
	}
	for _, t := range suspects {
		d.refused[t] = s.cause
	}
	if len(suspects) == 1 {
		s.proven[suspects[0]] = true
		cause := s.cause
		served, err := s.try(ctx) // back to what was accepted
		if err == nil && !served {
			err = fmt.Errorf("what was accepted before is refused: %w, after %w", s.cause, cause)
		}
		return err
	}
	half := len(suspects) / 2
	if err := s.acquit(ctx, suspects[:half]); err != nil {
		return err
	}
	return s.acquit(ctx, suspects[half:])
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
