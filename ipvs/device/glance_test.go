package device_test

import (
	"context"
	"net/netip"
	"testing"

	"github.com/kube-proxier/kube-proxier/ipvs/device"
	"github.com/kube-proxier/kube-proxier/ipvs/device/devicetest"
	"github.com/kube-proxier/kube-proxier/proxier"
)

func TestGlance(t *testing.T) {
	one, two := netip.MustParseAddr("10.96.0.1"), netip.MustParseAddr("10.96.0.2")
	kernel := devicetest.New(device.Host{})
	d := device.New(device.NewCached(kernel), proxier.IPv4, func(context.Context, *proxier.State) ([]device.Address, error) {
		return []device.Address{{Addr: one}}, nil
	})
	glance := func(when, want string) {
		t.Helper()
		if different, err := d.Glance(t.Context()); different != want || err != nil {
			t.Errorf("%s: %q is different, error %v; want %q", when, different, err, want)
		}
	}
	glance("before the first pass", "")
	p, err := d.Plan(t.Context(), &proxier.State{Family: proxier.IPv4})
	if err == nil {
		_, err = p.Apply(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	glance("after a pass", "")
	kernel.Set(device.NewHost("dummy", []netip.Addr{one, two}, nil))
	glance("an address added", "10.96.0.2")
	kernel.Set(device.NewHost("dummy", nil, nil))
	glance("an address deleted", "10.96.0.1")
	kernel.Set(device.Host{})
	glance("the device deleted", "10.96.0.1")
}
