package device_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/kube-proxier/kube-proxier/ipvs/device"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// many are the first n addresses behind 10.96.0.0.
func many(n int) []netip.Addr {
	addrs := make([]netip.Addr, n)
	for i, addr := 0, netip.MustParseAddr("10.96.0.0"); i < n; i++ {
		addr = addr.Next()
		addrs[i] = addr
	}
	return addrs
}

// sizes runs the benchmark on so many addresses: ten times as many are to take some
// ten times as long.
func sizes(b *testing.B, bench func(b *testing.B, addrs []netip.Addr)) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { bench(b, many(n)) })
	}
}

// A mode ends: each address leaves the device for a route, which stays as long as
// there are connections.
func BenchmarkRemove(b *testing.B) {
	sizes(b, func(b *testing.B, addrs []netip.Addr) {
		host := device.NewHost("dummy", addrs, eth0).WithRetired(addrs)
		r := device.Retirement{Retire: true, Release: true, Keep: addrs}
		for b.Loop() {
			device.Remove(proxier.IPv4, host, r)
		}
	})
}

// A mode comes back while addresses of it are routes still.
func BenchmarkComingBack(b *testing.B) {
	sizes(b, func(b *testing.B, addrs []netip.Addr) {
		host := device.NewHost("dummy", nil, eth0).WithRetired(addrs)
		var want []device.Address
		for _, a := range addrs {
			want = append(want, device.Address{Addr: a})
		}
		for b.Loop() {
			p, err := device.Diff(proxier.IPv4, host, want, nil)
			if err != nil {
				b.Fatal(err)
			}
			host.After(p.Ops)
		}
	})
}
