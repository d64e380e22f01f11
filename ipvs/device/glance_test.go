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

// The other family's pass, which finds the device gone, makes it anew for its own
// addresses, and what both remember is right then.
func TestGlanceSeesWhatTheOtherFamilyHasListed(t *testing.T) {
	addresses := map[proxier.Family]netip.Addr{
		proxier.IPv4: netip.MustParseAddr("10.96.0.1"), proxier.IPv6: netip.MustParseAddr("fd00:10:96::1"),
	}
	kernel := devicetest.New(device.Host{})
	cached := device.NewCached(kernel)
	planes := map[proxier.Family]*device.Dataplane{}
	pass := func(family proxier.Family) {
		t.Helper()
		p, err := planes[family].Plan(t.Context(), &proxier.State{Family: family})
		if err == nil {
			_, err = p.Apply(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, family := range proxier.Families {
		planes[family] = device.New(cached, family, func(context.Context, *proxier.State) ([]device.Address, error) {
			return []device.Address{{Addr: addresses[family]}}, nil
		})
		pass(family)
	}
	kernel.Set(device.Host{})
	planes[proxier.IPv6].Forget()
	pass(proxier.IPv6)
	if different, err := planes[proxier.IPv4].Glance(t.Context()); different != "10.96.0.1" || err != nil {
		t.Errorf("%q is different over IPv4, error %v; want 10.96.0.1", different, err)
	}
	if different, err := planes[proxier.IPv6].Glance(t.Context()); different != "" || err != nil {
		t.Errorf("%q is different over IPv6, error %v; want nothing", different, err)
	}
}
