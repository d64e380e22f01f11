package phase

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/benchscale/measure"
)

// Between two looks at something that takes long already, one waits longer: a
// fiftieth of it, at most maxPause. That bounds the error, and what looking costs.
const maxPause = 250 * time.Millisecond

func pause(ctx context.Context, least time.Duration, since time.Time) error {
	timer := time.NewTimer(min(max(least, time.Since(since)/50), max(least, maxPause)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// A program has settled when it uses no more than quietCPU, or quietCPUInVM, in each of quietTimes
// intervals of quietInterval.
const (
	quietInterval = 500 * time.Millisecond
	quietCPU      = 15 * time.Millisecond
	quietTimes    = 4
	// In the emulated machine everything takes longer, what is always done, too.
	quietCPUInVM = 75 * time.Millisecond
)

// settle waits until the program has nothing more to do, and returns the CPU time
// used up to the beginning of that quiet.
func (r *runner) settle(ctx context.Context) (time.Duration, error) {
	before, err := r.cgroup.CPU()
	if err != nil {
		return 0, err
	}
	limit := quietCPU
	if r.run.VM {
		limit = quietCPUInVM
	}
	settled, quiet := before, 0
	for quiet < quietTimes {
		if err := pause(ctx, quietInterval, time.Now()); err != nil {
			return 0, fmt.Errorf("it does not settle: %w", err)
		}
		if err := r.process.Ended(); err != nil {
			return 0, err
		}
		now, err := r.cgroup.CPU()
		if err != nil {
			return 0, err
		}
		if now-before > limit {
			settled, quiet = now, 0
		} else {
			quiet++
		}
		before = now
	}
	return settled, nil
}

// tryPatience is how long one connection may take to show that its Service is
// served. It takes well under a millisecond.
const tryPatience = 100 * time.Millisecond

// awaitServed waits until all frontends answer, and returns when the last one did.
func (r *runner) awaitServed(ctx context.Context, frontends []netip.AddrPort) (time.Time, error) {
	start := time.Now()
	for {
		var err error
		frontends, err = r.unserved(frontends)
		switch {
		case err != nil:
			return time.Time{}, err
		case len(frontends) == 0:
			return time.Now(), nil
		}
		if err := pause(ctx, 10*time.Millisecond, start); err != nil {
			return time.Time{}, fmt.Errorf("%d Services are not served: %w", len(frontends), err)
		}
	}
}

// unserved goes through the frontends up to the first one that does not answer,
// and returns that with the rest.
func (r *runner) unserved(frontends []netip.AddrPort) (rest []netip.AddrPort, err error) {
	err = r.stage.node.caller.Do(func() error {
		for len(frontends) > 0 {
			if _, err := measure.Connect(frontends[0], tryPatience); err != nil {
				return nil //nolint:nilerr // that is the answer
			}
			frontends = frontends[1:]
		}
		return nil
	})
	return frontends, errors.Join(err, r.process.Ended())
}
