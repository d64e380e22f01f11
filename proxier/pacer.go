package proxier

import (
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
