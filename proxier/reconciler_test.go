package proxier_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A dataplane that remembers when it was asked, and fails on demand.
type recorder struct {
	passes  []time.Duration // since the start
	forgets int
	start   time.Time
	fail    error
	empty   bool
	wake    chan struct{}
	drift   *bool // what its plans say; nil for nothing
}

func (r *recorder) Name() string { return "recorder" }
func (r *recorder) Forget()      { r.forgets++ }
func (r *recorder) Plan(context.Context, *proxier.State) (proxier.Plan, error) {
	r.passes = append(r.passes, time.Since(r.start))
	if r.drift != nil {
		return judged{recorded{r}}, r.fail
	}
	return recorded{r}, r.fail
}
func (r *recorder) Wake() <-chan struct{} { return r.wake }

// A plan that says itself whether it is drift.
type judged struct{ recorded }

func (j judged) Drift() bool { return *j.drift }

type recorded struct{ *recorder }

func (r recorded) Empty() bool              { return r.empty }
func (r recorded) String() string           { return "" }
func (r recorded) Diff() string             { return "" }
func (r recorded) Summary() proxier.Summary { return proxier.Summary{} }
func (r recorded) Apply(context.Context) ([]proxier.Refusal, error) {
	return nil, nil
}

type reports []proxier.Report

func (r *reports) Synced(report proxier.Report) { *r = append(*r, report) }

func run(t *testing.T, pacer proxier.Pacer, store *proxier.Store, test func(*recorder, *reports)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d, seen := &recorder{start: time.Now(), empty: true, wake: make(chan struct{}, 1)}, &reports{}
		r := proxier.Reconciler{
			Store: store, Options: clustergen.Options(proxier.IPv4),
			Dataplanes: []proxier.Dataplane{d}, Reporter: seen, Pacer: pacer,
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

var pacer = proxier.Pacer{MinInterval: time.Second, MaxBackoff: 30 * time.Second, Resync: time.Minute}

func TestNoPassBeforeTheStoreHasSynced(t *testing.T) {
	store := proxier.NewStore()
	run(t, pacer, store, func(d *recorder, _ *reports) {
		time.Sleep(time.Hour)
		if len(d.passes) != 0 {
			t.Errorf("%d passes over a store that has not synced", len(d.passes))
		}
		store.SetSynced()
		synctest.Wait()
		if len(d.passes) != 1 {
			t.Errorf("%d passes after it synced, want 1", len(d.passes))
		}
	})
}

func TestChangesAreGatheredForTheMinimalInterval(t *testing.T) {
	store := clustergen.Uniform(3, 1)
	run(t, pacer, store, func(d *recorder, _ *reports) {
		for n := range 25 {
			store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv4, 1, n+1))
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		if n := len(d.passes); n < 3 || n > 5 {
			t.Errorf("%d passes for changes during 2.5 s, want one a second: %v", n, d.passes)
		}
		for i := 1; i < len(d.passes); i++ {
			if gap := d.passes[i] - d.passes[i-1]; gap < time.Second {
				t.Errorf("passes %d and %d are only %v apart", i-1, i, gap)
			}
		}
	})
}

func TestAFailedPassIsRepeatedEverMoreSlowly(t *testing.T) {
	store := clustergen.Uniform(3, 1)
	run(t, pacer, store, func(d *recorder, seen *reports) {
		d.fail = errors.New("no iptables")
		store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv4, 1, 1))
		time.Sleep(5 * time.Minute)
		n := len(d.passes)
		if n < 10 || n > 40 {
			t.Errorf("%d passes in 5 minutes of failure, want them to slow down to one in 15 to 30 s", n)
		}
		if last := (*seen)[len(*seen)-1]; last.Err == nil || last.Plan != nil {
			t.Errorf("the report of a failed pass is %+v", last)
		}
		d.fail = nil
		time.Sleep(31 * time.Second)
		if len(d.passes) != n+1 {
			t.Errorf("%d passes in 31 s after the failure ended, want 1", len(d.passes)-n)
		}
		if d.forgets == 0 {
			t.Error("what the kernel holds was believed to be known after a failure")
		}
	})
}

func TestTheKernelIsComparedThoughNothingChanged(t *testing.T) {
	store := clustergen.Uniform(3, 1)
	run(t, pacer, store, func(d *recorder, seen *reports) {
		time.Sleep(10*time.Minute + time.Second)
		if n := len(d.passes); n < 10 || n > 12 {
			t.Errorf("%d passes in 10 idle minutes, want one a minute", n)
		}
		if (*seen)[len(*seen)-1].Drift {
			t.Error("drift is reported although the plan was empty")
		}
		d.empty = false
		time.Sleep(time.Minute)
		if !(*seen)[len(*seen)-1].Drift {
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
	run(t, proxier.Pacer{MinInterval: time.Second, MaxBackoff: time.Second}, store, func(d *recorder, _ *reports) {
		d.wake <- struct{}{}
		time.Sleep(time.Hour)
		if len(d.passes) != 0 {
			t.Errorf("%d passes over a store that has not synced", len(d.passes))
		}
		store.SetSynced()
		time.Sleep(time.Hour)
		before := len(d.passes)
		d.wake <- struct{}{}
		time.Sleep(time.Hour)
		if n := len(d.passes) - before; n != 1 {
			t.Errorf("%d passes after the dataplane had work, want 1", n)
		}
		if d.forgets != 0 {
			t.Error("a wake-up made the dataplane forget what the kernel holds")
		}
	})
}

func TestAPlanMayKnowThatItIsNoDrift(t *testing.T) {
	store := clustergen.Uniform(3, 1)
	run(t, pacer, store, func(d *recorder, seen *reports) {
		judgement := false
		d.empty, d.drift = false, &judgement
		time.Sleep(time.Minute + time.Second)
		if (*seen)[len(*seen)-1].Drift {
			t.Error("drift is reported although the plan says it is none")
		}
		judgement = true
		time.Sleep(time.Minute)
		if !(*seen)[len(*seen)-1].Drift {
			t.Error("no drift is reported although the plan says it is")
		}
	})
}
