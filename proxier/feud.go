package proxier

import (
	"slices"
	"time"
)

// A Feud is a fight with another writer that keeps undoing our repairs. These are
// then made ever more rarely; changes of objects are still made at once.
type Feud struct {
	// Repairs are all so far, with those that made it a Feud.
	Repairs int
	// Wait lies at least between a repair and the next.
	Wait time.Duration
	// Since is when it began.
	Since time.Time
}

// What makes a Feud, and how it is damped.
const (
	// FeudRepairs within a FeudWindow are a Feud. It ends when nothing had to be
	// repaired for a FeudWindow, though it might have been.
	FeudRepairs = 5
	FeudWindow  = time.Minute
	// The wait doubles with each repair.
	feudFirstWait = time.Second
	feudMaxWait   = time.Minute
)

// A feud counts the repairs of one dataplane.
type feud struct {
	repairs []time.Time // within the window, while there is no feud
	total   int         // all, once there is one
	wait    time.Duration
	since   time.Time
	next    time.Time // when the next repair may be made
}

// repaired counts a repair.
func (f *feud) repaired(now time.Time) {
	f.settle(now)
	if f.wait > 0 {
		f.total++
		f.wait = min(2*f.wait, feudMaxWait)
	} else {
		f.repairs = slices.DeleteFunc(f.repairs, func(t time.Time) bool { return now.Sub(t) >= FeudWindow })
		f.repairs = append(f.repairs, now)
		if f.total = len(f.repairs); f.total >= FeudRepairs {
			f.wait, f.since = feudFirstWait, now
		}
	}
	f.next = now.Add(f.wait)
}

// settle ends a feud that the other side has given up.
func (f *feud) settle(now time.Time) {
	if over, fought := f.over(); fought && !now.Before(over) {
		*f = feud{}
	}
}

// over is when the feud is over unless something has to be repaired before; false
// without a feud.
func (f *feud) over() (time.Time, bool) { return f.next.Add(FeudWindow), f.wait > 0 }

// report is nil without a feud.
func (f *feud) report(now time.Time) *Feud {
	f.settle(now)
	if f.wait == 0 {
		return nil
	}
	return &Feud{Repairs: f.total, Wait: f.wait, Since: f.since}
}
