package proxier

import (
	"math/rand/v2"
	"time"
)

// A Pacer says how far apart passes are.
type Pacer struct {
	// MinInterval lies at least between the end of a pass and the next one;
	// what changes meanwhile is done in one go.
	MinInterval time.Duration
	// MaxBackoff bounds the wait after failures, which doubles from one second.
	MaxBackoff time.Duration
	// Resync is how often the kernel is compared although nothing changed; 0
	// for never.
	Resync time.Duration
}

// backoff is how long to wait after that many failures in a row. Half of it is
// random, so that the nodes of a cluster do not try all at once.
func (p Pacer) backoff(failures int) time.Duration {
	wait := time.Second << min(failures-1, 20)
	wait = max(min(wait, p.MaxBackoff), p.MinInterval)
	return wait/2 + rand.N(wait/2+1)
}

// resyncShare bounds what comparing costs: at most a hundredth of the time.
const resyncShare = 100

// resync is when to compare next, if the last comparison took that long.
func (p Pacer) resync(took time.Duration) time.Duration {
	return max(p.Resync, took*resyncShare)
}
