package main

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

// leftServers are at an address of kube-ipvs0, at a node port, and at two
// places of somebody else.
const leftServers = `-A -t 10.96.0.1:443 -s rr
-a -t 10.96.0.1:443 -r 172.18.0.2:6443 -m -w 1
-A -t 172.18.0.11:30080 -s rr
-A -t 172.18.0.11:80 -s rr
-A -t 198.51.100.7:80 -s wlc
`

func leftovers(t *testing.T) (*virtualLeftovers, *ipvstest.Kernel) {
	t.Helper()
	kernel := ipvstest.New(proxier.IPv4)
	list, err := ipvs.Parse(leftServers)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kernel.Do(t.Context(), ipvs.Create(list)); err != nil {
		t.Fatal(err)
	}
	servers := ipvs.NewDataplane(kernel, ipvs.Config{
		Ownership: ipvs.Ownership{NodePorts: ipvs.DefaultNodePorts},
		Addresses: func(context.Context) (ipvs.Addresses, error) {
			return ipvs.Addresses{
				Bound: []netip.Addr{netip.MustParseAddr("10.96.0.1")}, Node: []netip.Addr{netip.MustParseAddr("172.18.0.11")},
			}, nil
		},
	})
	l := newVirtualLeftovers(&host{addresses: device.NewCached(devicetest.New(device.Host{}))}, proxier.IPv4, nil, 0)
	l.parts = []proxier.Dataplane{servers}
	return l, kernel
}

func TestWhatIPVSModeLeftIsRemovedOnce(t *testing.T) {
	l, kernel := leftovers(t)
	plan, err := l.Plan(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if s := plan.Summary(); plan.Empty() || s.Deleted != 2 || !strings.Contains(plan.Diff(), "--A -t 10.96.0.1:443 -s rr\n") {
		t.Errorf("summary %+v, plan\n%s\ndiff\n%s", s, plan, plan.Diff())
	}
	if _, err := plan.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	left, err := kernel.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("-A -t 172.18.0.11:80 -s rr\n-A -t 198.51.100.7:80 -s wlc\n", ipvs.Text(left.Servers)); diff != "" {
		t.Error(diff)
	}
	if !plan.Summary().More {
		t.Error("nobody looks whether all is gone")
	}
	if plan, err := l.Plan(t.Context(), nil); err != nil || !plan.Empty() || plan.Summary().More {
		t.Errorf("the look whether all is gone: %v, %v", plan, err)
	}
	l.parts = nil // nobody is asked any more
	l.Forget()
	if plan, err := l.Plan(t.Context(), nil); err != nil || !plan.Empty() {
		t.Errorf("after all is gone: %v, %v", plan, err)
	}
}

func TestARemovalThatFailsIsMadeAgain(t *testing.T) {
	l, kernel := leftovers(t)
	plan, err := l.Plan(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	kernel.FailOp = func(n int) error { return context.DeadlineExceeded }
	if _, err := plan.Apply(t.Context()); err == nil {
		t.Fatal("no error")
	}
	kernel.FailOp = nil
	l.Forget()
	if plan, err = l.Plan(t.Context(), nil); err != nil || plan.Empty() {
		t.Errorf("what is left is not found again: %v, %v", plan, err)
	}
}

func TestForeignServers(t *testing.T) {
	list, err := ipvs.Parse(leftServers)
	if err != nil {
		t.Fatal(err)
	}
	foreign := foreignServers(list, ipvs.Ownership{NodePorts: ipvs.DefaultNodePorts}, proxier.IPv4, ipvs.Addresses{
		Bound: []netip.Addr{netip.MustParseAddr("10.96.0.1")}, Node: []netip.Addr{netip.MustParseAddr("172.18.0.11")},
	})
	if diff := cmp.Diff("-A -t 172.18.0.11:80 -s rr\n-A -t 198.51.100.7:80 -s wlc\n", ipvs.Text(foreign)); diff != "" {
		t.Error(diff)
	}
}

// A virtual server with connections holds up what it needs: the way to its
// address, and the device by which it is known.
func TestWhatHasConnectionsStaysForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		address := netip.MustParseAddr("10.96.0.1")
		devices := devicetest.New(device.NewHost("dummy", []netip.Addr{address}, []device.Addr{{Addr: netip.MustParseAddr("172.18.0.11"), Device: "eth0"}}))
		l, kernel := leftovers(t)
		l.host = &host{addresses: device.NewCached(devices)}
		l.drain = time.Hour
		servers := ipvs.NewDataplane(kernel, ipvs.Config{
			Ownership: ipvs.Ownership{NodePorts: ipvs.DefaultNodePorts}, Addresses: l.host.familyAddresses(proxier.IPv4),
			DrainTimeout: time.Hour, Retire: true,
		})
		l.parts = []proxier.Dataplane{servers, device.NewRemoval(l.host.addresses, proxier.IPv4, l.retirement)}
		kernel.Connect("-t 10.96.0.1:443", "172.18.0.2:6443", 1)
		pass := func() proxier.Plan {
			t.Helper()
			plan, err := l.Plan(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := plan.Apply(t.Context()); err != nil {
				t.Fatal(err)
			}
			return plan
		}
		pass()
		have, _ := devices.List(t.Context())
		if !strings.Contains(kernel.String(), "-a -t 10.96.0.1:443 -r 172.18.0.2:6443 -m -w 0\n") || len(have.Bound) > 0 || len(have.Retired) != 1 || have.Type == "" {
			t.Errorf("with a connection there is %+v and\n%s", have, kernel)
		}
		if strings.Contains(kernel.String(), "172.18.0.11:30080") {
			t.Errorf("what has no connections is left:\n%s", kernel)
		}
		for range 3 { // nothing changes, and somebody looks again
			<-l.Wake()
			if p := pass(); !p.Empty() {
				t.Errorf("while the connection lasts:\n%s", p)
			}
		}
		kernel.Connect("-t 10.96.0.1:443", "172.18.0.2:6443", 0)
		<-l.Wake()
		for pass().Summary().More {
			synctest.Wait()
		}
		have, _ = devices.List(t.Context())
		if strings.Contains(kernel.String(), "10.96.0.1") || have.Type != "" || len(have.Retired) > 0 {
			t.Errorf("in the end there is %+v and\n%s", have, kernel)
		}
		if !l.clean {
			t.Error("it goes on looking")
		}
	})
}
