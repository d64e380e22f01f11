package proxier

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A Reconciler keeps the kernel in the shape that the Store's objects ask for,
// over one family.
type Reconciler struct {
	Store   *Store
	Options Options
	// Dataplanes are synced one after the other: each may rely on those before.
	Dataplanes []Dataplane
	// Followers are synced beside the passes, for they take long and nothing
	// waits for them: each after the Dataplanes have what the State asks for,
	// and with the last such State only. One that fails holds up nobody.
	Followers []Dataplane
	// Sentries watch over the Dataplanes.
	Sentries []Sentry
	// SentryFailed, if set, is told of a Sentry that watches no more.
	SentryFailed func(Sentry, error)
	// Reporter is told of one pass at a time, from any goroutine.
	Reporter Reporter
	Pacer    Pacer
	// Progress, if set, is told of passes as a whole; those of followers do not
	// count.
	Progress Progress
	// DryRun, if set, is given each plan instead of having it applied; that of a
	// follower on a goroutine of its own.
	DryRun func(dataplane string, plan Plan)

	state  *State // of the last pass
	losses lossWatch
	// applied is the State of the last pass that did not fail.
	applied *State
	guard   guard
	// looking is whether the next pass compares with the kernel itself rather than
	// with what is remembered of it.
	looking bool
	// drifted is whether drift was found that the followers were not told of.
	drifted   bool
	following []*follower
	reporting sync.Mutex
}

// Run makes a pass whenever something changed, until ctx ends; it starts once
// the Store has synced. A pass that fails is repeated, also if nothing changes;
// Run returns ctx's error only.
func (r *Reconciler) Run(ctx context.Context) error { return r.RunUntil(ctx, nil) }

// RunUntil is Run, but also ends when stop is closed, without an error: after
// the pass, and those of the Followers, that are being made then. So another
// Reconciler can go on with the same Store from a kernel that nobody is about to
// write to.
func (r *Reconciler) RunUntil(ctx context.Context, stop <-chan struct{}) error {
	wake := r.Store.Watch()
	defer r.Store.Unwatch(wake)
	var watching sync.WaitGroup
	defer watching.Wait()
	listening, ignore := context.WithCancel(ctx)
	defer ignore()
	var following sync.WaitGroup
	defer following.Wait()
	r.follow(ctx, stop, &following)
	r.watch(listening, &watching)
	defer r.guard.stop()
	c := cycle{
		pacer: r.Pacer, wake: wake, later: r.wakeUps(listening), urgent: r.guard.wake,
		pass: r.pass, forget: r.forget, stop: stop,
	}
	if r.Progress != nil {
		c.due = func() { r.Progress.Due(r.Options.Family) }
	}
	return c.run(ctx)
}

func (r *Reconciler) pass(ctx context.Context) (outcome, error) {
	done, err := r.sync(ctx)
	if r.Progress != nil && ctx.Err() == nil {
		r.Progress.Done(r.state, done.refused, err)
	}
	return done, err
}

// wakeUps receives what the dataplanes that are Wakers send, until ctx ends.
func (r *Reconciler) wakeUps(ctx context.Context) <-chan struct{} {
	all := make(chan struct{}, 1)
	for _, d := range r.Dataplanes {
		waker, ok := d.(Waker)
		if !ok {
			continue
		}
		go func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-waker.Wake():
				}
				select {
				case all <- struct{}{}:
				default: // a pass is due anyway
				}
			}
		}()
	}
	return all
}

func (r *Reconciler) forget() {
	r.looking = true
	for _, d := range r.Dataplanes {
		d.Forget()
	}
}

// Sync makes one pass: Snapshot, Build, and for each dataplane in order Plan,
// Apply and report. A dataplane that fails ends the pass, for the next may rely
// on it; the error names it.
func (r *Reconciler) Sync(ctx context.Context) error {
	_, err := r.sync(ctx)
	return err
}

func (r *Reconciler) sync(ctx context.Context) (outcome, error) {
	before, start := r.state, time.Now()
	snapshot := r.Store.Snapshot()
	r.state = Build(before, snapshot, r.Options)
	building, loss := time.Since(start), r.losses.find(before, r.state, start)
	looking := r.looking || before == nil // nothing is remembered yet
	r.looking = false
	for _, f := range r.following {
		f.announce(r.state)
	}
	unchanged := r.applied != nil && sameServices(r.applied, r.state)
	done := outcome{compared: looking, idle: true}
	for i, d := range r.Dataplanes {
		told := r.guard.take(d.Name(), looking)
		report, planning, writing := r.syncOne(ctx, d, r.state)
		report.Changes, report.Compared = snapshot.Changes, looking
		report.Last = report.Err != nil || i == len(r.Dataplanes)-1
		report.Building, building = building, 0
		report.Loss, loss = loss, nil
		if report.Plan != nil && r.DryRun == nil {
			report.Drift = drift(report, unchanged && (looking || len(told) > 0))
			r.drifted = r.drifted || report.Drift
		}
		if report.Err == nil {
			r.guard.judge(&report, told, time.Now())
		}
		r.tell(ctx, report)
		if report.Err != nil {
			r.guard.putBack(d.Name(), told)
			r.forget()
			return outcome{compared: looking}, fmt.Errorf("%s over %s: %w", d.Name(), r.Options.Family, report.Err)
		}
		done.comparing += planning
		done.writing += writing
		done.idle = done.idle && report.Plan.Empty()
		done.refused = append(done.refused, report.Refused...)
	}
	for _, f := range r.following {
		f.hand(r.state, r.drifted)
	}
	r.applied, r.drifted = r.state, false
	done.wrote = !done.idle
	done.watched = len(done.refused) == 0 && r.guard.watchedBy(r.Sentries) // what is refused is tried again with a comparison
	return done, nil
}

// syncOne plans and applies what one dataplane has to do, and says what either cost.
func (r *Reconciler) syncOne(ctx context.Context, d Dataplane, state *State) (report Report, planning, writing time.Duration) {
	report, planning = r.planOne(ctx, d, state)
	return report, planning, r.applyOne(ctx, &report)
}

// planOne plans, and says what that cost.
func (r *Reconciler) planOne(ctx context.Context, d Dataplane, state *State) (report Report, planning time.Duration) {
	start, cost := time.Now(), effort(r.Pacer.CPUTime)
	report = Report{Family: r.Options.Family, Dataplane: d.Name(), State: state}
	if report.Plan, report.Err = d.Plan(ctx, state); report.Err != nil {
		report.Plan = nil
	}
	report.Planning = time.Since(start)
	report.Duration = report.Planning
	return report, cost()
}

// applyOne applies what was planned, and says what that cost.
func (r *Reconciler) applyOne(ctx context.Context, report *Report) (writing time.Duration) {
	if report.Err != nil {
		return 0
	}
	start, cost := time.Now(), effort(r.Pacer.CPUTime)
	if r.DryRun != nil {
		report.DryRun = true
		r.DryRun(report.Dataplane, report.Plan)
	} else {
		report.Refused, report.Err = report.Plan.Apply(ctx)
	}
	report.Findings = report.Plan.Findings()
	report.Duration += time.Since(start)
	return cost()
}

// drift reports whether a plan repairs what somebody else did. onlyKernel says
// that the kernel was looked at, and nothing else can have changed.
func drift(r Report, onlyKernel bool) bool {
	switch {
	case r.Plan.Empty():
		return false
	case r.Findings.Drift != DriftUnknown:
		return r.Findings.Drift == DriftFound
	}
	return onlyKernel
}

// tell reports, unless the pass did not fail but was ended.
func (r *Reconciler) tell(ctx context.Context, report Report) {
	if r.Reporter == nil || report.Err != nil && ctx.Err() != nil {
		return
	}
	r.reporting.Lock()
	defer r.reporting.Unlock()
	r.Reporter.Synced(report)
}

// sameServices reports whether two States serve the same, so that a difference
// from the kernel is somebody else's doing.
func sameServices(a, b *State) bool {
	if len(a.Services) != len(b.Services) || !a.Node.equal(b.Node) {
		return false
	}
	for i := range a.Services {
		if a.Services[i] != b.Services[i] {
			return false
		}
	}
	return true
}
