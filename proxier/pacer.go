package proxier

import (
	"context"
	"math/rand/v2"
	"time"
)

// A Pacer says how far apart passes are.
type Pacer struct {
	// MinInterval lies at least between the end of a pass and the next one;
	// what changes meanwhile is done in one go. After a pass that found nothing to
	// write it is shorter, see interval.
	MinInterval time.Duration
	// MaxBackoff bounds the wait after failures, which doubles from one second.
	MaxBackoff time.Duration
	// Resync is how often the kernel is compared although nothing changed; 0
	// for never.
	Resync time.Duration
	// CPUTime, if set, is how long this process and the programs it ran have kept a
	// processor busy so far. On a busy machine work takes far longer than that, but
	// costs no more.
	CPUTime func() time.Duration
}

// effort begins to measure what work costs: the time that passes, or the CPU time if
// that is less. CPU time may be more, since other parts of the process work meanwhile.
func effort(cpuTime func() time.Duration) (cost func() time.Duration) {
	start := time.Now()
	if cpuTime == nil {
		return func() time.Duration { return time.Since(start) }
	}
	before := cpuTime()
	return func() time.Duration { return min(time.Since(start), cpuTime()-before) }
}

// backoff is how long to wait after that many failures in a row. Half of it is
// random, so that the nodes of a cluster do not try all at once.
func (p Pacer) backoff(failures int) time.Duration {
	wait := time.Second << min(failures-1, 20)
	wait = max(min(wait, p.MaxBackoff), p.MinInterval)
	return wait/2 + rand.N(wait/2+1)
}

// idleShare bounds what passes cost that find nothing to write: less than a
// tenth of the time.
const idleShare = 10

// interval is how long after a pass the next one may be made. Where nothing was
// written, what comes next should not have to wait for it: an EndpointSlice of
// IPv4 wakes the passes over IPv6, too, and its sibling of IPv6 follows at once.
func (p Pacer) interval(done outcome, took time.Duration) time.Duration {
	if done.idle {
		return min(p.MinInterval, took*idleShare)
	}
	return p.MinInterval
}

// What comparing costs: at most a hundredth of the time. Where Sentries tell of
// drift it only finds what they overlook, which is most likely while something is
// written: after that at most a thousandth, and without it once an hour. So an idle
// node stays one.
const (
	resyncShare        = 100
	resyncShareWatched = 1000
	resyncWatched      = time.Hour
)

// resync is how long after the last comparison to make the next. Sentries may be
// watching meanwhile.
func (p Pacer) resync(last comparison, watched bool) time.Duration {
	switch {
	case !watched:
		return max(p.Resync, last.took*resyncShare)
	case last.wrote:
		// The first comparison finds little to read; reading what was written takes
		// about as much as writing it.
		return max(p.Resync, min(max(last.took, last.writing)*resyncShareWatched, resyncWatched))
	default:
		return max(p.Resync, resyncWatched)
	}
}

// A comparison is the last one of the kernel with what it should be.
type comparison struct {
	// at is when it ended, and took what it cost.
	at   time.Time
	took time.Duration
	// wrote is whether something was written in that pass or since, and writing
	// the most that cost.
	wrote   bool
	writing time.Duration
}

// passed takes note of a pass.
func (c *comparison) passed(done outcome, now time.Time) {
	if done.compared {
		*c = comparison{at: now, took: done.comparing}
	}
	c.wrote = c.wrote || done.wrote
	c.writing = max(c.writing, done.writing)
}

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
	// idle is whether there was nothing to write.
	idle bool
}

// run makes a pass whenever something changed, until ctx ends, and returns its
// error, or until stop is closed. A pass that fails is repeated, also if nothing
// changes.
func (c *cycle) run(ctx context.Context) error {
	retry, resync := stopped(), stopped()
	var compared comparison
	var due <-chan time.Time          // the Pacer's interval after the last pass
	var later, urgent <-chan struct{} // c.later and c.urgent, once they count
	failures, hasty := 0, false       // whether MinInterval does not count for the retry
	for {
		hurry := false
		select {
		case <-c.stop: // even if something else is ready
			return nil
		default:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.stop:
			return nil
		case <-c.wake:
		case <-later:
		case <-urgent:
			hurry = true
		case <-retry.C:
			hurry = hasty
		case <-resync.C:
			c.forget()
		}
		if c.due != nil {
			c.due()
		}
		if !hurry {
			if goOn, err := c.wait(ctx, due, urgent); !goOn {
				return err
			}
		}
		discard(c.wake) // what woke us meanwhile is seen by this pass, too
		discard(urgent)
		start := time.Now()
		done, err := c.pass(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		due, later, urgent = time.After(c.pacer.interval(done, time.Since(start))), c.later, c.urgent
		retry.Stop()
		if err != nil {
			urgent = nil
			// What a pass remembered may have been wrong, such as a set that somebody
			// has deleted together with the rules that were to be repaired. So one
			// that had not looked at the kernel is repeated at once.
			if hasty = failures == 0 && !done.compared; hasty {
				retry.Reset(0)
			} else {
				failures++
				retry.Reset(c.pacer.backoff(failures))
			}
			continue
		}
		failures, hasty = 0, false
		if done.more {
			retry.Reset(0)
		}
		if compared.passed(done, time.Now()); c.pacer.Resync > 0 && !compared.at.IsZero() {
			resync.Reset(time.Until(compared.at.Add(c.pacer.resync(compared, done.watched))))
		}
	}
}

// stopped is a timer that does not run.
func stopped() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// wait returns true when a pass may be made: at the time due, at once without
// one, or when it is urgent; false when the cycle has to end.
func (c *cycle) wait(ctx context.Context, due <-chan time.Time, urgent <-chan struct{}) (bool, error) {
	if due == nil {
		return true, nil
	}
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-c.stop:
		return false, nil
	case <-due:
	case <-urgent:
	}
	return true, nil
}

// discard takes a wake-up that waits.
func discard(wake <-chan struct{}) {
	select {
	case <-wake:
	default:
	}
}
