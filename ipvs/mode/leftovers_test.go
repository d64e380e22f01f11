package mode

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/device"
	"github.com/kube-proxier/kube-proxier/ipvs/device/devicetest"
	"github.com/kube-proxier/kube-proxier/ipvs/ipvstest"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A wreck is a host that was in IPVS mode: virtual servers at an address of
// kube-ipvs0, at a node port, and at two places of somebody else.
type wreck struct {
	*testing.T
	servers *ipvstest.Kernel
	devices *devicetest.Kernel
	left    *Leftovers
}

func newWreck(t *testing.T, drain time.Duration) *wreck {
	t.Helper()
	w := &wreck{T: t, servers: ipvstest.New(proxier.IPv4)}
	list, err := ipvs.Parse(`-A -t 10.96.0.1:443 -s rr
-a -t 10.96.0.1:443 -r 172.18.0.2:6443 -m -w 1
-A -t 172.18.0.11:30080 -s rr
-A -t 172.18.0.11:80 -s rr
-A -t 198.51.100.7:80 -s wlc
`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.servers.Do(t.Context(), ipvs.Create(list)); err != nil {
		t.Fatal(err)
	}
	w.devices = devicetest.New(device.NewHost("dummy", []netip.Addr{netip.MustParseAddr("10.96.0.1")},
		[]device.Addr{{Addr: netip.MustParseAddr("172.18.0.11"), Device: "eth0"}}))
	remains := &Remains{
		Devices:   device.NewCached(w.devices),
		Servers:   func(proxier.Family) (ipvs.Kernel, error) { return w.servers, nil },
		Ownership: ipvs.Ownership{NodePorts: ipvs.DefaultNodePorts},
		Drain:     drain,
	}
	w.left = remains.Of(proxier.IPv4, nil)
	return w
}

func (w *wreck) plan() proxier.Plan {
	w.Helper()
	plan, err := w.left.Plan(w.Context(), nil)
	if err != nil {
		w.Fatal(err)
	}
	return plan
}

// pass applies what is planned.
func (w *wreck) pass() proxier.Plan {
	w.Helper()
	plan := w.plan()
	if _, err := plan.Apply(w.Context()); err != nil {
		w.Fatal(err)
	}
	return plan
}

func (w *wreck) host() device.Host {
	w.Helper()
	host, err := w.devices.List(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return host
}

// gone fails unless all is gone that was IPVS mode's, and what others have is there.
func (w *wreck) gone() {
	w.Helper()
	if diff := cmp.Diff("-A -t 172.18.0.11:80 -s rr\n-A -t 198.51.100.7:80 -s wlc\n", w.servers.String()); diff != "" {
		w.Errorf("virtual servers (-want +got):\n%s", diff)
	}
	if host := w.host(); host.Type != "" || len(host.Retired) > 0 {
		w.Errorf("there is %+v", host)
	}
}

func TestWhatIPVSModeLeftIsRemovedOnce(t *testing.T) {
	w := newWreck(t, 0)
	plan := w.plan()
	if s := plan.Summary(); plan.Empty() || s.Deleted != 2 || !strings.Contains(plan.Diff(), "--A -t 10.96.0.1:443 -s rr\n") {
		t.Errorf("summary %+v, plan\n%s\ndiff\n%s", s, plan, plan.Diff())
	}
	if plan = w.pass(); !plan.Summary().More {
		t.Error("nobody looks whether all is gone")
	}
	w.gone()
	if plan := w.plan(); !plan.Empty() || plan.Summary().More {
		t.Errorf("the look whether all is gone finds\n%s", plan)
	}
	w.left.remains.Servers = nil // nobody is asked any more
	w.left.Forget()
	if plan := w.plan(); !plan.Empty() {
		t.Errorf("after all is gone:\n%s", plan)
	}
}

func TestARemovalThatFailsIsMadeAgain(t *testing.T) {
	w := newWreck(t, 0)
	plan := w.plan()
	w.servers.FailOp = func(int) error { return context.DeadlineExceeded }
	if _, err := plan.Apply(t.Context()); err == nil {
		t.Fatal("no error")
	}
	w.servers.FailOp = nil
	w.left.Forget()
	if w.pass().Empty() {
		t.Error("what is left is not found again")
	}
	w.gone()
}

// A virtual server with connections holds up what it needs: the way to its
// address, and the device by which it is known.
func TestWhatHasConnectionsStaysForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWreck(t, time.Hour)
		connect := func(n int) { w.servers.Connect("-t 10.96.0.1:443", "172.18.0.2:6443", n) }
		connect(1)
		w.pass()
		have := w.host()
		if !strings.Contains(w.servers.String(), "-a -t 10.96.0.1:443 -r 172.18.0.2:6443 -m -w 0\n") || len(have.Bound) > 0 || len(have.Retired) != 1 || have.Type == "" {
			t.Errorf("with a connection there is %+v and\n%s", have, w.servers)
		}
		if strings.Contains(w.servers.String(), "172.18.0.11:30080") {
			t.Errorf("what has no connections is left:\n%s", w.servers)
		}
		for range 3 { // nothing changes, and somebody looks again
			<-w.left.Wake()
			if p := w.pass(); !p.Empty() {
				t.Errorf("while the connection lasts:\n%s", p)
			}
		}
		connect(0)
		<-w.left.Wake()
		for w.pass().Summary().More {
			synctest.Wait()
		}
		w.gone()
		if !w.left.clean {
			t.Error("it goes on looking")
		}
	})
}
