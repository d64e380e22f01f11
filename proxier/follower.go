package proxier

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A follower brings one of a Reconciler's Followers into the shape of the State
// that the last good pass has applied. It works beside the passes, at the same
// pace or slower: States that come while it is at work are skipped, but for the
// last one.
type follower struct {
	reconciler *Reconciler
	dataplane  Dataplane
	wake       chan struct{}
	futile     futility

	mu    sync.Mutex
	state *State
	// looking is whether the next pass is to compare with the kernel.
	looking bool
}

// follow starts a goroutine for each of the Followers; they end with ctx, or
// after what they are doing when stop is closed.
func (r *Reconciler) follow(ctx context.Context, stop <-chan struct{}, running *sync.WaitGroup) {
	r.following = nil
	for _, d := range r.Followers {
		f := &follower{reconciler: r, dataplane: d, wake: make(chan struct{}, 1), looking: true}
		r.following = append(r.following, f)
		c := cycle{pacer: r.Pacer, wake: f.wake, pass: f.pass, forget: f.forget, stop: stop}
		if waker, ok := d.(Waker); ok {
			c.later = waker.Wake()
		}
		running.Go(func() { _ = c.run(ctx) })
	}
}

// hand gives the follower the State to follow. drifted says that somebody else
// had changed the kernel before, which may have had effects beyond what was
// repaired.
func (f *follower) hand(state *State, drifted bool) {
	f.mu.Lock()
	f.state = state
	f.looking = f.looking || drifted
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default: // it has a wake-up waiting
	}
}

// announce tells of a State that a pass begins to put into force.
func (f *follower) announce(state *State) {
	if a, ok := f.dataplane.(Anticipator); ok {
		a.Anticipate(state)
	}
}

func (f *follower) forget() {
	f.mu.Lock()
	f.looking = true
	f.mu.Unlock()
}

func (f *follower) pass(ctx context.Context) (outcome, error) {
	f.mu.Lock()
	state, looking := f.state, f.looking
	f.looking = false
	f.mu.Unlock()
	if state == nil {
		return outcome{idle: true}, nil
	}
	if looking {
		f.dataplane.Forget() // here, since a Dataplane is used by one goroutine
	}
	report, _ := f.reconciler.planOne(ctx, f.dataplane, state)
	done := outcome{compared: looking, comparing: report.Planning, watched: true, wrote: !looking, idle: true}
	if done.retry = f.futile.wait(report, time.Now()); done.retry > 0 {
		return done, nil
	}
	f.reconciler.applyOne(ctx, &report)
	f.futile.tried(report, time.Now())
	report.Following = true
	f.reconciler.tell(ctx, report)
	if report.Err != nil {
		f.forget()
		// Nobody waits for it: there is no haste to repeat it.
		return outcome{compared: true}, fmt.Errorf("%s over %s: %w", report.Dataplane, report.Family, report.Err)
	}
	done.more = report.Plan.Summary().More && !report.DryRun
	done.idle = report.Plan.Empty() && !done.more
	// Only changes make work for a follower, and a packet on its way may make some
	// more just after it has looked: that is found once, later.
	done.wrote = !looking || !done.idle
	return done, nil
}

// A futility is a plan that fails whenever it is applied, such as to write where this
// process may not. Each State that comes into force would have it fail once more.
// What failed twice is not tried again before SlowestRetry, unless another plan takes
// its place: so few failures are no cause for an alert.
type futility struct {
	plan  string // word for word
	times int
	again time.Time
}

// wait is how long what was planned is not to be applied yet.
func (f *futility) wait(r Report, now time.Time) time.Duration {
	if r.Err != nil || f.times < 2 || r.Plan.String() != f.plan {
		return 0
	}
	return max(0, f.again.Sub(now))
}

// tried takes note of what became of a plan.
func (f *futility) tried(r Report, now time.Time) {
	if r.Err == nil || r.Plan == nil {
		*f = futility{}
		return
	}
	if plan := r.Plan.String(); plan != f.plan {
		*f = futility{plan: plan}
	}
	f.times++
	f.again = now.Add(SlowestRetry)
}
