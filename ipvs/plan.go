package ipvs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// maxRounds bounds how often one Apply lists the virtual servers anew because
// somebody else writes at the same time.
const maxRounds = 3

// A plan is what one pass does to the virtual servers.
type plan struct {
	dataplane *Dataplane
	want      *Compiled
	addresses Addresses
	have      []*VirtualServer
	patch     *Patch
	retried   []*proxier.Target
	// drains are those of the patch that was applied.
	drains proxier.Drains
}

func (p *plan) Empty() bool    { return len(p.patch.Ops) == 0 }
func (p *plan) Diff() string   { return p.patch.Unified() }
func (p *plan) String() string { return OpsText(p.patch.Ops) }

// Findings are the problems that Services have on this node, and what drains.
func (p *plan) Findings() proxier.Findings {
	return proxier.Findings{Drift: p.drift(), Problems: p.want.Problems, Drains: &p.drains}
}

// drift is none where all there is to do is to end drains and to try again what was
// refused.
func (p *plan) drift() proxier.DriftFinding {
	ours := p.patch.Drained
	for _, o := range p.patch.Ops {
		if f := p.want.Frontend(o.Place); f != nil && slices.Contains(p.retried, f.Target) {
			ours++
		}
	}
	if len(p.patch.Ops) > ours {
		return proxier.DriftUnknown
	}
	return proxier.DriftNone
}

// Left are the virtual servers of ours that are there after Apply.
func (p *plan) Left() []*VirtualServer { return After(p.have, p.patch.Ops) }

// Summary counts virtual servers as chains and real servers as rules.
func (p *plan) Summary() proxier.Summary {
	s := proxier.Summary{Bytes: len(p.String())}
	for _, o := range p.patch.Ops {
		switch o.Kind {
		case NewService, UpdateService:
			s.Chains++
		case NewServer, UpdateServer:
			s.Rules++
		case DeleteService, DeleteServer:
			s.Deleted++
		}
	}
	return s
}

// Apply does the operations. What the kernel refuses is left out; where it
// turns out to hold something else than was believed, it is listed and compared
// anew.
func (p *plan) Apply(ctx context.Context) ([]proxier.Refusal, error) {
	d := p.dataplane
	have, patch := p.have, p.patch
	for round := 1; ; round++ {
		err := d.do(ctx, have, p.want, patch)
		if err == nil {
			break
		}
		if e, ok := errors.AsType[*OpError](err); !ok || !e.Drift() || round == maxRounds {
			return nil, err
		}
		var idle map[RealPlace]bool
		if have, idle, err = d.observe(ctx, p.want, p.addresses); err != nil {
			return nil, err
		}
		patch = d.diff(have, p.want, idle)
	}
	d.putInForce(p.want)
	p.drains = patch.Drains
	refused := d.refused.report(p.want.state)
	d.retries.Done(d.config.Now(), targets(refused))
	return refused, nil
}

// do does a patch except for what the kernel refuses. After an error the kernel
// has to be looked at again.
func (d *Dataplane) do(ctx context.Context, have []*VirtualServer, want *Compiled, patch *Patch) error {
	d.mu.Lock()
	forgets := d.forgets
	d.have = nil // until all is done, nobody knows
	d.made = After(have, newServices(patch.Ops))
	d.mu.Unlock()
	ops := patch.Ops
	for len(ops) > 0 {
		n, err := d.kernel.Do(ctx, ops)
		if err == nil {
			break
		}
		e, ok := errors.AsType[*OpError](err)
		if !ok || !e.Refused() || !d.refused.add(ops[n], want, err) {
			return fmt.Errorf("%d of %d operations done: %w", len(patch.Ops)-len(ops)+n, len(patch.Ops), err)
		}
		refused := ops[n]
		ops = ops[n+1:]
		for refused.Kind == NewService && len(ops) > 0 && ops[0].Place == refused.Place {
			ops = ops[1:] // its real servers
		}
	}
	d.remember(After(have, d.refused.without(patch.Ops)), want, forgets)
	d.watchDrain(patch.Draining)
	return nil
}

func newServices(ops []Op) []Op {
	return slices.DeleteFunc(slices.Clone(ops), func(o Op) bool { return o.Kind != NewService })
}

// placesOf are the virtual servers of real servers, sorted, each once.
func placesOf(draining map[RealPlace]time.Time) []Place {
	places := map[Place]bool{}
	for p := range draining {
		places[p.Place] = true
	}
	return slices.SortedFunc(maps.Keys(places), Place.Compare)
}
