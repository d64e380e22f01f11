package proxier

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A Reconciler keeps the kernel in the shape that the Store's objects ask for,
// over one family.
type Reconciler struct {
	Store      *Store
	Options    Options
	Dataplanes []Dataplane
	Reporter   Reporter
	Pacer      Pacer
	// DryRun, if set, is given each plan instead of having it applied.
	DryRun func(dataplane string, plan Plan)

	state *State // of the last pass
	// looked is whether the last pass compared with the kernel itself rather
	// than with what was remembered of it.
	looking bool
}

// Run makes a pass whenever something changed, until ctx ends; it starts once
// the Store has synced. A pass that fails is repeated, also if nothing changes;
// Run returns ctx's error only.
func (r *Reconciler) Run(ctx context.Context) error {
	wake, wakeUps := r.Store.Watch(), r.wakeUps(ctx)
	var woken <-chan struct{} // wakeUps, after the first pass
	retry, resync := stopped(), stopped()
	var due <-chan time.Time // MinInterval after the last pass
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
		case <-woken:
		case <-retry.C:
		case <-resync.C:
			r.forget()
		}
		if err := wait(ctx, due); err != nil {
			return err
		}
		select {
		case <-wake: // what woke us meanwhile is in the Store, too
		default:
		}
		start := time.Now()
		err := r.Sync(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		due, woken = time.After(r.Pacer.MinInterval), wakeUps
		retry.Stop()
		if err != nil {
			failures++
			retry.Reset(r.Pacer.backoff(failures))
			continue
		}
		failures = 0
		if r.Pacer.Resync > 0 && r.looking {
			resync.Reset(r.Pacer.resync(time.Since(start)))
		}
		r.looking = false
	}
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

// stopped is a timer that does not run.
func stopped() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

func wait(ctx context.Context, due <-chan time.Time) error {
	if due == nil {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-due:
		return nil
	}
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
	before := r.state
	r.state = Build(before, r.Store.Snapshot(), r.Options)
	if before == nil {
		r.looking = true // nothing is remembered yet
	}
	unchanged := before != nil && sameServices(before, r.state)
	for _, d := range r.Dataplanes {
		if err := r.sync(ctx, d, unchanged); err != nil {
			r.forget()
			return fmt.Errorf("%s over %s: %w", d.Name(), r.Options.Family, err)
		}
	}
	return nil
}

func (r *Reconciler) sync(ctx context.Context, d Dataplane, unchanged bool) error {
	start := time.Now()
	report := Report{Family: r.Options.Family, Dataplane: d.Name(), State: r.state}
	report.Plan, report.Err = d.Plan(ctx, r.state)
	switch {
	case report.Err != nil:
		report.Plan = nil
	case r.DryRun != nil:
		r.DryRun(d.Name(), report.Plan)
	default:
		report.Refused, report.Err = report.Plan.Apply(ctx)
		report.Drift = unchanged && r.looking && drift(report.Plan)
	}
	report.Duration = time.Since(start)
	if r.Reporter != nil && !errors.Is(report.Err, context.Canceled) {
		r.Reporter.Synced(report)
	}
	return report.Err
}

// drift reports whether a plan made for objects that did not change repairs
// what somebody else did.
func drift(p Plan) bool {
	if judge, ok := p.(DriftJudge); ok {
		return judge.Drift()
	}
	return !p.Empty()
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
