package ipvs

import (
	"slices"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// refusals are operations that the kernel did not like. They are tried again
// when the Service port they are for changes, or when it is its turn.
type refusals map[Op]refusal

type refusal struct {
	target *proxier.Target
	err    error
}

// add notes an Op that was refused; false if it is for no Service port.
func (r refusals) add(o Op, want *Compiled, err error) bool {
	f := want.Frontend(o.Place)
	if f == nil {
		return false
	}
	r[o] = refusal{f.Target, err}
	return true
}

// retryChanged forgets refusals for Service ports that are different now: a
// Target is immutable, so a changed one is another.
func (r refusals) retryChanged(want *Compiled) {
	for o, was := range r {
		if f := want.Frontend(o.Place); f == nil || f.Target != was.target {
			delete(r, o)
		}
	}
}

// retry forgets the refusals for these Service ports.
func (r refusals) retry(targets []*proxier.Target) {
	for o, was := range r {
		if slices.Contains(targets, was.target) {
			delete(r, o)
		}
	}
}

// targets are the Service ports of refusals, in their order.
func targets(refused []proxier.Refusal) []*proxier.Target {
	var all []*proxier.Target
	for _, r := range refused {
		all = append(all, r.Target)
	}
	return all
}

// without are the operations that may be tried: not those that were refused,
// nor those on real servers of virtual servers that could not be made.
func (r refusals) without(ops []Op) []Op {
	if len(r) == 0 {
		return ops
	}
	missing := map[Place]bool{}
	for o := range r {
		if o.Kind == NewService {
			missing[o.Place] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(ops), func(o Op) bool {
		_, refused := r[o]
		return refused || missing[o.Place]
	})
}

// report is one Refusal for each Service port, in the order of the Services.
func (r refusals) report(state *proxier.State) []proxier.Refusal {
	if len(r) == 0 {
		return nil
	}
	byTarget := map[*proxier.Target]Op{}
	for o, was := range r {
		first, known := byTarget[was.target]
		if !known || o.compare(first) < 0 {
			byTarget[was.target] = o
		}
	}
	var out []proxier.Refusal
	for t := range state.Targets {
		if o, ok := byTarget[t]; ok {
			out = append(out, proxier.Refusal{Target: t, Err: r[o].err})
		}
	}
	return out
}
