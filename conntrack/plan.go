package conntrack

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// A plan deletes flows.
type plan struct {
	dataplane *Dataplane
	family    proxier.Family
	served    *Served
	forgets   int

	flows []Stale
	// more is true where there are more than a plan may have.
	more bool
	// interrupted is why some may be missing.
	interrupted error
}

// complete reports whether the plan has all there is to delete.
func (p *plan) complete() bool { return !p.more && p.interrupted == nil }

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
	if !p.Empty() {
		if err = p.dataplane.kernel.Delete(ctx, p.family, p.flows); err != nil {
			err = fmt.Errorf("deleting tracked connections: %w", err)
		}
	}
	if err = errors.Join(err, p.interrupted); err == nil && p.complete() {
		p.dataplane.settle(p)
	}
	return nil, err
}
