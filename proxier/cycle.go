package proxier

import (
	"context"
	"time"
)

// A cycle makes passes one after the other, as a Pacer says.
type cycle struct {
	pacer Pacer
	// wake receives when something changed.
	wake <-chan struct{}
	// pass makes one.
	pass func(context.Context) (outcome, error)
	// forget makes the next pass compare with the kernel.
	forget func()
}

// An outcome is what a pass that did not fail says about the next.
type outcome struct {
	// compared is whether the kernel itself was looked at, rather than what was
	// remembered of it.
	compared bool
	// more is whether there is more to do, though nothing changes.
	more bool
}

// run makes a pass whenever something changed, until ctx ends, and returns its
// error. A pass that fails is repeated, also if nothing changes.
func (c *cycle) run(ctx context.Context) error {
	retry, resync := stopped(), stopped()
	var due <-chan time.Time // MinInterval after the last pass
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.wake:
		case <-retry.C:
		case <-resync.C:
			c.forget()
		}
		if err := wait(ctx, due); err != nil {
			return err
		}
		select {
		case <-c.wake: // what woke us meanwhile is seen by this pass, too
		default:
		}
		start := time.Now()
		done, err := c.pass(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		due = time.After(c.pacer.MinInterval)
		retry.Stop()
		if err != nil {
			failures++
			retry.Reset(c.pacer.backoff(failures))
			continue
		}
		failures = 0
		if done.more {
			retry.Reset(0)
		}
		if c.pacer.Resync > 0 && done.compared {
			resync.Reset(c.pacer.resync(time.Since(start)))
		}
	}
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
