package iptables

import (
	"context"
	"fmt"
	"strings"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// A search finds the Service ports whose rules the kernel refuses. What it has
// accepted before is innocent, so that only new and changed ports are
// suspects. First the line the tool complains about is believed; where it
// names none, the suspects are halved until the culprits are alone.
type search struct {
	dataplane *Dataplane
	state     *proxier.State
	cause     error
	hint      *RestoreError
	// proven are those that fail alone.
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
	suspects := s.suspects()
	err := s.find(ctx, suspects)
	if err != nil {
		for _, t := range suspects {
			if !s.proven[t] {
				delete(s.dataplane.refused, t)
			}
		}
	}
	return err
}

func (s *search) find(ctx context.Context, suspects []*proxier.Target) error {
	named, served, err := s.believe(ctx)
	switch {
	case err != nil:
		return err
	case served:
		// The tool may have been wrong: it does not always count lines right, and
		// what was in the way may have passed meanwhile.
		return s.acquit(ctx, named)
	}
	for _, t := range suspects {
		s.dataplane.refused[t] = s.cause
	}
	if _, err := s.try(ctx); err != nil {
		return fmt.Errorf("the rules are refused even without the Services that changed: %w", s.cause)
	}
	return s.acquit(ctx, suspects)
}

// believe leaves out whom the tool names, one after the other; served means
// that the rest was accepted then.
func (s *search) believe(ctx context.Context) (named []*proxier.Target, served bool, err error) {
	want := s.dataplane.compiled
	for len(named) < maxHints {
		culprit := s.named(want)
		if culprit == nil {
			break
		}
		s.dataplane.refused[culprit] = s.cause
		named = append(named, culprit)
		if want, err = s.try(ctx); err == nil {
			return named, true, nil
		}
		var ok bool
		if s.hint, ok = refused(err); !ok {
			return named, false, err
		}
		s.cause = err
	}
	return named, false, nil
}

// suspects are the ports that the kernel has not accepted as they are now.
func (s *search) suspects() []*proxier.Target {
	accepted := map[*proxier.Target]bool{}
	if s.dataplane.accepted != nil {
		for t := range s.dataplane.accepted.state.Targets {
			accepted[t] = !s.dataplane.accepted.options.Refused[t]
		}
	}
	var suspects []*proxier.Target
	for t := range s.state.Targets {
		if !accepted[t] && s.dataplane.refused[t] == nil {
			suspects = append(suspects, t)
		}
	}
	return suspects
}

// try programs everything but the refused ports.
func (s *search) try(ctx context.Context) (*Compiled, error) {
	d := s.dataplane
	have, _, err := d.observe(ctx)
	if err != nil {
		return nil, err
	}
	want := Compile(nil, s.state, d.options())
	d.compiled = want
	return want, d.apply(ctx, want, d.diff(have, want))
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
	_, err := s.try(ctx)
	if err == nil {
		return nil
	}
	if _, ok := refused(err); !ok {
		return err
	}
	for _, t := range suspects {
		d.refused[t] = err
	}
	if len(suspects) == 1 {
		s.proven[suspects[0]] = true
		_, err := s.try(ctx) // back to what was accepted
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
func (s *search) named(want *Compiled) *proxier.Target {
	rest, ok := strings.CutPrefix(s.hint.Text, "-A ")
	if !ok {
		return nil
	}
	chain, rule, _ := strings.Cut(rest, " ")
	t := want.owner(chain, rule)
	if t == nil || s.dataplane.refused[t] != nil {
		return nil
	}
	return t
}

// owner is the port that a rule of a chain belongs to; nil when it belongs to
// none alone.
func (c *Compiled) owner(chain, rule string) *proxier.Target {
	for _, s := range c.services {
		for _, t := range s.targets {
			for _, own := range t.chains {
				if own.Name == chain {
					return t.target
				}
			}
		}
	}
	for _, tree := range []*frontendTree{&c.nat.addresses, &c.nat.nodePorts, &c.filter.addresses, &c.filter.nodePorts} {
		for _, e := range tree.all {
			for _, own := range e.rules {
				if own == rule {
					return e.frontend.Target
				}
			}
		}
	}
	return nil
}
