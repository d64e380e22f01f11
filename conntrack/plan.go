package conntrack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// A plan deletes flows.
type plan struct {
	dataplane *Dataplane
	state     *proxier.State
	served    *Served

	flows []Stale
	// more is true where there are more than a plan may have.
	more bool
	// interrupted is why some may be missing.
	interrupted error
}

// complete reports whether the plan has all there is to delete.
func (p *plan) complete() bool { return !p.more && p.interrupted == nil }

// Findings say whether the table was read.
func (p *plan) Findings() proxier.Findings {
	return proxier.Findings{Remembered: p.dataplane == nil}
}

// Empty reports whether nothing has to be deleted.
func (p *plan) Empty() bool { return len(p.flows) == 0 }

// String is a command for each flow that does what Apply does by netlink.
func (p *plan) String() string {
	var b strings.Builder
	for i := range p.flows {
		b.WriteString(p.flows[i].command())
	}
	return b.String()
}

// Diff is a line for each flow that goes.
func (p *plan) Diff() string {
	if p.Empty() {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "--- kernel conntrack\n+++ wanted conntrack\n@@ -1,%d +0,0 @@\n", len(p.flows))
	for i := range p.flows {
		fmt.Fprintf(&b, "-%s # %s\n", p.flows[i].Flow.String(), p.flows[i].Fault)
	}
	return b.String()
}

// Summary counts the flows.
func (p *plan) Summary() proxier.Summary {
	return proxier.Summary{Flows: len(p.flows), More: p.more}
}

// Apply deletes the flows. It refuses no Service.
func (p *plan) Apply(ctx context.Context) ([]proxier.Refusal, error) {
	if p.dataplane == nil {
		return nil, nil
	}
	var err error
	flows := p.stillStale()
	if len(flows) > 0 {
		if err = p.dataplane.kernel.Delete(ctx, p.state.Family, flows); err != nil {
			err = fmt.Errorf("deleting tracked connections: %w", err)
		}
	}
	if err = errors.Join(err, p.interrupted); err == nil && p.complete() && len(flows) == len(p.flows) {
		p.dataplane.settle(p)
	}
	return nil, err
}

// stillStale are the flows without those that are right for the State that is being
// put into force: its rules may have made them while the table was read. What
// else that State makes stale is found when it is in force.
func (p *plan) stillStale() []Stale {
	coming := p.dataplane.coming.Load()
	if coming == nil || coming == p.state || p.Empty() {
		return p.flows
	}
	served := NewServed(p.served, coming)
	return slices.DeleteFunc(slices.Clone(p.flows), func(f Stale) bool {
		return p.dataplane.fault(served, &f.Flow) == None
	})
}
