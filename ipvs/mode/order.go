package mode

import (
	"context"
	"slices"
	"strings"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A rulesOrder decides at which of two places in a pass the rules of IPVS mode
// are synced. They come before the virtual servers, so that these are never
// reached by unmarked traffic; but where the rules of iptables mode serve, those
// carry all traffic past the virtual servers, and go last, when everything else
// is in place.
type rulesOrder struct {
	*iptables.Dataplane

	observe func(context.Context) (iptables.Observation, error)
	known   bool
	last    bool
}

// decide looks at the kernel in the first pass.
func (o *rulesOrder) decide(ctx context.Context) error {
	if o.known {
		return nil
	}
	have, err := o.observe(ctx)
	if err != nil {
		return err
	}
	o.known, o.last = true, servesByRules(have.Own)
	return nil
}

// servesByRules reports whether the rules are those of iptables mode, ours or
// kube-proxy's. Those of IPVS mode always look into sets.
func servesByRules(rules iptables.Ruleset) bool {
	services := rules.Table(iptables.NAT).Chain("KUBE-SERVICES")
	return services != nil && len(services.Rules) > 0 &&
		!slices.ContainsFunc(services.Rules, func(rule string) bool { return strings.Contains(rule, "--match-set ") })
}

// A rulesTurn is one of the two places; at the other one nothing is to be done.
type rulesTurn struct {
	*rulesOrder

	last bool
}

// Plan is the rules' plan, if it is their turn.
func (t *rulesTurn) Plan(ctx context.Context, state *proxier.State) (proxier.Plan, error) {
	if err := t.decide(ctx); err != nil {
		return nil, err
	}
	if t.last != t.rulesOrder.last {
		return OtherTurn{}, nil
	}
	plan, err := t.Dataplane.Plan(ctx, state)
	if err != nil || !t.last {
		return plan, err
	}
	return lastTurn{plan, t.rulesOrder}, nil
}

// lastTurn is a plan that replaces the rules of iptables mode.
type lastTurn struct {
	proxier.Plan

	order *rulesOrder
}

// Apply replaces the rules; from the next pass on they come first.
func (p lastTurn) Apply(ctx context.Context) ([]proxier.Refusal, error) {
	refused, err := p.Plan.Apply(ctx)
	if err == nil {
		p.order.last = false
	}
	return refused, err
}

// OtherTurn is the plan at the place where it is not the rules' turn.
type OtherTurn struct{ nothing }

// nothing is a plan of no changes.
type nothing struct{}

func (nothing) Empty() bool                                      { return true }
func (nothing) String() string                                   { return "" }
func (nothing) Diff() string                                     { return "" }
func (nothing) Summary() proxier.Summary                         { return proxier.Summary{} }
func (nothing) Apply(context.Context) ([]proxier.Refusal, error) { return nil, nil }
func (nothing) Findings() proxier.Findings                       { return proxier.Findings{} }
