package health

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A dataplane that fails or hangs as it is told.
type dataplane struct {
	mu   sync.Mutex
	fail error
	hang chan struct{} // nil for not
}

func (d *dataplane) set(fail error, hang chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail, d.hang = fail, hang
}

func (*dataplane) Name() string { return "iptables" }
func (*dataplane) Forget()      {}

func (d *dataplane) Plan(ctx context.Context, _ *proxier.State) (proxier.Plan, error) {
	d.mu.Lock()
	fail, hang := d.fail, d.hang
	d.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if fail != nil {
		return nil, fail
	}
	return plan{}, nil
}

// plan is what one does who was asked to do nothing, or a bit.
type plan struct {
	summary proxier.Summary
	refused []proxier.Refusal
}

func (p plan) Empty() bool                                      { return p.summary == proxier.Summary{} }
func (plan) String() string                                     { return "" }
func (plan) Diff() string                                       { return "" }
func (p plan) Summary() proxier.Summary                         { return p.summary }
func (plan) Findings() proxier.Findings                         { return proxier.Findings{} }
func (p plan) Apply(context.Context) ([]proxier.Refusal, error) { return p.refused, nil }

// TestStalls has a Reconciler at work. A sync period is half the timeout.
func TestStalls(t *testing.T) {
	broken := errors.New("no iptables")
	tests := []struct {
		name string
		// what happens after a good first pass; it returns what ends it
		do      func(d *dataplane, store *proxier.Store) (repair func())
		stalled bool
	}{
		{"nothing happens", func(*dataplane, *proxier.Store) func() { return func() {} }, false},
		{"changes are applied", func(_ *dataplane, store *proxier.Store) func() {
			change(store, 1)
			return func() {}
		}, false},
		{"a change is not applied", func(d *dataplane, store *proxier.Store) func() {
			d.set(broken, nil)
			change(store, 1)
			return func() { d.set(nil, nil) }
		}, true},
		{"comparing with the kernel fails, though nothing changed", func(d *dataplane, _ *proxier.Store) func() {
			d.set(broken, nil)
			return func() { d.set(nil, nil) }
		}, true},
		{"a pass hangs, though nothing changed", func(d *dataplane, _ *proxier.Store) func() {
			hang := make(chan struct{})
			d.set(nil, hang)
			return func() { d.set(nil, nil); close(hang) }
		}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := newServer()
				store, d := clustergen.Uniform(3, 1), &dataplane{}
				r := proxier.Reconciler{
					Store: store, Options: clustergen.Options(proxier.IPv4), Dataplanes: []proxier.Dataplane{d},
					Reporter: s.Status, Progress: Progress{Health: s.Health, Checks: &Checks{Family: proxier.IPv4, Healthy: s.Health.Healthy}},
					Pacer: proxier.Pacer{MinInterval: time.Second, MaxBackoff: timeout / 2, Resync: timeout / 2},
				}
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error)
				go func() { ended <- r.Run(ctx) }()
				store.SetSynced()
				pass(2 * time.Second)
				repair := test.do(d, store)
				pass(3 * timeout)
				want := http.StatusOK
				if test.stalled {
					want = http.StatusServiceUnavailable
				}
				for _, path := range []string{"/livez", "/healthz"} {
					if w := ask(s.Handler(), http.MethodGet, path); w.Code != want {
						t.Errorf("%s: %d, want %d: %s", path, w.Code, want, w.Body)
					}
				}
				repair()
				pass(timeout)
				if !s.Health.Healthy() {
					t.Error("does not recover")
				}
				cancel()
				if err := <-ended; !errors.Is(err, context.Canceled) {
					t.Errorf("the Reconciler ended with %v", err)
				}
			})
		})
	}
}

func TestAFailureIsNoStallAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, state := New(timeout), &proxier.State{Family: proxier.IPv4}
		p := Progress{Health: h, Checks: &Checks{Family: proxier.IPv4, Healthy: h.Healthy}}
		p.Due(proxier.IPv4)
		p.Done(state, nil, errors.New("no iptables"))
		pass(timeout - time.Second)
		if !h.Healthy() {
			t.Error("unhealthy before the timeout")
		}
		p.Due(proxier.IPv4)
		p.Done(state, nil, errors.New("no iptables"))
		pass(time.Second)
		if h.Healthy() {
			t.Error("a failed pass looks like a good one")
		}
		p.Due(proxier.IPv4)
		p.Done(state, nil, nil)
		if !h.Healthy() {
			t.Error("unhealthy after a good pass")
		}
	})
}

func change(store *proxier.Store, generation int) {
	store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv4, 1, generation))
}
