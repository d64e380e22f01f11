package ipvs

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// Config is how a Dataplane works.
type Config struct {
	// Options shape the virtual servers; NodeAddresses are replaced by what
	// Addresses says.
	Options
	Ownership Ownership
	// Addresses tells the host's addresses. It is asked once in each pass.
	Addresses func(ctx context.Context) (Addresses, error)
	// DrainTimeout bounds how long a real server drains; 0 turns draining off.
	DrainTimeout time.Duration
	// Retire is set in a mode that needs no virtual servers, together with States
	// that have no Services: what is there goes as soon as its connections have
	// ended, or with DrainTimeout.
	Retire bool
	// Look is how long to wait until the connections of draining real servers
	// are counted again; 0 for DefaultLook.
	Look time.Duration
	// Now is the clock; nil for the real one.
	Now func() time.Time
}

// Defaults of Config.
const (
	DefaultDrainTimeout = 5 * time.Minute
	DefaultLook         = 5 * time.Second
)

// A Dataplane brings the virtual servers of one family into the shape a State
// asks for. It is used by one goroutine, except Forget and InForce.
type Dataplane struct {
	kernel Kernel
	config Config
	wake   chan struct{}
	timer  *time.Timer

	mu sync.Mutex
	// have are our virtual servers in the kernel, as far as is known; nil when
	// it has to be asked.
	have *[]*VirtualServer
	// made are those of the last have, whatever has been forgotten since, and those
	// that were to be made: by them what is listed is known to be ours.
	made []*VirtualServer
	// inForce is what the last pass that did not fail has left in the kernel.
	inForce *Compiled
	// forgets counts the calls of Forget, so that one in the middle of an Apply
	// is not lost.
	forgets int
	// draining are real servers that drain, and since when; not changed once set.
	draining map[RealPlace]time.Time
	// looking is whether timer is to look at them, and due whether some have ended.
	looking, due bool

	compiled *Compiled // of the last Plan, to share with the next
	refused  refusals
	retries  proxier.Retries
}

// NewDataplane returns a Dataplane that has not looked at the kernel yet.
func NewDataplane(kernel Kernel, config Config) *Dataplane {
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Look == 0 {
		config.Look = DefaultLook
	}
	return &Dataplane{kernel: kernel, config: config, wake: make(chan struct{}, 1), refused: refusals{}}
}

// Name is "ipvs".
func (d *Dataplane) Name() string { return "ipvs" }

// Forget makes the next Plan look at the kernel, because somebody else may have
// changed it. It is safe to call from any goroutine.
func (d *Dataplane) Forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.have = nil
	d.forgets++
}

// InForce is what the last pass that did not fail has left in the kernel, but for
// what was refused; nil before that. It is safe to call from any goroutine.
func (d *Dataplane) InForce() *Compiled {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inForce
}

func (d *Dataplane) putInForce(c *Compiled) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inForce = c
}

// Wake receives when it is time to see whether real servers have drained.
func (d *Dataplane) Wake() <-chan struct{} { return d.wake }

// A Plan is a proxier.Plan that knows what it leaves.
type Plan interface {
	proxier.Plan
	// Left are the virtual servers of ours that are there after Apply.
	Left() []*VirtualServer
}

// Plan compares the kernel with what the State asks for.
func (d *Dataplane) Plan(ctx context.Context, state *proxier.State) (proxier.Plan, error) {
	addresses, err := d.config.Addresses(ctx)
	if err != nil {
		return nil, fmt.Errorf("addresses of this host: %w", err)
	}
	options := d.config.Options
	options.NodeAddresses = addresses.Node
	want := Compile(d.compiled, state, options)
	d.compiled = want
	d.refused.retryChanged(want)
	retried := d.retries.Take(d.config.Now(), targets(d.refused.report(state)))
	d.refused.retry(retried)
	have, idle, err := d.observe(ctx, want, addresses)
	if err != nil {
		return nil, err
	}
	return &plan{dataplane: d, want: want, addresses: addresses, have: have, patch: d.diff(have, want, idle), retried: retried}, nil
}

// observe returns our virtual servers, from memory where that is good, and the
// draining ones that have no connections, where that was looked up.
func (d *Dataplane) observe(ctx context.Context, want *Compiled, addresses Addresses) ([]*VirtualServer, map[RealPlace]bool, error) {
	d.mu.Lock()
	have, made, forgets := d.have, d.made, d.forgets
	d.mu.Unlock()
	if have != nil {
		idle, err := d.count(ctx)
		return *have, idle, err
	}
	listing, err := d.kernel.List(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("list virtual servers: %w", err)
	}
	own := d.config.Ownership.Own(listing.Servers, want, addresses, made)
	d.remember(own, want, forgets)
	return own, listing.idle(d.config.Retire), nil
}

// count looks which draining real servers have no connections, if some are known to
// have none. It asks for their virtual servers only, and again: since the look that
// made it due one may have come back, and left with connections.
func (d *Dataplane) count(ctx context.Context) (map[RealPlace]bool, error) {
	d.mu.Lock()
	draining, due := d.draining, d.due
	d.due = false
	d.mu.Unlock()
	if len(draining) == 0 || !due {
		return nil, nil
	}
	listing, err := d.kernel.List(ctx, placesOf(draining)...)
	if err != nil {
		return nil, fmt.Errorf("count connections of draining real servers: %w", err)
	}
	d.watchDrain(draining) // what of it goes on
	return listing.idle(d.config.Retire), nil
}

// remember takes have for what the kernel holds, unless Forget was called since
// forgets was read.
func (d *Dataplane) remember(have []*VirtualServer, want *Compiled, forgets int) {
	have = adopt(have, want.Servers)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.made = have
	if d.forgets == forgets {
		d.have = &have
	}
}

// diff is the way from have to want without what the kernel refused before.
// Where there is nothing yet, what the cluster itself needs comes first.
func (d *Dataplane) diff(have []*VirtualServer, want *Compiled, idle map[RealPlace]bool) *Patch {
	patch := Diff(have, want, d.drain(d.draining, idle))
	patch.Ops = d.refused.without(patch.Ops)
	if len(have) == 0 {
		patch.Ops = essentialsFirst(patch.Ops, want)
	}
	return patch
}

// essentialsFirst moves the operations for the API server's and the DNS Service
// to the front.
func essentialsFirst(ops []Op, want *Compiled) []Op {
	essential := map[*proxier.Target]bool{}
	for t := range want.state.Essentials().Targets {
		essential[t] = true
	}
	first, rest := make([]Op, 0, len(ops)), make([]Op, 0, len(ops))
	for _, o := range ops {
		if f := want.Frontend(o.Place); f != nil && essential[f.Target] {
			first = append(first, o)
		} else {
			rest = append(rest, o)
		}
	}
	return append(first, rest...)
}

// watchDrain remembers what drains, and has somebody look whether it has ended.
func (d *Dataplane) watchDrain(draining map[RealPlace]time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.draining = draining
	if len(draining) > 0 && !d.looking {
		d.looking = true
		d.timer = time.AfterFunc(d.config.Look, d.lookAtDrains)
	}
}

// lookAtDrains asks for a pass if something has drained, and else comes again: a pass
// costs far more than this look.
func (d *Dataplane) lookAtDrains() {
	d.mu.Lock()
	draining := d.draining
	d.looking = len(draining) > 0
	d.mu.Unlock()
	if len(draining) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), d.config.Look)
	defer cancel()
	listing, err := d.kernel.List(ctx, placesOf(draining)...)
	if err == nil && !d.drain(draining, listing.idle(d.config.Retire)).ended() {
		d.timer.Reset(d.config.Look)
		return
	}
	d.mu.Lock()
	d.due, d.looking = true, false // the pass has it look again
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default: // a wake-up is waiting
	}
}

// drain is what is known of draining now.
func (d *Dataplane) drain(since map[RealPlace]time.Time, idle map[RealPlace]bool) Drain {
	return Drain{Timeout: d.config.DrainTimeout, Now: d.config.Now(), Since: since, Idle: idle, Retire: d.config.Retire}
}
