package proxier

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Sentry notices when somebody else changes what a dataplane wrote, so that
// it is repaired at once rather than at the next comparison.
type Sentry interface {
	// Dataplane is the Name of the one it watches.
	Dataplane() string
	// Watch calls tell whenever what the dataplane wrote may be different, until
	// ctx ends. What the dataplane itself writes is not told.
	Watch(ctx context.Context, tell func(Drift)) error
	// Recheck makes the dataplane's next Plan look at what was told so far. The
	// goroutine that plans calls it.
	Recheck()
}

// A Drift is a sign that another process changed the kernel.
type Drift struct {
	Cause Cause
	// Writer is who did it, as far as is known.
	Writer Writer
	// What is a short word on what is different, such as "nat KUBE-SERVICES".
	What string
}

// String is such as "nft[123]: nat KUBE-SERVICES".
func (d Drift) String() string {
	words := make([]string, 0, 2)
	for _, s := range []string{d.Writer.String(), d.What} {
		if s != "" {
			words = append(words, s)
		}
	}
	return strings.Join(words, ": ")
}

// A Cause is how drift was noticed.
type Cause string

// The causes.
const (
	// Notified means that the kernel told.
	Notified Cause = "notification"
	// Polled means that a look at little cost found a difference.
	Polled Cause = "poll"
	// Compared means that the comparison at each sync period found it.
	Compared Cause = "comparison"
)

// A Writer is a process; the zero Writer is not known.
type Writer struct {
	// PID is as the first PID namespace counts.
	PID int
	// Name is the kernel's: up to 15 bytes of the program's.
	Name string
}

// String is such as "nft[123]"; empty for one that is not known.
func (w Writer) String() string {
	if w == (Writer{}) {
		return ""
	}
	return fmt.Sprintf("%s[%d]", w.Name, w.PID)
}

// A guard gathers what Sentries tell, until it may be looked at.
type guard struct {
	// wake receives when there is something to look at, or when a pass finds
	// something out by being made; it may be nil.
	wake chan struct{}

	mu       sync.Mutex
	posts    map[string]*post // by dataplane
	watching int              // Sentries
}

// A post is what is known of one dataplane.
type post struct {
	feud feud
	told []told
	// due is whether it may be looked at; before that timer runs.
	due   bool
	timer *time.Timer
	// peace runs while there is a feud, until it may be over.
	peace *time.Timer
}

// told is what one Sentry said.
type told struct {
	sentry Sentry
	drift  Drift
}

// maxTold bounds what is remembered: who writes a thousand times is known after
// a few.
const maxTold = 16

// watch starts the Sentries. What fails ends none of the others: the regular
// comparison stays, and a pass finds out that it is due sooner.
func (r *Reconciler) watch(ctx context.Context, running *sync.WaitGroup) {
	r.guard.wake = make(chan struct{}, 1)
	for _, s := range r.Sentries {
		r.guard.count(+1)
		running.Go(func() {
			err := s.Watch(ctx, func(d Drift) { r.guard.alarm(told{s, d}, time.Now()) })
			r.guard.count(-1)
			r.guard.ring()
			if err != nil && ctx.Err() == nil && r.SentryFailed != nil {
				r.SentryFailed(s, err)
			}
		})
	}
}

// count is told of Sentries that begin to watch, or watch no more.
func (g *guard) count(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.watching += n
}

// watchedBy reports whether all these Sentries watch, and there are any.
func (g *guard) watchedBy(all []Sentry) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(all) > 0 && g.watching == len(all)
}

func (g *guard) post(dataplane string) *post {
	p := g.posts[dataplane]
	if p == nil {
		p = &post{}
		if g.posts == nil {
			g.posts = map[string]*post{}
		}
		g.posts[dataplane] = p
	}
	return p
}

// alarm takes up what a Sentry tells, and sees to it that somebody looks: at
// once, or when a feud allows it.
func (g *guard) alarm(t told, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.post(t.sentry.Dataplane())
	p.add(t)
	switch wait := p.feud.next.Sub(now); {
	case p.due || p.timer != nil:
	case wait <= 0:
		p.due = true
		g.ring()
	default:
		p.timer = time.AfterFunc(wait, func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			p.timer = nil
			p.due = len(p.told) > 0
			g.ring()
		})
	}
}

// add keeps each thing once, and each Sentry.
func (p *post) add(t told) {
	known := slices.ContainsFunc(p.told, func(o told) bool { return o.sentry == t.sentry })
	if slices.Contains(p.told, t) || known && len(p.told) >= maxTold {
		return
	}
	p.told = append(p.told, t)
}

// ring wakes the Reconciler.
func (g *guard) ring() {
	select {
	case g.wake <- struct{}{}:
	default: // it is about to look, or nobody listens
	}
}

// take has the dataplane's next Plan look at what was told, if it is due or the
// kernel is looked at anyway.
func (g *guard) take(dataplane string, looking bool) []told {
	g.mu.Lock()
	p := g.posts[dataplane]
	if p == nil || !p.due && !looking {
		g.mu.Unlock()
		return nil
	}
	all := p.told
	p.told, p.due = nil, false
	g.mu.Unlock()
	var asked []Sentry
	for _, t := range all {
		if !slices.Contains(asked, t.sentry) {
			asked = append(asked, t.sentry)
			t.sentry.Recheck()
		}
	}
	return all
}

// putBack is for what was taken by a pass that failed: the next one looks
// again.
func (g *guard) putBack(dataplane string, all []told) {
	if len(all) == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.post(dataplane)
	for _, t := range all {
		p.add(t)
	}
	p.due = true
}

// judge completes the report of a pass that did not fail: it tells what is being
// repaired from what was asked for, and who fights over it.
func (g *guard) judge(report *Report, all []told, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.posts[report.Dataplane]
	if report.Drift {
		for _, t := range all {
			report.Noticed = append(report.Noticed, t.drift)
		}
		if len(report.Noticed) == 0 {
			report.Noticed = []Drift{{Cause: Compared}}
		}
		p = g.post(report.Dataplane)
		p.feud.repaired(now)
	}
	if p != nil {
		report.Feud = p.feud.report(now)
		g.awaitPeace(p, now)
	}
}

// awaitPeace has a pass made when a feud is over, which tells of it: nothing else may
// make one for long. g.mu is held.
func (g *guard) awaitPeace(p *post, now time.Time) {
	if p.peace != nil {
		p.peace.Stop()
		p.peace = nil
	}
	if over, fought := p.feud.over(); fought {
		p.peace = time.AfterFunc(over.Sub(now), g.ring)
	}
}

// stop ends all timers.
func (g *guard) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.posts {
		for _, timer := range []*time.Timer{p.timer, p.peace} {
			if timer != nil {
				timer.Stop()
			}
		}
	}
}
