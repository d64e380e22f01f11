package proxier

import (
	"context"
	"time"
)

// A Poll is a Sentry for what the kernel tells nobody about: it looks by itself,
// as often as that is cheap.
type Poll struct {
	// Name is that of the dataplane.
	Name string
	// Glance compares the kernel with what the dataplane remembers, and returns
	// what is different; nothing while that is being written.
	Glance func(ctx context.Context) (different string, err error)
	// Forget is the dataplane's.
	Forget func()
	// Share bounds what Glances cost: at most the Share-th part of the time.
	Share int
	// CPUTime is as a Pacer's.
	CPUTime func() time.Duration
	// Nudge, if set, receives when the kernel tells that something has changed,
	// though not whether it is different: then a Glance does not wait.
	Nudge <-chan struct{}
}

// pollInterval lies between two Glances, unless they take so long that it has to
// be more because of the Share.
const pollInterval = 500 * time.Millisecond

// nudgedShare bounds what Glances cost that something changes for: a tenth of the
// time.
const nudgedShare = 10

// Dataplane is the Name.
func (p *Poll) Dataplane() string { return p.Name }

// Recheck makes the dataplane look at the kernel.
func (p *Poll) Recheck() { p.Forget() }

// Watch looks until ctx ends. A Glance that fails says nothing: the regular
// comparison will fail, too, and tell.
func (p *Poll) Watch(ctx context.Context, tell func(Drift)) error {
	timer := time.NewTimer(pollInterval)
	defer timer.Stop()
	nudge := p.Nudge
	rested := time.Now()     // when the last Glance allows another
	var before time.Duration // what the last Glance cost
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		case <-nudge:
			nudge = nil // one is enough
			timer.Reset(time.Until(rested))
			continue
		}
		nudge = p.Nudge
		discard(nudge) // this Glance sees what it is about
		cost := effort(p.CPUTime)
		if different, err := p.Glance(ctx); err == nil && different != "" {
			tell(Drift{Cause: Polled, What: different})
		}
		spent := cost()
		usual := min(before, spent) // one that was held up must not put off the next for minutes
		before = spent
		rested = time.Now().Add(nudgedShare * usual)
		timer.Reset(max(pollInterval, time.Duration(p.Share)*usual))
	}
}
