package health

import (
	"sync"
	"time"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// A Health judges each family by the work that waits. It is safe for concurrent
// use.
type Health struct {
	mu       sync.Mutex
	timeout  time.Duration
	families map[proxier.Family]*work
}

// work is what one family has to do.
type work struct {
	// waits is since when something has been due without a good pass; zero when
	// all is done. While work waits this has a monotonic clock reading, which UTC
	// would take away: a clock that is set makes nobody ill, or well.
	waits time.Time
	// updated is when the last good pass ended; zero before the first.
	updated time.Time
}

// New returns a Health that calls a family unhealthy when work has waited for
// that long. A family counts from its first Due on.
func New(timeout time.Duration) *Health {
	return &Health{timeout: timeout, families: map[proxier.Family]*work{}}
}

// SetTimeout changes for how long work may wait, that which waits already
// included.
func (h *Health) SetTimeout(timeout time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.timeout = timeout
}

// Due says that a family has something to do.
func (h *Health) Due(family proxier.Family) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.families[family]
	if w == nil {
		w = &work{}
		h.families[family] = w
	}
	if w.waits.IsZero() {
		w.waits = time.Now()
	}
}

// Done says that a family has done all that was due.
func (h *Health) Done(family proxier.Family) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.families[family] = &work{updated: time.Now()}
}

// Begun reports whether each family that has had something to do has done it once.
func (h *Health) Begun() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.families {
		if w.updated.IsZero() {
			return false
		}
	}
	return len(h.families) > 0
}

// Healthy reports whether no family's work has waited for too long.
func (h *Health) Healthy() bool {
	return h.read().healthy
}

// A reading is what a Health says at one moment.
type reading struct {
	at       time.Time
	healthy  bool
	updated  time.Time // of the family that was updated last
	families map[proxier.Family]familyReading
}

type familyReading struct {
	work
	healthy bool
}

func (h *Health) read() reading {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := time.Now()
	r := reading{at: at.UTC(), healthy: true, families: make(map[proxier.Family]familyReading, len(h.families))}
	for family, w := range h.families {
		healthy := w.waits.IsZero() || at.Sub(w.waits) < h.timeout
		r.families[family] = familyReading{work{w.waits.UTC(), w.updated.UTC()}, healthy}
		r.healthy = r.healthy && healthy
		if w.updated.After(r.updated) {
			r.updated = w.updated
		}
	}
	r.updated = r.updated.UTC()
	return r
}

// now is in UTC, so that nodes in different time zones answer alike.
func now() time.Time { return time.Now().UTC() }
