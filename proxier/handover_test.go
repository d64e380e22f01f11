package proxier_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// patient plans nothing, for a minute, or until its context ends.
type patient struct{ begun, completed int }

func (*patient) Name() string { return "patient" }
func (*patient) Forget()      {}
func (p *patient) Plan(ctx context.Context, _ *proxier.State) (proxier.Plan, error) {
	p.begun++
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(time.Minute):
		p.completed++
		return recorded{empty: true}, nil
	}
}

func TestStopLetsThePassesEndThatAreBeingMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := clustergen.Uniform(2, 2)
		pass1, follower := &patient{}, &patient{}
		r := proxier.Reconciler{
			Store: store, Options: clustergen.Options(proxier.IPv4), Pacer: pacer,
			Dataplanes: []proxier.Dataplane{pass1}, Followers: []proxier.Dataplane{follower},
		}
		stop, done := make(chan struct{}), make(chan error, 1)
		go func() { done <- r.RunUntil(t.Context(), stop) }()
		pass(90 * time.Second) // the follower follows the first pass
		store.DeleteService(store.Snapshot().Services[0].Name)
		synctest.Wait() // the second pass has begun
		close(stop)
		synctest.Wait()
		if len(done) > 0 {
			t.Fatal("it has ended in the middle of a pass")
		}
		if err := <-done; err != nil {
			t.Errorf("it ended with %v", err)
		}
		if *pass1 != (patient{2, 2}) || *follower != (patient{1, 1}) {
			t.Errorf("passes %+v, those of the follower %+v; want 2 and 1 that have begun and were completed", *pass1, *follower)
		}
	})
}

func TestStopEndsAWaitAtOnceAndTheNextOneGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := clustergen.Uniform(2, 2)
		for range 3 {
			d := &recorder{start: time.Now(), empty: true}
			r := proxier.Reconciler{Store: store, Options: clustergen.Options(proxier.IPv4), Pacer: pacer, Dataplanes: []proxier.Dataplane{d}}
			stop, done := make(chan struct{}), make(chan error, 1)
			go func() { done <- r.RunUntil(t.Context(), stop) }()
			synctest.Wait()
			store.DeleteNode()
			store.SetService(store.Snapshot().Services[0].Service.DeepCopy())
			start := time.Now()
			close(stop)
			if err := <-done; err != nil || time.Since(start) > 0 {
				t.Errorf("it ended with %v, after %s", err, time.Since(start))
			}
			if passes, _ := d.seen(); len(passes) != 1 {
				t.Errorf("%d passes, want the first one", len(passes))
			}
		}
	})
}

func TestUnwatch(t *testing.T) {
	store := clustergen.Uniform(1, 1)
	one, other := store.Watch(), store.Watch()
	<-one
	<-other
	store.Unwatch(one)
	store.DeleteService(store.Snapshot().Services[0].Name)
	<-other
	select {
	case <-one:
		t.Error("it is told of a change nevertheless")
	default:
	}
}
