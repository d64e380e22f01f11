package conntrack

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/kube-proxier/kube-proxier/proxier"
)

const (
	// MaxFlows is how many flows one plan deletes at most. It bounds the memory
	// of a plan to about 10 MB; the next pass does the rest.
	MaxFlows = 50_000
	// maxReads is how often an interrupted reading is begun anew.
	maxReads = 5
)

// A Dataplane keeps one family's table of connections free of flows that
// contradict the State. It is used by one goroutine, except Anticipate.
type Dataplane struct {
	kernel   Kernel
	maxFlows int
	// onlyRules is whether flows that IPVS sends on have to go.
	onlyRules bool

	served *Served // of the last Plan
	// clean is what the table was last found, or made, to be without fault for;
	// nil when it has to be read.
	clean *Served
	// coming is the State that was announced last.
	coming atomic.Pointer[proxier.State]
}

// NewDataplane returns a Dataplane that has not looked at the kernel yet.
func NewDataplane(kernel Kernel) *Dataplane {
	return &Dataplane{kernel: kernel, maxFlows: MaxFlows}
}

// WithoutIPVS makes d one for a mode without virtual servers: a flow that one has
// sent on would be sent nowhere, and does not see the rules before it begins anew.
func (d *Dataplane) WithoutIPVS() *Dataplane {
	d.onlyRules = true
	return d
}

// Name is "conntrack".
func (d *Dataplane) Name() string { return "conntrack" }

// Forget makes the next Plan read the table.
func (d *Dataplane) Forget() { d.clean = nil }

// Anticipate keeps plans from deleting a flow that is right for a State that is
// being put into force. It implements proxier.Anticipator.
func (d *Dataplane) Anticipate(state *proxier.State) { d.coming.Store(state) }

// Plan finds the flows that contradict the State. Where no UDP frontend and no
// endpoint of one changed since all was well, or there are none, nothing is read.
func (d *Dataplane) Plan(ctx context.Context, state *proxier.State) (proxier.Plan, error) {
	d.served = NewServed(d.served, state)
	if d.clean == d.served || d.served.nothing() {
		return &plan{}, nil
	}
	p := &plan{dataplane: d, state: state, served: d.served}
	if err := p.read(ctx); err != nil {
		return nil, err
	}
	if p.Empty() && p.complete() {
		d.settle(p)
	}
	return p, nil
}

// settle remembers that nothing of what p was made for is left to do.
func (d *Dataplane) settle(p *plan) {
	if d.served == p.served {
		d.served = p.served.settled()
		d.clean = d.served
	}
}

// read fills the plan from the table.
func (p *plan) read(ctx context.Context) error {
	for range maxReads {
		p.flows, p.more = p.flows[:0], false
		p.interrupted = p.dataplane.kernel.Flows(ctx, p.state.Family, p.take)
		if err := p.interrupted; !errors.Is(err, ErrInterrupted) {
			if err != nil {
				return fmt.Errorf("reading tracked connections: %w", err)
			}
			return nil
		}
	}
	p.interrupted = fmt.Errorf("%d times in a row: %w: flows may be left that contradict what is served", maxReads, p.interrupted)
	return nil
}

// take keeps a flow if it has to go; it returns false once the plan is full.
func (p *plan) take(f *Flow) bool {
	fault := p.dataplane.fault(p.served, f)
	if fault == None {
		return true
	}
	if len(p.flows) == p.dataplane.maxFlows {
		p.more = true
		return false
	}
	p.flows = append(p.flows, Stale{*f, fault})
	return true
}

// fault is why a flow has to go, where served is what is served.
func (d *Dataplane) fault(served *Served, f *Flow) Fault {
	if fault := served.Fault(f); fault != None || !d.onlyRules || !served.sentOnByIPVS(f) {
		return fault
	}
	return Abandoned
}
