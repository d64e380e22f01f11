package mode

import (
	"context"
	"slices"
	"strings"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// A removal is several plans, one after the other.
type removal struct {
	leftovers *Leftovers
	plans     []proxier.Plan
	// draining is whether something stays for its connections.
	draining bool
}

// Empty reports whether nothing can be removed now.
func (r *removal) Empty() bool {
	return !slices.ContainsFunc(r.plans, func(p proxier.Plan) bool { return !p.Empty() })
}

// String is what each sends.
func (r *removal) String() string {
	var b strings.Builder
	for _, p := range r.plans {
		b.WriteString(p.String())
	}
	return b.String()
}

// Diff is that of each.
func (r *removal) Diff() string {
	var b strings.Builder
	for _, p := range r.plans {
		b.WriteString(p.Diff())
	}
	return b.String()
}

// Summary is the sum.
func (r *removal) Summary() proxier.Summary {
	s := proxier.Summary{More: !r.Empty()} // to look whether all is gone
	for _, p := range r.plans {
		one := p.Summary()
		s.Chains += one.Chains
		s.Rules += one.Rules
		s.Deleted += one.Deleted
		s.Bytes += one.Bytes
	}
	return s
}

// Findings are the real servers and the sets that stay: those for their connections,
// these because others use them. Leftovers are nobody's interference.
func (r *removal) Findings() proxier.Findings {
	all := proxier.Findings{Drift: proxier.DriftNone, Drains: &proxier.Drains{}}
	for _, p := range r.plans {
		if drains := p.Findings().Drains; drains != nil {
			all.Drains = drains
		}
	}
	if r.leftovers.sets != nil {
		all.Kept = r.leftovers.sets.Kept()
	}
	return all
}

// Apply removes all, up to the first that fails.
func (r *removal) Apply(ctx context.Context) ([]proxier.Refusal, error) {
	for _, p := range r.plans {
		if _, err := p.Apply(ctx); err != nil {
			return nil, err
		}
	}
	if r.draining {
		r.leftovers.lookAgain()
	}
	return nil, nil
}
