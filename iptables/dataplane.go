package iptables

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// Config is how a Dataplane works.
type Config struct {
	Options
	// MaxNames bounds the chain names of one iptables-restore call; 0 for no
	// bound. See docs/design.md for why iptables-nft wants one.
	MaxNames int
	// Now is the clock; nil for the real one.
	Now func() time.Time
}

// A Dataplane brings the nat and filter tables of one family into the shape a
// State asks for. It is used by one goroutine, except Forget, Doubt and InForce.
type Dataplane struct {
	kernel Kernel
	config Config

	mu sync.Mutex
	// have is what the kernel is believed to hold; nil when nobody knows.
	have *Observation
	// doubt is what of it has to be looked at.
	doubt Doubt
	// inForce is what the last pass that did not fail has left in the kernel.
	inForce *Compiled

	compiled *Compiled // of the last Plan, to share with the next
	accepted *Compiled // the last one applied without fault
	refused  map[*proxier.Target]error
	retries  proxier.Retries
	// changed are the names of the ports that were refused when they last were
	// something else.
	changed map[proxier.ServicePortName]bool
	// suspected are groups of refused ports that were not tried alone yet, and vain
	// how many tries in a row have acquitted nobody.
	suspected [][]*proxier.Target
	vain      int
	wake      chan struct{}
}

// NewDataplane returns a Dataplane that has not looked at the kernel yet.
func NewDataplane(kernel Kernel, config Config) *Dataplane {
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Dataplane{kernel: kernel, config: config, refused: map[*proxier.Target]error{}, wake: make(chan struct{}, 1)}
}

// SetDropInvalid is for a kernel that was told otherwise since it was probed. It
// comes before the first Plan.
func (d *Dataplane) SetDropInvalid(drop bool) { d.config.DropInvalid = drop }

// Name is "iptables".
func (d *Dataplane) Name() string { return "iptables" }

// Forget makes the next Plan look at the kernel, because somebody else may have
// changed it. It is safe to call from any goroutine.
func (d *Dataplane) Forget() { d.Doubt(Doubt{All: true}) }

// Doubt makes the next Plan look at a part of the kernel. It is safe to call
// from any goroutine.
func (d *Dataplane) Doubt(what Doubt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.doubt.Add(what)
}

// Plan compares the kernel with what the State asks for.
func (d *Dataplane) Plan(ctx context.Context, state *proxier.State) (proxier.Plan, error) {
	d.retryChanged(state)
	trying := d.nextSuspects()
	if trying == nil {
		trying = d.retries.Take(d.config.Now(), d.refusedOf(state))
	}
	for _, t := range trying {
		delete(d.refused, t)
	}
	have, drift, err := d.observe(ctx)
	if err != nil {
		return nil, err
	}
	want := Compile(d.compiled, state, d.options())
	d.compiled = want
	patch := d.diff(have, want)
	if len(patch.Calls) == 0 {
		have.Own = shared(have.Own, want.Ruleset)
		d.remember(have)
	}
	return &plan{dataplane: d, state: state, want: want, patch: patch, drift: drift}, nil
}

// options are the configured ones without the Service ports that were refused.
func (d *Dataplane) options() Options {
	o := d.config.Options
	o.Refused = make(map[*proxier.Target]bool, len(d.refused))
	for t := range d.refused {
		o.Refused[t] = true
	}
	return o
}

// retryChanged forgets the refusal of Service ports that are different now: a
// Target is immutable, so a changed one is another.
func (d *Dataplane) retryChanged(state *proxier.State) {
	d.changed = nil
	if len(d.refused) == 0 {
		return
	}
	still := map[*proxier.Target]error{}
	for t := range state.Targets {
		if err, ok := d.refused[t]; ok {
			still[t] = err
		}
	}
	d.changed = map[proxier.ServicePortName]bool{}
	for t := range d.refused {
		d.changed[t.Name] = still[t] == nil
	}
	d.refused = still
}

// refusedBefore are the ports that are tried since they have changed.
func (d *Dataplane) refusedBefore(state *proxier.State) []*proxier.Target {
	var before []*proxier.Target
	for t := range state.Targets {
		if d.changed[t.Name] && d.refused[t] == nil {
			before = append(before, t)
		}
	}
	return before
}

// refusedOf are the Service ports that are refused, in the order of the State.
func (d *Dataplane) refusedOf(state *proxier.State) []*proxier.Target {
	if len(d.refused) == 0 {
		return nil
	}
	var refused []*proxier.Target
	for t := range state.Targets {
		if d.refused[t] != nil {
			refused = append(refused, t)
		}
	}
	return refused
}

// observe returns what the kernel holds, from memory where that is good, and
// whether it was as believed.
func (d *Dataplane) observe(ctx context.Context) (now Observation, drift proxier.DriftFinding, err error) {
	d.mu.Lock()
	believed, doubt := d.have, d.doubt
	d.have, d.doubt = nil, Doubt{} // what is doubted from now on is for the next Plan
	d.mu.Unlock()
	switch {
	case believed != nil && doubt.Empty():
		now = *believed
	case believed != nil && !doubt.All:
		if now, err = readDoubted(ctx, d.kernel, *believed, doubt); err == nil {
			break
		}
		fallthrough // the rules changed again while they were read
	default:
		var kernel Ruleset
		if kernel, err = readTables(ctx, d.kernel, []string{NAT, Filter}); err != nil {
			return Observation{}, proxier.DriftUnknown, err
		}
		now = Observe(kernel)
	}
	if believed != nil && !doubt.Empty() {
		drift = proxier.DriftNone
		if !sameRules(believed.Own, now.Own) {
			drift = proxier.DriftFound
		}
	}
	d.remember(now)
	return now, drift, nil
}

// readTables reads tables.
func readTables(ctx context.Context, k Kernel, tables []string) (Ruleset, error) {
	var rs Ruleset
	for _, table := range tables {
		text, err := k.Save(ctx, table)
		if err != nil {
			return Ruleset{}, fmt.Errorf("reading table %s: %w", table, err)
		}
		saved, err := ParseSave(text)
		if err != nil {
			return Ruleset{}, fmt.Errorf("reading table %s: %w", table, err)
		}
		rs.Tables = append(rs.Tables, saved.Table(table))
	}
	return rs, nil
}

// remember takes o for what the kernel holds.
func (d *Dataplane) remember(o Observation) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.have = &o
}

// believed is what the kernel is taken to hold; nil during a pass, and when nobody
// knows. It is safe to call from any goroutine.
func (d *Dataplane) believed() *Observation {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.have
}

// shared is have with the chains of want, where both are the same and a Diff has
// found no difference: what was read from the kernel is a second copy of all rules,
// and would be compared word by word again. Nothing of it is kept, for a part of a text
// keeps all of it.
func shared(have, want Ruleset) Ruleset {
	var out Ruleset
	for _, table := range have.Tables {
		wanted := want.Table(table.Name).Chains
		if !slices.Equal(table.Chains, wanted) {
			table.Chains = slices.Clone(table.Chains)
			for i, chain := range table.Chains {
				for len(wanted) > 0 && wanted[0].Name < chain.Name {
					wanted = wanted[1:]
				}
				if len(wanted) > 0 && wanted[0].Name == chain.Name {
					table.Chains[i] = wanted[0]
				} else { // empty: others jump there, so that we cannot delete it
					table.Chains[i] = &Chain{Name: strings.Clone(chain.Name)}
				}
			}
		}
		out.Tables = append(out.Tables, table)
	}
	return out
}

// InForce is what the last pass that did not fail has left in the kernel; nil
// before that. It is safe to call from any goroutine.
func (d *Dataplane) InForce() *Compiled {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inForce
}

// putInForce takes note of what a plan that was applied has left in the kernel, which
// is less than was wanted where something was refused.
func (d *Dataplane) putInForce() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inForce = d.accepted
}

// diff is the way from have to want. Where nothing is served yet and the way is
// long, the Services the cluster itself needs come first.
func (d *Dataplane) diff(have Observation, want *Compiled) *Patch {
	patch := Diff(have, want.Ruleset, d.config.MaxNames)
	if len(patch.Calls) < 2 || have.Own.Table(NAT).Chain(chainServices) != nil {
		return patch
	}
	essential := Compile(nil, want.state.Essentials(), d.options()).Ruleset
	for i, table := range essential.Tables {
		// Somebody has emptied nat alone: whom filter keeps out stays out.
		if held := have.Own.Table(table.Name); held.Chain(chainServices) != nil {
			essential.Tables[i] = held
		}
	}
	first := Diff(have, essential, d.config.MaxNames)
	have.Own = essential
	rest := Diff(have, want.Ruleset, d.config.MaxNames)
	patch.Calls = append(first.Calls, rest.Calls...)
	return patch
}

// apply sends the patch that makes want true.
func (d *Dataplane) apply(ctx context.Context, want *Compiled, patch *Patch) error {
	d.mu.Lock()
	have := d.have
	d.have = nil // until all calls are through, nobody knows
	d.mu.Unlock()
	for i, call := range patch.Calls {
		if err := d.kernel.Restore(ctx, call); err != nil {
			if e, ok := asRefusal(err); ok {
				e.Text = nthLine(call, e.Line)
			}
			if len(patch.Calls) > 1 {
				err = fmt.Errorf("call %d of %d: %w", i+1, len(patch.Calls), err)
			}
			return err
		}
	}
	if have == nil {
		have = &Observation{}
	}
	now := *have
	now.Own = want.Ruleset
	d.remember(now)
	d.accepted = want
	return nil
}

// nthLine is line n of the text, counted from 1.
func nthLine(text string, n int) string {
	for l := range strings.Lines(text) {
		if n--; n == 0 {
			return strings.TrimSuffix(l, "\n")
		}
	}
	return ""
}

// A plan is what one pass does to the tables.
type plan struct {
	dataplane *Dataplane
	state     *proxier.State
	want      *Compiled
	patch     *Patch
	drift     proxier.DriftFinding
}

// Findings are what somebody else did, and how many rules there are.
func (p *plan) Findings() proxier.Findings {
	return proxier.Findings{Drift: p.drift, Rules: p.ruleCounts()}
}

func (p *plan) Empty() bool  { return len(p.patch.Calls) == 0 }
func (p *plan) Diff() string { return p.patch.Unified() }

// String is the input of iptables-restore; where there are several calls, a
// comment stands before each.
func (p *plan) String() string {
	if len(p.patch.Calls) == 1 {
		return p.patch.Calls[0]
	}
	var b strings.Builder
	for i, call := range p.patch.Calls {
		fmt.Fprintf(&b, "# call %d of %d\n%s", i+1, len(p.patch.Calls), call)
	}
	return b.String()
}

func (p *plan) Summary() proxier.Summary {
	s := proxier.Summary{Chains: p.patch.Written, Rules: p.patch.Rules, Deleted: p.patch.Deleted}
	for _, call := range p.patch.Calls {
		s.Bytes += len(call)
	}
	return s
}

// Apply sends the plan. If the kernel refuses it, the Service ports at fault
// are found and left out.
func (p *plan) Apply(ctx context.Context) ([]proxier.Refusal, error) {
	d := p.dataplane
	if err := p.apply(ctx); err != nil {
		return nil, err
	}
	d.putInForce()
	left := d.refusedOf(p.state)
	d.retries.Done(d.config.Now(), left)
	var refusals []proxier.Refusal
	for _, t := range left {
		refusals = append(refusals, proxier.Refusal{Target: t, Err: d.refused[t]})
	}
	return refusals, nil
}

func (p *plan) apply(ctx context.Context) error {
	d := p.dataplane
	if p.Empty() {
		d.accepted = p.want
	} else if err := d.apply(ctx, p.want, p.patch); err != nil {
		hint, ok := asRefusal(err)
		if !ok {
			return err
		}
		return d.newSearch(p.state).run(ctx, p.want, err, hint)
	}
	if len(d.suspected) == 0 {
		return nil
	}
	return d.newSearch(p.state).goOn(ctx, p.want)
}
