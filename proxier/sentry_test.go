package proxier_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A sentry of the recorder that tells what the test wants.
type sentry struct {
	tell  chan func(proxier.Drift)
	fail  error // of Watch, after a while
	after time.Duration

	mu       sync.Mutex
	rechecks int
}

func newSentry() *sentry { return &sentry{} }

func (s *sentry) Dataplane() string { return "recorder" }

func (s *sentry) Watch(ctx context.Context, tell func(proxier.Drift)) error {
	s.tell <- tell
	if s.fail != nil {
		select {
		case <-ctx.Done():
		case <-time.After(s.after):
			return s.fail
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s *sentry) Recheck() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rechecks++
}

func (s *sentry) checked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rechecks
}

// Without the regular comparison, and with a long pause between passes.
var seldom = proxier.Pacer{MinInterval: time.Minute, MaxBackoff: 30 * time.Second}

var byNFT = proxier.Drift{Cause: proxier.Notified, Writer: proxier.Writer{PID: 7, Name: "nft"}, What: "nat KUBE-SERVICES"}

func TestDriftIsRepairedAtOnce(t *testing.T) {
	s := newSentry()
	runWatched(t, seldom, clustergen.Uniform(3, 1), s, func(d *recorder, seen *reporter) {
		tell := <-s.tell
		d.answer(nil, false)
		tell(byNFT)
		pass(time.Millisecond)
		if n := count(d); n != 2 {
			t.Errorf("%d passes a millisecond after drift was told, want the second: no pause counts", n)
		}
		last := seen.seen()
		if want := []proxier.Drift{byNFT}; !last.Drift || !cmp.Equal(last.Noticed, want) || s.checked() != 1 {
			t.Errorf("the report says drift %v, noticed %v after %d rechecks; want %v", last.Drift, last.Noticed, s.checked(), want)
		}
		if last.Feud != nil {
			t.Errorf("one repair is a feud: %+v", last.Feud)
		}
	})
}

// Comparing finds only what a Sentry overlooks: an idle node shall stay one.
func TestTheKernelIsComparedSeldomWhereItIsWatched(t *testing.T) {
	one := func(s *sentry) []*sentry { return []*sentry{s} }
	fails := errors.New("no memory")
	for _, test := range []struct {
		name        string
		sentries    []*sentry
		takes       time.Duration
		refuse      bool
		least, most int // passes in ten hours
	}{
		{"nobody watches", nil, 10 * time.Millisecond, false, 598, 601},
		{"a small cluster", one(newSentry()), 10 * time.Millisecond, false, 9, 11},
		{"a large cluster", one(newSentry()), time.Second, false, 9, 11},
		{"a Sentry that has failed", one(&sentry{fail: fails}), 10 * time.Millisecond, false, 598, 601},
		{"one of two that has failed", []*sentry{newSentry(), {fail: fails}}, 10 * time.Millisecond, false, 598, 601},
		{"something is refused, and to be tried again", one(newSentry()), 10 * time.Millisecond, true, 598, 601},
	} {
		t.Run(test.name, func(t *testing.T) {
			runWith(t, pacer, clustergen.Uniform(3, 1), test.sentries, func(d *recorder, _ *reporter) {
				d.takes(test.takes)
				d.refuses(test.refuse)
				pass(3 * time.Hour) // how long the first one took does not count any more
				before := count(d)
				pass(10 * time.Hour)
				if n := count(d) - before; n < test.least || n > test.most {
					t.Errorf("%d comparisons of %v in ten hours, want %d to %d", n, test.takes, test.least, test.most)
				}
			})
		})
	}
}

// What nobody watches any more is compared at the sync period from then on, and not
// only after the hour that was to pass while it was watched.
func TestTheKernelIsComparedSoonWhenASentryFails(t *testing.T) {
	sentries := []*sentry{newSentry(), {fail: errors.New("no memory"), after: 90 * time.Minute}}
	runWith(t, pacer, clustergen.Uniform(3, 1), sentries, func(d *recorder, _ *reporter) {
		pass(89 * time.Minute)
		before := count(d)
		pass(6 * time.Minute)
		if n := count(d) - before; n < 5 || n > 7 {
			t.Errorf("%d passes within five minutes of a Sentry's end, want one at once and then one a minute", n)
		}
	})
}

// While something is written, a Sentry overlooks most.
func TestTheKernelIsComparedSoonerAfterAWrite(t *testing.T) {
	store := clustergen.Uniform(3, 1)
	runWatched(t, pacer, store, newSentry(), func(d *recorder, _ *reporter) {
		d.takes(100 * time.Millisecond)
		pass(65 * time.Minute) // now it is compared each hour
		before := count(d)
		pass(5 * time.Minute)
		if n := count(d) - before; n > 0 {
			t.Fatalf("%d passes in an idle time of five minutes: the test shows nothing", n)
		}
		d.answer(nil, false)
		store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv4, 1, 1))
		pass(500 * time.Millisecond)
		d.answer(nil, true)
		pass(2 * time.Minute)
		if n := count(d) - before; n != 2 {
			t.Errorf("%d passes within two minutes of a change, want that and a comparison", n)
		}
		pass(5 * time.Minute)
		if n := count(d) - before; n != 2 {
			t.Errorf("%d passes when it is idle again, want none more", n-2)
		}
	})
}

// What counts is what comparing costs, not how long it takes on a busy machine.
func TestTheKernelIsComparedAsSoonOnABusyMachine(t *testing.T) {
	for _, test := range []struct {
		name string
		busy float64 // how much of the time is CPU time of ours
		want int
	}{{"by us", 1, 1}, {"by others", 1e-3, 2}} {
		t.Run(test.name, func(t *testing.T) {
			store := clustergen.Uniform(3, 1)
			busy := pacer
			busy.CPUTime = func() time.Duration { return time.Duration(test.busy * float64(time.Now().UnixNano())) }
			runWatched(t, busy, store, newSentry(), func(d *recorder, _ *reporter) {
				d.takes(10 * time.Second)
				pass(65 * time.Minute) // now it is compared each hour
				before := count(d)
				d.answer(nil, false)
				store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv4, 1, 1))
				pass(10500 * time.Millisecond)
				d.answer(nil, true)
				pass(2 * time.Minute)
				if n := count(d) - before; n != test.want {
					t.Errorf("%d passes within two minutes of a change, want %d", n, test.want)
				}
			})
		})
	}
}

func TestAFalseAlarmIsNoDrift(t *testing.T) {
	s := newSentry()
	runWatched(t, seldom, clustergen.Uniform(3, 1), s, func(d *recorder, seen *reporter) {
		tell := <-s.tell
		for range 3 * proxier.FeudRepairs {
			before := count(d)
			tell(byNFT)
			pass(time.Millisecond)
			if n := count(d) - before; n != 1 {
				t.Fatalf("%d passes after a false alarm, want 1", n)
			}
		}
		if last := seen.seen(); last.Drift || last.Feud != nil {
			t.Errorf("where nothing had to be repaired the report says %+v", last)
		}
	})
}

func TestAFeudIsDamped(t *testing.T) {
	s, store := newSentry(), clustergen.Uniform(3, 1)
	pacer := proxier.Pacer{MaxBackoff: 30 * time.Second}
	runWatched(t, pacer, store, s, func(d *recorder, seen *reporter) {
		tell := <-s.tell
		d.answer(nil, false)
		start := time.Now()
		// Somebody puts the rule back whenever it was removed, for ten minutes.
		for time.Since(start) < 10*time.Minute {
			tell(byNFT)
			pass(100 * time.Millisecond)
		}
		repairs := s.checked()
		if repairs < 15 || repairs > 25 {
			t.Errorf("%d repairs in ten minutes, want some at once and then ever fewer, down to one a minute", repairs)
		}
		last := seen.seen()
		if last.Feud == nil || last.Feud.Wait != time.Minute || last.Feud.Repairs != repairs {
			t.Errorf("after %d repairs the feud is %+v", repairs, last.Feud)
		}
		// Objects change: that is done at once, and is no repair.
		before := count(d)
		store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv4, 1, 1))
		pass(time.Millisecond)
		if n := count(d) - before; n != 1 || s.checked() != repairs {
			t.Errorf("%d passes, %d repairs for a change amid a feud; want 1 pass", n, s.checked()-repairs)
		}
		// The other side gives up; what it did last is still repaired, and later
		// drift is repaired at once.
		pass(time.Minute)
		if s.checked() != repairs+1 {
			t.Errorf("%d repairs after the last drift, want 1", s.checked()-repairs)
		}
		pass(3 * time.Minute)
		if last := seen.seen(); last.Feud != nil {
			t.Errorf("after three minutes of peace the last report says %+v", last.Feud)
		}
		tell(byNFT)
		pass(time.Millisecond)
		if s.checked() != repairs+2 || seen.seen().Feud != nil {
			t.Errorf("after peace, a repair is made %d times with feud %+v; want once, at once", s.checked()-repairs-1, seen.seen().Feud)
		}
	})
}

func TestWhatAFailedPassWasToLookAtIsNotLost(t *testing.T) {
	s := newSentry()
	runWatched(t, seldom, clustergen.Uniform(3, 1), s, func(d *recorder, seen *reporter) {
		tell := <-s.tell
		d.answer(errors.New("no iptables"), false)
		tell(byNFT)
		pass(time.Millisecond)
		d.answer(nil, false)
		pass(2 * time.Minute)
		if last := seen.seen(); !last.Drift || !cmp.Equal(last.Noticed, []proxier.Drift{byNFT}) {
			t.Errorf("after a failure the report says drift %v, noticed %v", last.Drift, last.Noticed)
		}
	})
}

func TestAPassAfterAFailedOneRepairsNothing(t *testing.T) {
	store := clustergen.Uniform(3, 1)
	run(t, pacer, store, func(d *recorder, seen *reporter) {
		d.answer(errors.New("no iptables"), false)
		store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv4, 1, 1))
		pass(2 * time.Second)
		d.answer(nil, false)
		pass(10 * time.Second) // longer than any of the waits so far
		if last := seen.seen(); last.Err != nil || last.Drift {
			t.Errorf("the repetition of a failed pass is reported as %+v, want no drift", last)
		}
	})
}

func TestANudgedPollDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nudge := make(chan struct{}, 1)
		var glances atomic.Int64
		p := &proxier.Poll{Name: "recorder", Share: 100, Nudge: nudge, Glance: func(context.Context) (string, error) {
			time.Sleep(100 * time.Millisecond)
			glances.Add(1)
			return "", nil
		}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Watch(ctx, func(proxier.Drift) {}) }()
		pass(5 * time.Second) // the first Glance, and far less than 10 s since
		before := glances.Load()
		nudge <- struct{}{}
		pass(101 * time.Millisecond)
		if n := glances.Load() - before; n != 1 {
			t.Errorf("%d glances after a nudge, want one, at once", n)
		}
		before = glances.Load()
		for range 100 {
			select {
			case nudge <- struct{}{}:
			default:
			}
			pass(100 * time.Millisecond)
		}
		if n := glances.Load() - before; n < 8 || n > 10 {
			t.Errorf("%d glances of 100 ms under nudges for 10 s, want nine: a tenth of the time", n)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch returned %v", err)
		}
	})
}

func TestAPollTakesLittleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var takes, glances, told atomic.Int64
		p := &proxier.Poll{Name: "recorder", Share: 100, Glance: func(context.Context) (string, error) {
			time.Sleep(time.Duration(takes.Load()))
			if glances.Add(1)%2 == 0 {
				return "", errors.New("no answer")
			}
			return "something", nil
		}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Watch(ctx, func(proxier.Drift) { told.Add(1) }) }()
		pass(time.Minute)
		if g, n := glances.Load(), told.Load(); g < 100 || n != (g+1)/2 {
			t.Errorf("%d glances in a minute, of which %d told something; want two a second, and half of them", g, n)
		}
		takes.Store(int64(100 * time.Millisecond))
		pass(time.Second)
		before := glances.Load()
		pass(100 * time.Second)
		if n := glances.Load() - before; n < 9 || n > 11 {
			t.Errorf("%d glances of 100 ms in 100 s, want ten", n)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch returned %v", err)
		}
	})
}

func TestAPollIsNotPutOffByOneGlanceThatWasHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var glances atomic.Int64
		p := &proxier.Poll{Name: "recorder", Share: 500, Glance: func(context.Context) (string, error) {
			if glances.Add(1)%10 == 1 {
				time.Sleep(time.Second)
			}
			return "", nil
		}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Watch(ctx, func(proxier.Drift) {}) }()
		pass(time.Minute)
		if n := glances.Load(); n < 90 {
			t.Errorf("%d glances in a minute, of which each tenth was held up for a second; want about 100", n)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch returned %v", err)
		}
	})
}
