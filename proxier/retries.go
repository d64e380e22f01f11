package proxier

import (
	"slices"
	"time"
)

// How long a Service port that was refused waits until it is tried again
// although it has not changed: at first, and at most after failures.
const (
	FirstRetry   = time.Minute
	SlowestRetry = 10 * time.Minute
)

// Retries decides when the Service ports that the kernel refused are tried again
// although they have not changed, for what it refused them for may pass: a module
// is loaded, a limit raised, or an error was not what it seemed. One is tried for
// all, since each that is still refused costs its pass more writes; after that
// twice as many at each pass until one is refused. The zero value is ready.
type Retries struct {
	refused map[*Target]bool // at the end of the last pass
	trying  []*Target
	last    ServicePortName // of those tried
	again   time.Time
	pause   time.Duration
	batch   int
}

// Take returns those of the refused ports, in the order of the State, that this
// pass is to try again. They take turns.
func (r *Retries) Take(now time.Time, refused []*Target) []*Target {
	if len(refused) == 0 || r.again.IsZero() || now.Before(r.again) {
		return nil
	}
	r.again = now.Add(r.pause) // also when the pass fails
	next := max(0, slices.IndexFunc(refused, func(t *Target) bool { return t.Name.compare(r.last) > 0 }))
	r.trying = slices.Concat(refused[next:], refused[:next])[:min(r.batch, len(refused))]
	r.last = r.trying[len(r.trying)-1].Name
	return r.trying
}

// Done is told which ports are refused at the end of a pass that did not fail.
func (r *Retries) Done(now time.Time, refused []*Target) {
	before := r.refused
	r.refused = make(map[*Target]bool, len(refused))
	fresh, failed := false, false
	for _, t := range refused {
		r.refused[t] = true
		fresh = fresh || !before[t]
		failed = failed || slices.Contains(r.trying, t)
	}
	switch {
	case fresh:
		r.pause, r.batch = FirstRetry, 1
		r.again = now.Add(r.pause)
	case failed:
		r.pause, r.batch = min(2*r.pause, SlowestRetry), 1
		r.again = now.Add(r.pause)
	case len(r.trying) > 0:
		r.pause, r.batch = FirstRetry, 2*r.batch
		r.again = now
	}
	r.trying = nil
}
