package proxier_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A dataplane that remembers when it was asked, and fails on demand. It is asked
// by the Reconciler while the test looks at it.
type recorder struct {
	start time.Time

	mu     sync.Mutex
	passes []time.Duration // since the start
	forgot bool
	fail   error
	empty  bool
	refuse bool  // what its plans do
	drift  *bool // what its plans say of themselves; nil for nothing
	took   time.Duration

	wake chan struct{}
}

// Wake makes the recorder a Waker.
func (r *recorder) Wake() <-chan struct{} { return r.wake }

// judge has its plans say whether they are drift.
func (r *recorder) judge(drift bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drift = &drift
}

// A plan that says itself whether it is drift.
type judged struct {
	recorded
	drift bool
}

func (j judged) Findings() proxier.Findings {
	if j.drift {
		return proxier.Findings{} // it is, if no object has changed
	}
	return proxier.Findings{Drift: proxier.DriftNone}
}

// takes has its plans take that long from now on.
func (r *recorder) takes(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.took = d
}

// refuses has its plans say so from now on.
func (r *recorder) refuses(some bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = some
}

// answer has it answer so from now on.
func (r *recorder) answer(fail error, empty bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail, r.empty = fail, empty
}

func (r *recorder) seen() (passes []time.Duration, forgot bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.passes), r.forgot
}

func (r *recorder) Name() string { return "recorder" }

func (r *recorder) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgot = true
}

func (r *recorder) Plan(context.Context, *proxier.State) (proxier.Plan, error) {
	r.mu.Lock()
	took := r.took
	r.passes = append(r.passes, time.Since(r.start))
	r.mu.Unlock()
	time.Sleep(took) // nobody may wait for the lock then: that is no end of work to synctest
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.drift != nil {
		return judged{recorded{r.empty, r.refuse}, *r.drift}, r.fail
	}
	return recorded{r.empty, r.refuse}, r.fail
}

type recorded struct{ empty, refuse bool }

func (r recorded) Empty() bool              { return r.empty }
func (r recorded) String() string           { return "" }
func (r recorded) Diff() string             { return "" }
func (r recorded) Summary() proxier.Summary { return proxier.Summary{} }
func (recorded) Findings() proxier.Findings { return proxier.Findings{} }
func (r recorded) Apply(context.Context) ([]proxier.Refusal, error) {
	if r.refuse {
		return []proxier.Refusal{{Target: &proxier.Target{ServicePort: &proxier.ServicePort{}}, Err: errors.New("refused")}}, nil
	}
	return nil, nil
}

// A reporter that keeps the last report.
type reporter struct {
	mu   sync.Mutex
	last proxier.Report
}

func (r *reporter) Synced(report proxier.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = report
}

func (r *reporter) seen() proxier.Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

func run(t *testing.T, pacer proxier.Pacer, store *proxier.Store, test func(*recorder, *reporter)) {
	t.Helper()
	runWith(t, pacer, store, nil, test)
}

// runWatched is run with a Sentry.
func runWatched(t *testing.T, pacer proxier.Pacer, store *proxier.Store, s *sentry, test func(*recorder, *reporter)) {
	t.Helper()
	runWith(t, pacer, store, []*sentry{s}, test)
}

// runWith is run with Sentries.
func runWith(t *testing.T, pacer proxier.Pacer, store *proxier.Store, sentries []*sentry, test func(*recorder, *reporter)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d, seen := &recorder{start: time.Now(), empty: true, wake: make(chan struct{}, 1)}, &reporter{}
		r := proxier.Reconciler{
			Store: store, Options: clustergen.Options(proxier.IPv4),
			Dataplanes: []proxier.Dataplane{d}, Reporter: seen, Pacer: pacer,
		}
		for _, s := range sentries {
			s.tell = make(chan func(proxier.Drift), 1) // of this bubble
			r.Sentries = append(r.Sentries, s)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		synctest.Wait()
		test(d, seen)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v, want what ended its context", err)
		}
	})
}

// pass lets time go by until nothing happens any more.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

var pacer = proxier.Pacer{MinInterval: time.Second, MaxBackoff: 30 * time.Second, Resync: time.Minute}

func TestNoPassBeforeTheStoreHasSynced(t *testing.T) {
	store := proxier.NewStore()
	run(t, pacer, store, func(d *recorder, _ *reporter) {
		pass(time.Hour)
		if passes, _ := d.seen(); len(passes) != 0 {
			t.Errorf("%d passes over a store that has not synced", len(passes))
		}
		store.SetSynced()
		synctest.Wait()
		if passes, _ := d.seen(); len(passes) != 1 {
			t.Errorf("%d passes after it synced, want 1", len(passes))
		}
	})
}

func TestChangesAreGatheredForTheMinimalInterval(t *testing.T) {
	store := clustergen.Uniform(3, 1)
	run(t, pacer, store, func(d *recorder, _ *reporter) {
		d.answer(nil, false)
		for n := range 25 {
			store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv4, 1, n+1))
			pass(100 * time.Millisecond)
		}
		pass(2 * time.Second)
		passes, _ := d.seen()
		if n := len(passes); n < 3 || n > 5 {
			t.Errorf("%d passes for changes during 2.5 s, want one a second: %v", n, passes)
		}
		for i := 2; i < len(passes); i++ { // the first had nothing to write
			if gap := passes[i] - passes[i-1]; gap < time.Second {
				t.Errorf("passes %d and %d are only %v apart", i-1, i, gap)
			}
		}
	})
}

// What concerns the other family wakes this one, too; that must not delay what
// comes next.
func TestAPassThatWritesNothingDelaysNobody(t *testing.T) {
	store := clustergen.Uniform(3, 1)
	run(t, pacer, store, func(d *recorder, _ *reporter) {
		d.takes(time.Millisecond)
		for n := range 200 {
			store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv6, 1, n+1))
			pass(5 * time.Millisecond)
		}
		passes, _ := d.seen()
		if n := len(passes); n < 50 || n > 101 {
			t.Errorf("%d passes in a second, want one every 11 ms: a tenth of the time", n)
		}
		d.answer(nil, false)
		pass(time.Second)
		before := count(d)
		store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv4, 1, 7))
		pass(20 * time.Millisecond)
		store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv4, 1, 8))
		pass(500 * time.Millisecond)
		if n := count(d) - before; n != 1 {
			t.Errorf("%d passes in half a second that have something to write, want 1", n)
		}
	})
}

func TestAFailedPassIsRepeatedEverMoreSlowly(t *testing.T) {
	store := clustergen.Uniform(3, 1)
	run(t, pacer, store, func(d *recorder, seen *reporter) {
		d.answer(errors.New("no iptables"), true)
		store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv4, 1, 1))
		pass(5 * time.Minute)
		passes, _ := d.seen()
		n := len(passes)
		if n < 10 || n > 40 {
			t.Errorf("%d passes in 5 minutes of failure, want them to slow down to one in 15 to 30 s", n)
		}
		if last := seen.seen(); last.Err == nil || last.Plan != nil {
			t.Errorf("the report of a failed pass is %+v", last)
		}
		d.answer(nil, true)
		pass(31 * time.Second)
		passes, forgot := d.seen()
		if len(passes) != n+1 {
			t.Errorf("%d passes in 31 s after the failure ended, want 1", len(passes)-n)
		}
		if !forgot {
			t.Error("what the kernel holds was believed to be known after a failure")
		}
	})
}

// What a pass remembers may be wrong; when it has looked, only time may help.
func TestAFailureFromMemoryIsRepeatedAtOnceButOnce(t *testing.T) {
	store := clustergen.Uniform(3, 1)
	run(t, seldom, store, func(d *recorder, _ *reporter) {
		pass(time.Minute)
		d.answer(errors.New("no such set"), true)
		before := count(d)
		store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv4, 1, 1))
		pass(100 * time.Millisecond)
		if n := count(d) - before; n != 2 {
			t.Errorf("%d passes right after one that fails without having looked, want that and its repetition", n)
		}
		if _, forgot := d.seen(); !forgot {
			t.Error("the repetition believes what the failed pass did")
		}
	})
}

func TestTheKernelIsComparedThoughNothingChanged(t *testing.T) {
	store := clustergen.Uniform(3, 1)
	run(t, pacer, store, func(d *recorder, seen *reporter) {
		pass(10*time.Minute + time.Second)
		if passes, _ := d.seen(); len(passes) < 10 || len(passes) > 12 {
			t.Errorf("%d passes in 10 idle minutes, want one a minute", len(passes))
		}
		if seen.seen().Drift {
			t.Error("drift is reported although the plan was empty")
		}
		d.answer(nil, false)
		pass(time.Minute)
		if !seen.seen().Drift {
			t.Error("a plan that is not empty although nothing changed is not reported as drift")
		}
	})
}

func TestADryRunAppliesNothing(t *testing.T) {
	store := clustergen.Uniform(3, 1)
	var plans int
	r := proxier.Reconciler{
		Store: store, Options: clustergen.Options(proxier.IPv4), Dataplanes: []proxier.Dataplane{untouchable{t}},
		DryRun: func(string, proxier.Plan) { plans++ },
	}
	if err := r.Sync(t.Context()); err != nil || plans != 1 {
		t.Errorf("error %v, %d plans; want none and one", err, plans)
	}
}

// A dataplane whose plans must not be applied.
type untouchable struct{ t *testing.T }

func (u untouchable) Name() string { return "untouchable" }
func (u untouchable) Forget()      {}
func (u untouchable) Plan(context.Context, *proxier.State) (proxier.Plan, error) {
	return forbidden{t: u.t}, nil
}

type forbidden struct {
	recorded
	t *testing.T
}

func (f forbidden) Apply(context.Context) ([]proxier.Refusal, error) {
	f.t.Error("a dry run applied its plan")
	return nil, nil
}

func TestADataplaneWakesTheReconciler(t *testing.T) {
	store := proxier.NewStore()
	run(t, proxier.Pacer{MinInterval: time.Second, MaxBackoff: time.Second}, store, func(d *recorder, _ *reporter) {
		d.wake <- struct{}{}
		time.Sleep(time.Hour)
		if n := count(d); n != 0 {
			t.Errorf("%d passes over a store that has not synced", n)
		}
		store.SetSynced()
		time.Sleep(time.Hour)
		before := count(d)
		d.wake <- struct{}{}
		time.Sleep(time.Hour)
		if n := count(d) - before; n != 1 {
			t.Errorf("%d passes after the dataplane had work, want 1", n)
		}
		if _, forgot := d.seen(); forgot {
			t.Error("a wake-up made the dataplane forget what the kernel holds")
		}
	})
}

func TestAPlanMayKnowThatItIsNoDrift(t *testing.T) {
	store := clustergen.Uniform(3, 1)
	run(t, pacer, store, func(d *recorder, seen *reporter) {
		d.answer(nil, false)
		d.judge(false)
		time.Sleep(time.Minute + time.Second)
		if seen.seen().Drift {
			t.Error("drift is reported although the plan says it is none")
		}
		d.judge(true)
		time.Sleep(time.Minute)
		if !seen.seen().Drift {
			t.Error("no drift is reported although the plan says it is")
		}
	})
}

func TestTheReportOfTheLastDataplaneEndsThePass(t *testing.T) {
	var reports []proxier.Report
	keep := reporterFunc(func(r proxier.Report) { reports = append(reports, r) })
	store := clustergen.Uniform(3, 1)
	r := proxier.Reconciler{
		Store: store, Options: clustergen.Options(proxier.IPv4), Reporter: keep,
		Dataplanes: []proxier.Dataplane{&recorder{empty: true}, &recorder{empty: true}},
	}
	if err := r.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(reports) != 2 || reports[0].Last || !reports[1].Last {
		t.Fatalf("of two dataplanes only the second ends the pass: %+v", reports)
	}
	if reports[0].Building <= 0 || reports[1].Building != 0 {
		t.Errorf("building took %v and %v, want it told once", reports[0].Building, reports[1].Building)
	}
	if want := (proxier.Changes{Services: 3, Endpoints: 6}); reports[1].Changes != want {
		t.Errorf("the pass holds %+v, want %+v", reports[1].Changes, want)
	}
	if err := r.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !reports[1].Compared || reports[3].Compared {
		t.Errorf("the first pass has read the kernel: %v, and the next: %v; want the first only", reports[1].Compared, reports[3].Compared)
	}
	reports = reports[:2]
	failing := &recorder{fail: errors.New("broken")}
	r.Dataplanes = []proxier.Dataplane{failing, &recorder{empty: true}}
	if err := r.Sync(t.Context()); err == nil {
		t.Fatal("a pass that fails must say so")
	}
	if len(reports) != 3 || !reports[2].Last {
		t.Errorf("a dataplane that fails ends the pass: %+v", reports[2:])
	}
}

type reporterFunc func(proxier.Report)

func (f reporterFunc) Synced(r proxier.Report) { f(r) }
