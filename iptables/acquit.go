package iptables

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// maxVain is how many tries in a row may acquit nobody. After that those who are left
// are taken for guilty, and tried again like all others that are refused.
const maxVain = 64

// acquit tries groups of refused ports again. One that is accepted is acquitted; of one
// that is refused each half is tried after all other groups, and a port that fails alone
// is proven. Groups that an earlier search has left come last; what this one leaves when
// it has taken its time goes on in the next pass.
func (s *search) acquit(ctx context.Context, groups [][]*proxier.Target) error {
	d := s.dataplane
	for group := d.nextSuspects(); group != nil; group = d.nextSuspects() {
		groups = append(groups, group)
		s.left = append(s.left, group...)
	}
	for len(groups) > 0 && d.vain < maxVain && !s.spent() {
		group := groups[0]
		groups = groups[1:]
		for _, t := range group {
			delete(d.refused, t)
		}
		if err := s.try(ctx); err != nil {
			return err
		}
		if s.served {
			d.vain = 0
			continue
		}
		d.vain++
		d.refuse(group, s.cause)
		if len(group) == 1 {
			s.proven[group[0]] = true
			continue
		}
		half := len(group) / 2
		groups = append(groups, group[:half], group[half:])
	}
	if !s.served { // back to what was accepted
		cause := s.cause
		if err := s.try(ctx); err != nil {
			return err
		}
		if !s.served {
			return fmt.Errorf("what was accepted before is refused: %w, after %w", s.cause, cause)
		}
	}
	if d.vain >= maxVain {
		groups = nil
	}
	d.suspect(groups)
	return nil
}

// suspect remembers the groups that the next pass tries, and asks for it.
func (d *Dataplane) suspect(groups [][]*proxier.Target) {
	d.suspected = groups
	if len(groups) == 0 {
		d.vain = 0
		return
	}
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Wake implements proxier.Waker: it receives while there are Service ports that are
// refused and may be innocent.
func (d *Dataplane) Wake() <-chan struct{} { return d.wake }

// nextSuspects takes the group that is to be tried in this pass; what has changed or
// gone is not in it any more.
func (d *Dataplane) nextSuspects() []*proxier.Target {
	for len(d.suspected) > 0 {
		group := slices.DeleteFunc(slices.Clone(d.suspected[0]), func(t *proxier.Target) bool { return d.refused[t] == nil })
		d.suspected = d.suspected[1:]
		if len(group) > 0 {
			return group
		}
	}
	return nil
}

// goOn tries the groups that an earlier search has left, after the first of them was
// accepted with the plan.
func (s *search) goOn(ctx context.Context, accepted *Compiled) error {
	s.want, s.served, s.dataplane.vain = accepted, true, 0
	return s.orPardon(ctx, func(ctx context.Context) error { return s.acquit(ctx, nil) })
}

// byKind groups ports by what their rules use of the kernel, large groups first: what it
// lacks makes all of a kind culprits, and nobody else.
func (c *Compiled) byKind(targets []*proxier.Target) [][]*proxier.Target {
	words := c.words()
	groups := map[string][]*proxier.Target{}
	for _, t := range targets {
		kind := strings.Join(slices.Sorted(maps.Keys(words[t])), " ")
		groups[kind] = append(groups[kind], t)
	}
	kinds := slices.SortedFunc(maps.Keys(groups), func(a, b string) int {
		return cmp.Or(len(groups[b])-len(groups[a]), strings.Compare(a, b))
	})
	ordered := make([][]*proxier.Target, 0, len(kinds))
	for _, kind := range kinds {
		ordered = append(ordered, groups[kind])
	}
	return ordered
}

// words are, for each port, the protocols, matches and targets of its rules.
func (c *Compiled) words() map[*proxier.Target]map[string]bool {
	words := map[*proxier.Target]map[string]bool{}
	add := func(t *proxier.Target, rules []string) {
		if words[t] == nil {
			words[t] = map[string]bool{}
		}
		for _, rule := range rules {
			addWords(words[t], rule)
		}
	}
	for _, s := range c.services {
		for _, t := range s.targets {
			for chain := range t.all {
				add(t.target, chain.Rules)
			}
		}
	}
	for _, tree := range c.frontendTrees() {
		for _, e := range tree.all {
			add(e.frontend.Target, e.rules)
		}
	}
	return words
}

// addWords leaves out our own chains, and with the comment what is the port's alone.
func addWords(words map[string]bool, rule string) {
	fields, _ := AppendWords(nil, rule) // we have made it
	for i, flag := range fields[:max(0, len(fields)-1)] {
		value := fields[i+1]
		if (flag == "-p" || flag == "-m" || flag == "-j") && !strings.HasPrefix(value, "KUBE-") {
			words[flag+" "+value] = true
		}
	}
}
