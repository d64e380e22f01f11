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
	// later receives when there is something to do besides; it is not listened
	// to before the first pass. It may be nil.
	later <-chan struct{}
	// urgent receives when something is to be repaired, for which MinInterval
	// does not count. It is not listened to before the first pass, nor after one
	// that failed: that one is repeated. It may be nil.
	urgent <-chan struct{}
	// pass makes one.
	pass func(context.Context) (outcome, error)
	// forget makes the next pass compare with the kernel.
	forget func()
	// due, if set, is told that a pass is to be made.
	due func()
	// stop, if set, ends the cycle when it is closed, but no pass.
	stop <-chan struct{}
}

// An outcome is what a pass says about the next; of one that failed only compared
// counts.
type outcome struct {
	// compared is whether the kernel itself was looked at, rather than what was
	// remembered of it; comparing is what that cost.
	compared  bool
	comparing time.Duration
	// wrote is whether something was written, or may have to be soon after, and
	// writing what that cost.
	wrote   bool
	writing time.Duration
	// watched is whether Sentries tell of drift, so that a comparison has less to
	// find, and nothing waits for one.
	watched bool
	// more is whether there is more to do, though nothing changes.
	more bool
	// retry is after how long to make another pass in any case; 0 for none.
	retry time.Duration
	// idle is whether there was nothing to write.
	idle bool
	// refused is what the kernel refuses.
	refused []Refusal
}

// A prospect is what the passes so far say about when to make the next.
type prospect struct {
	// rested receives when the Pacer's interval after the last pass is over; nil
	// before the first.
	rested <-chan time.Time
	// later and urgent are the cycle's, while they are listened to.
	later, urgent <-chan struct{}
	// retry repeats a pass that failed, or goes on where one left off, and resync
	// has the kernel compared.
	retry, resync *time.Timer
	// failures are those in a row, but for one that was repeated at once: it is
	// hasty then, and MinInterval does not count.
	failures int
	hasty    bool
	compared comparison
}

// run makes a pass whenever something changed, until ctx ends, and returns its
// error, or until stop is closed. A pass that fails is repeated, also if nothing
// changes.
func (c *cycle) run(ctx context.Context) error {
	p := &prospect{retry: stopped(), resync: stopped()}
	for c.next(ctx, p) {
		discard(c.wake) // what woke us meanwhile is seen by this pass, too
		discard(p.urgent)
		start := time.Now()
		done, err := c.pass(ctx)
		if ctx.Err() != nil {
			break
		}
		p.rested, p.later, p.urgent = time.After(c.pacer.interval(done, time.Since(start))), c.later, c.urgent
		if err != nil {
			p.failed(c.pacer, done)
		} else {
			p.succeeded(c.pacer, done)
		}
	}
	return ctx.Err()
}

// next waits until there is a reason for a pass, and it may be made; false when the
// cycle has to end.
func (c *cycle) next(ctx context.Context, p *prospect) bool {
	hurry, goOn := c.reason(ctx, p)
	if !goOn {
		return false
	}
	if c.due != nil {
		c.due()
	}
	return hurry || c.rest(ctx, p)
}

// reason waits for one, and says whether MinInterval does not count for it.
func (c *cycle) reason(ctx context.Context, p *prospect) (hurry, goOn bool) {
	select {
	case <-c.stop: // even if something else is ready
		return false, false
	default:
	}
	select {
	case <-ctx.Done():
		return false, false
	case <-c.stop:
		return false, false
	case <-c.wake:
	case <-p.later:
	case <-p.urgent:
		hurry = true
	case <-p.retry.C:
		hurry = p.hasty
	case <-p.resync.C:
		c.forget()
	}
	return hurry, true
}

// rest waits for the interval after the last pass to be over, unless something is
// urgent; false when the cycle has to end.
func (c *cycle) rest(ctx context.Context, p *prospect) bool {
	if p.rested == nil {
		return true
	}
	select {
	case <-ctx.Done():
		return false
	case <-c.stop:
		return false
	case <-p.rested:
	case <-p.urgent:
	}
	return true
}

// failed sees to it that a pass is repeated. What it remembered may have been wrong,
// such as a set that somebody has deleted together with the rules that were to be
// repaired. So one that had not looked at the kernel is repeated at once.
func (p *prospect) failed(pacer Pacer, done outcome) {
	p.urgent = nil
	if p.hasty = p.failures == 0 && !done.compared; p.hasty {
		p.retry.Reset(0)
		return
	}
	p.failures++
	p.retry.Reset(pacer.backoff(p.failures))
}

// succeeded looks forward to what is left to do, and to the next comparison.
func (p *prospect) succeeded(pacer Pacer, done outcome) {
	p.failures, p.hasty = 0, false
	p.retry.Stop()
	if done.more || done.retry > 0 {
		p.retry.Reset(done.retry)
	}
	if p.compared.passed(done, time.Now()); pacer.Resync > 0 && !p.compared.at.IsZero() {
		p.resync.Reset(time.Until(p.compared.at.Add(pacer.resync(p.compared, done.watched))))
	}
}

// stopped is a timer that does not run.
func stopped() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// discard takes a wake-up that waits.
func discard(wake <-chan struct{}) {
	select {
	case <-wake:
	default:
	}
}
