package proxier_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A slow dataplane remembers which States it was asked for, and takes a while.
type slow struct {
	takes time.Duration

	mu      sync.Mutex
	states  []*proxier.State
	at      []time.Time
	forgets int
	fail    error
	more    int // how many plans are only a part
}

func (s *slow) Name() string { return "slow" }

func (s *slow) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgets++
}

func (s *slow) Plan(_ context.Context, state *proxier.State) (proxier.Plan, error) {
	<-time.After(s.takes)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.states, s.at = append(s.states, state), append(s.at, time.Now())
	s.more--
	return part{more: s.more >= 0}, s.fail
}

func count(r *recorder) int {
	passes, _ := r.seen()
	return len(passes)
}

func (s *slow) seen() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.states)
}

// A part is a plan that another may have to follow.
type part struct {
	recorded
	more bool
}

func (p part) Empty() bool              { return true }
func (p part) Summary() proxier.Summary { return proxier.Summary{More: p.more} }

// A tally keeps all reports.
type tally struct {
	mu      sync.Mutex
	reports []proxier.Report
}

func (r *tally) Synced(report proxier.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reports = append(r.reports, report)
}

// follow runs a Reconciler with a dataplane and a follower.
func follow(t *testing.T, f proxier.Dataplane, test func(store *proxier.Store, first *recorder, seen *tally)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := clustergen.Uniform(3, 1)
		first, seen := &recorder{start: time.Now(), empty: true}, &tally{}
		r := proxier.Reconciler{
			Store: store, Options: clustergen.Options(proxier.IPv4), Reporter: seen, Pacer: pacer,
			Dataplanes: []proxier.Dataplane{first}, Followers: []proxier.Dataplane{f},
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		synctest.Wait()
		test(store, first, seen)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v, want what ended its context", err)
		}
	})
}

func TestAFollowerHoldsUpNoPassAndSkipsToTheLastState(t *testing.T) {
	f := &slow{takes: 10 * time.Second}
	follow(t, f, func(store *proxier.Store, first *recorder, _ *tally) {
		for n := range 5 {
			store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv4, 1, n+1))
			pass(1500 * time.Millisecond)
		}
		if n := count(first); n != 6 {
			t.Errorf("%d passes in 7.5 s with a change every 1.5 s, want 6: the follower held them up", n)
		}
		pass(20 * time.Second)
		if n := f.seen(); n != 2 {
			t.Fatalf("the follower saw %d States, want the first and the last", n)
		}
		endpoint := f.states[1].Services[0].Targets[0].Endpoints[0].Addr
		if want := clustergen.Slice(0, proxier.IPv4, 1, 5).Endpoints[0].Addresses[0]; endpoint.Addr().String() != want {
			t.Errorf("the State it saw last has endpoint %s, want the last one, %s", endpoint.Addr(), want)
		}
	})
}

func TestAFollowerWaitsForAGoodPass(t *testing.T) {
	f := &slow{}
	follow(t, f, func(store *proxier.Store, first *recorder, _ *tally) {
		first.answer(errors.New("no iptables"), true)
		before := f.seen()
		store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv4, 1, 1))
		pass(5 * time.Second)
		if n := f.seen(); n != before {
			t.Errorf("the follower saw %d States that were not applied", n-before)
		}
		first.answer(nil, true)
		pass(31 * time.Second)
		if n := f.seen(); n == before {
			t.Error("the follower did not see the State that was applied in the end")
		}
	})
}

func TestAFollowerThatFailsTriesAgainAndFailsNobodyElse(t *testing.T) {
	f := &slow{fail: errors.New("no buffer space")}
	follow(t, f, func(_ *proxier.Store, first *recorder, seen *tally) {
		pass(30 * time.Second)
		f.mu.Lock()
		tried, forgets := len(f.states), f.forgets
		f.fail = nil
		f.mu.Unlock()
		if tried < 3 || tried > 30 || forgets != tried {
			t.Errorf("%d tries in 30 s and %d times forgotten, want a few tries, ever more slowly", tried, forgets)
		}
		if n := count(first); n != 1 {
			t.Errorf("%d passes of the dataplane before it, want 1", n)
		}
		pass(31 * time.Second)
		if n := f.seen(); n == tried {
			t.Error("it did not try again after the failure ended")
		}
		var failed int
		for _, r := range seen.reports {
			if r.Err != nil {
				failed++
			}
			if r.Following != (r.Dataplane == "slow") {
				t.Errorf("the report of %s says following: %v", r.Dataplane, r.Following)
			}
		}
		if failed != tried {
			t.Errorf("%d failures are reported, want %d", failed, tried)
		}
	})
}

// A powerless dataplane plans what fails when it is applied.
type powerless struct {
	mu   sync.Mutex
	plan string // empty for nothing to do
	fail error
}

func (*powerless) Name() string { return "powerless" }
func (*powerless) Forget()      {}

func (f *powerless) Plan(context.Context, *proxier.State) (proxier.Plan, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return vain{text: f.plan, fail: f.fail}, nil
}

func (f *powerless) become(plan string, fail error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plan, f.fail = plan, fail
}

type vain struct {
	recorded
	text string
	fail error
}

func (v vain) Empty() bool                                      { return v.text == "" }
func (v vain) String() string                                   { return v.text }
func (v vain) Apply(context.Context) ([]proxier.Refusal, error) { return nil, v.fail }

// Passes that put objects into force come each few seconds, and an alert asks how
// many fail in ten minutes.
func TestWhatFailsWheneverItIsAppliedIsTriedRarely(t *testing.T) {
	f := &powerless{plan: "a", fail: errors.New("read-only file system")}
	follow(t, f, func(store *proxier.Store, _ *recorder, seen *tally) {
		tries := func(changing time.Duration) (failed, succeeded int) {
			seen.mu.Lock()
			seen.reports = nil
			seen.mu.Unlock()
			for n := range int(changing / (2 * time.Second)) {
				store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv4, 1, n+1))
				pass(2 * time.Second)
			}
			seen.mu.Lock()
			defer seen.mu.Unlock()
			for _, r := range seen.reports {
				switch {
				case !r.Following:
				case r.Err != nil:
					failed++
				default:
					succeeded++
				}
			}
			return failed, succeeded
		}
		expect := func(what string, during time.Duration, wantFailed int, wantSuccess bool) {
			t.Helper()
			if failed, succeeded := tries(during); failed != wantFailed || succeeded > 0 != wantSuccess {
				t.Errorf("%s: %d tries fail and %d succeed, want %d and %v", what, failed, succeeded, wantFailed, wantSuccess)
			}
		}
		expect("at first", 9*time.Minute, 1, false) // after the one before
		expect("the next half hour", 30*time.Minute, 3, false)
		f.become("b", f.fail)
		expect("another plan", 9*time.Minute, 2, false)
		f.become("b", nil)
		pass(10 * time.Minute)
		if n := len(seen.reports); seen.reports[n-1].Err != nil {
			t.Error("what has become possible is not tried where no object changes")
		}
		f.become("b", errors.New("read-only file system"))
		expect("it fails again", 9*time.Minute, 2, false)
		f.become("", nil)
		expect("somebody else has done it", time.Minute, 0, true)
	})
}

func TestAFollowerGoesOnWhereThereIsMore(t *testing.T) {
	f := &slow{more: 3}
	follow(t, f, func(*proxier.Store, *recorder, *tally) {
		pass(20 * time.Second)
		if n := f.seen(); n != 4 {
			t.Fatalf("%d passes for work in 4 parts", n)
		}
		for i := 1; i < len(f.at); i++ {
			if gap := f.at[i].Sub(f.at[i-1]); gap < pacer.MinInterval {
				t.Errorf("parts %d and %d are only %v apart", i-1, i, gap)
			}
		}
	})
}

// A sleeper is a dataplane that wakes by itself.
type sleeper struct {
	slow
	wake chan struct{}
}

// Wake makes the channel in the bubble of the test, where it is asked for.
func (s *sleeper) Wake() <-chan struct{} {
	s.wake = make(chan struct{}, 1)
	return s.wake
}

func TestAFollowerThatWakesIsAskedAgain(t *testing.T) {
	f := &sleeper{}
	follow(t, f, func(_ *proxier.Store, first *recorder, _ *tally) {
		pass(5 * time.Second)
		before, passes := f.seen(), count(first)
		f.wake <- struct{}{}
		pass(5 * time.Second)
		if n := f.seen() - before; n != 1 {
			t.Errorf("it was asked %d times after it woke, want once", n)
		}
		if n := count(first) - passes; n != 0 {
			t.Errorf("%d passes were made for it", n)
		}
	})
}

func TestAFollowerLooksAgainFromTimeToTimeAsFarAsThatIsCheap(t *testing.T) {
	f := &slow{takes: 300 * time.Millisecond} // a thousandth of the time: once in 5 minutes
	follow(t, f, func(*proxier.Store, *recorder, *tally) {
		pass(time.Hour) // with passes all the time, each of which may make work
		if f.forgets < 11 || f.forgets > 13 {
			t.Errorf("it forgot %d times in an idle hour, want once in 5 minutes", f.forgets)
		}
	})
}

func TestAFollowerLooksAgainAfterDrift(t *testing.T) {
	f := &slow{takes: 3 * time.Second}
	follow(t, f, func(_ *proxier.Store, first *recorder, _ *tally) {
		pass(30 * time.Second)
		first.answer(nil, false) // each comparison, once a minute, finds something to repair
		pass(time.Minute)
		if f.forgets != 2 {
			t.Errorf("it forgot %d times, want once at the start and once after the pass that repaired drift", f.forgets)
		}
	})
}
