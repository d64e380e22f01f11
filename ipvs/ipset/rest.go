package ipset

import (
	"context"
	"slices"
	"sync"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// A Rest is the dataplane that takes out of the sets of Sets what only the end of a
// pass may take: see withRest. It comes when virtual servers and addresses are as
// they should be.
type Rest struct{ sets *Sets }

// Rest is the one of these sets.
func (d *Sets) Rest() Rest { return Rest{d} }

// Name is "ipset rest".
func (Rest) Name() string { return "ipset rest" }

// Forget makes the next Plan look at the kernel. It is safe to call from any
// goroutine.
func (r Rest) Forget() { r.sets.Forget() }

// Plan compares what Sets has left with what the State asks for.
func (r Rest) Plan(ctx context.Context, state *proxier.State) (proxier.Plan, error) {
	d := r.sets
	want, have, forgets, err := d.look(ctx, state)
	if err != nil {
		return nil, err
	}
	first := Diff(d.family, have, withRest(d.family, have, want))
	p := &plan{kernel: d.kernel, patch: Diff(d.family, first.After, want), before: d.write, done: func() {}}
	p.drift = driftIn(p.patch, d.left)
	if first.Empty() { // or else somebody has changed them, and the next pass finds out
		p.done = func() {
			d.remember(p.patch.After, forgets+1)
			d.left = p.patch.After
		}
	}
	if first.Empty() && p.Empty() {
		d.left = have
	}
	return p, nil
}

// driftIn is found where entries go that no pass has left: those that an object does
// not need any more were left there before.
func driftIn(patch Patch, left []Set) proxier.DriftFinding {
	if left == nil {
		return proxier.DriftUnknown
	}
	for _, o := range patch.Ops {
		i := slices.IndexFunc(left, func(s Set) bool { return s.Name == o.Set.Name })
		if o.Verb != Delete || i < 0 {
			return proxier.DriftUnknown
		}
		for _, e := range o.Set.Entries {
			if _, was := slices.BinarySearchFunc(left[i].Entries, e, Entry.Compare); !was {
				return proxier.DriftFound
			}
		}
	}
	return proxier.DriftNone
}

// withRest is what the wanted sets hold until the end of a pass: also what they have
// and should not have, as long as virtual servers and addresses are there that it is
// about. A place that a virtual server serves in another way from now on has to be
// marked until it does so; node ports have to be until it is gone; and the host is
// kept from an address until that is gone. Only from a place that nobody serves any
// more, packets are kept before its virtual server goes, for the host itself would
// answer there.
func withRest(family proxier.Family, have, want []Set) []Set {
	served := sync.OnceValue(func() map[Entry]bool { return servedEntries(family, want) })
	out := slices.Clone(want)
	for i, w := range want {
		at := slices.IndexFunc(have, func(h Set) bool { return h.Name == w.Name })
		if at < 0 || !sameKind(have[at], w) || sameEntries(have[at], w) {
			continue
		}
		_, extra := differences(have[at].Entries, w.Entries)
		if isServed(family, w.Name) {
			extra = slices.DeleteFunc(extra, func(e Entry) bool { return !served()[e] })
		}
		if len(extra) > 0 {
			out[i] = New(w.Name, w.Type, w.Family, slices.Concat(w.Entries, extra))
		}
	}
	return out
}

// servedEntries are the addresses and ports that the host's guard lets through.
func servedEntries(family proxier.Family, want []Set) map[Entry]bool {
	served := map[Entry]bool{}
	for _, w := range want {
		if isServed(family, w.Name) {
			for _, e := range w.Entries {
				served[e] = true
			}
		}
	}
	return served
}

// isServed reports whether a set holds the addresses and ports that the host's guard
// lets through.
func isServed(family proxier.Family, name string) bool {
	return name == Name(family, ClusterIPs) || name == Name(family, ExternalIPs) || name == Name(family, ExternalIPsLocal)
}
