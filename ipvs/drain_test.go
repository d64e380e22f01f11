package ipvs_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/ipvstest"
	"github.com/kube-proxier/kube-proxier/proxier"
)

const (
	vip     = "-t 10.96.0.0:80"
	leaving = "10.244.0.2:8080" // the first endpoint of Service 0
)

// A drained is a node with Service 0 of two endpoints, whose reconciler runs in
// a bubble of its own time.
type drained struct {
	t      *testing.T
	store  *proxier.Store
	kernel *ipvstest.Kernel
	mu     sync.Mutex // guards driven
	driven []proxier.Report
	config ipvs.Config
	stop   func()
}

// drain runs the test in a bubble.
func drain(t *testing.T, test func(*drained)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := &drained{t: t, store: clustergen.Uniform(2, 2), kernel: ipvstest.New(proxier.IPv4), config: config()}
		d.start()
		d.kernel.Connect(vip, leaving, 3)
		test(d)
		d.stop()
	})
}

// Synced keeps what the reconciler reports.
func (d *drained) Synced(r proxier.Report) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.driven = append(d.driven, r)
}

func (d *drained) start() {
	r := proxier.Reconciler{
		Store: d.store, Options: clustergen.Options(proxier.IPv4), Reporter: d,
		Dataplanes: []proxier.Dataplane{ipvs.NewDataplane(d.kernel, d.config)},
		Pacer:      proxier.Pacer{MaxBackoff: time.Second, Resync: 30 * time.Second},
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	d.stop = func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			d.t.Errorf("the reconciler ended with %v", err)
		}
	}
	synctest.Wait()
}

// leave replaces the first endpoint by another.
func (d *drained) leave() {
	d.store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv4, 2, 1))
	synctest.Wait()
}

// has tells whether the kernel has a line; time passes first.
func (d *drained) expect(after time.Duration, line string, want bool) {
	d.t.Helper()
	time.Sleep(after)
	synctest.Wait()
	if got := strings.Contains(d.kernel.String(), line); got != want {
		d.t.Errorf("%q in the kernel: %v, want %v\n%s", line, got, want, d.kernel)
	}
}

// expectDrains compares what the reports count together; of those that drain the
// last counts.
func (d *drained) expectDrains(want proxier.Drains) {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	var got proxier.Drains
	for _, r := range d.driven {
		n := r.Findings.Drains
		got.Draining = n.Draining
		got.Ended, got.TimedOut = got.Ended+n.Ended, got.TimedOut+n.TimedOut
		got.Returned, got.Deleted = got.Returned+n.Returned, got.Deleted+n.Deleted
	}
	if got != want {
		d.t.Errorf("the reports count %+v, want %+v", got, want)
	}
}

const (
	serving  = "-a " + vip + " -r " + leaving + " -m -w 1\n"
	draining = "-a " + vip + " -r " + leaving + " -m -w 0\n"
	present  = "-a " + vip + " -r " + leaving
)

func TestAConnectionOutlivesItsEndpoint(t *testing.T) {
	drain(t, func(d *drained) {
		d.expect(0, serving, true)
		d.leave()
		d.expect(0, draining, true)
		d.expectDrains(proxier.Drains{Draining: 1})
		d.expect(4*time.Minute, draining, true)
		d.kernel.Connect(vip, leaving, 0)
		d.expect(6*time.Second, present, false)
		d.expectDrains(proxier.Drains{Ended: 1})
		for _, r := range d.driven {
			if r.Drift {
				t.Errorf("draining is reported as somebody else's doing:\n%s", r.Plan)
			}
		}
	})
}

func TestDrainingLooksOnlyAtWhatDrains(t *testing.T) {
	drain(t, func(d *drained) {
		_, before := d.kernel.Lists()
		time.Sleep(time.Minute)
		if _, looks := d.kernel.Lists(); looks != before {
			t.Errorf("%d looks although nothing drains", looks-before)
		}
		d.leave()
		lists, before := d.kernel.Lists()
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		listsNow, looks := d.kernel.Lists()
		if n := looks - before; n < 8 || n > 14 {
			t.Errorf("%d looks in a minute, want one in 5 s but when all is listed", n)
		}
		if listsNow-lists > 3 {
			t.Errorf("%d full listings in a minute, want those of the resync only", listsNow-lists)
		}
	})
}

func TestADrainEndsAtItsDeadline(t *testing.T) {
	drain(t, func(d *drained) {
		d.leave()
		d.expect(5*time.Minute-time.Second, draining, true)
		d.expect(10*time.Second, present, false)
		d.expectDrains(proxier.Drains{TimedOut: 1})
	})
}

func TestChangesDoNotPutTheLookOff(t *testing.T) {
	drain(t, func(d *drained) {
		d.leave()
		d.kernel.Connect(vip, leaving, 0)
		for n := range 10 {
			d.store.SetEndpointSlice(clustergen.Slice(1, proxier.IPv4, 2, n+1))
			time.Sleep(time.Second)
		}
		d.expect(0, present, false)
	})
}

func TestAnEndpointThatComesBackServesAtOnce(t *testing.T) {
	drain(t, func(d *drained) {
		d.leave()
		d.expect(time.Minute, draining, true)
		d.store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv4, 2, 0))
		d.expect(0, serving, true)
		d.expect(10*time.Minute, serving, true)
		d.leave()
		d.expect(5*time.Minute-time.Second, draining, true)                // all the time again
		d.expectDrains(proxier.Drains{Draining: 1, Returned: 1, Ended: 1}) // what had replaced it had no connections
	})
}

func TestDrainingGoesOnAfterARestart(t *testing.T) {
	drain(t, func(d *drained) {
		d.leave()
		d.expect(time.Minute, draining, true)
		d.stop()
		d.start()
		d.expect(time.Minute, draining, true)
		d.stop()
		d.kernel.Connect(vip, leaving, 0) // it ended while nobody looked
		d.start()
		d.expect(0, present, false)
	})
}

func TestAServiceWithoutEndpointsDrains(t *testing.T) {
	drain(t, func(d *drained) {
		d.store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv4, 0, 0))
		d.expect(0, draining, true)
		d.expect(10*time.Second, present, true)
		d.expect(0, "-r 10.244.0.3:8080", false) // had no connections
		d.kernel.Connect(vip, leaving, 0)
		d.expect(6*time.Second, vip, false)
		d.expectDrains(proxier.Drains{Ended: 2})
	})
}

func TestADeletedServiceGoesAtOnce(t *testing.T) {
	drain(t, func(d *drained) {
		d.leave()
		d.store.DeleteService(types.NamespacedName{Namespace: "ns-0", Name: "service-0"})
		d.expect(0, vip, false)
		d.expectDrains(proxier.Drains{Deleted: 1})
	})
}

func TestWithoutDrainingEndpointsGoAtOnce(t *testing.T) {
	drain(t, func(d *drained) {
		d.stop()
		d.config.DrainTimeout = 0
		d.start()
		d.leave()
		d.expect(0, present, false)
	})
}

func TestUDPDoesNotDrain(t *testing.T) {
	drain(t, func(d *drained) {
		s := clustergen.Service(0)
		s.Spec.Ports[0].Protocol = corev1.ProtocolUDP
		slice := func(generation int) {
			sl := clustergen.Slice(0, proxier.IPv4, 2, generation)
			udp := corev1.ProtocolUDP
			sl.Ports[0].Protocol = &udp
			d.store.SetEndpointSlice(sl)
		}
		d.store.SetService(s)
		slice(0)
		d.expect(0, "-u 10.96.0.0:80 -r "+leaving+" -m -w 1", true)
		d.kernel.Connect("-u 10.96.0.0:80", leaving, 5)
		slice(1)
		d.expect(0, "-u 10.96.0.0:80 -r "+leaving, false)
	})
}

// Weight 0 that an annotation asks for is no drain.
func TestAWeightOfZeroIsKept(t *testing.T) {
	drain(t, func(d *drained) {
		slice := clustergen.Slice(0, proxier.IPv4, 2, 0)
		slice.Annotations = map[string]string{proxier.WeightsAnnotation: "10.244.0.2=0"}
		d.kernel.Connect(vip, leaving, 0)
		d.store.SetEndpointSlice(slice)
		d.expect(10*time.Minute, draining, true)
		if _, looks := d.kernel.Lists(); looks != 0 {
			t.Errorf("%d looks although nothing drains", looks)
		}
	})
}
