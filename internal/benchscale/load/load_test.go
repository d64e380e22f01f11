package load

import (
	"net/netip"
	"testing"
)

func TestSizesAreReadAsTheyAreWritten(t *testing.T) {
	for _, size := range []Size{{1, 1}, {10000, 10}, {60000, 20}} {
		if have, err := ParseSize(size.String()); err != nil || have != size {
			t.Errorf("%s: have %v, %v", size, have, err)
		}
	}
	for _, text := range []string{"", "10", "x10", "10x", "0x10", "10x0", "60001x1", "1x101", "60000x100", "10x10x10"} {
		if have, err := ParseSize(text); err == nil {
			t.Errorf("%q: have %v, want an error", text, have)
		}
	}
}

// Two Services at one address, or an endpoint that nobody has, would not be seen
// in any figure.
func TestAddressesAreDifferentAndInTheirRanges(t *testing.T) {
	seen := map[netip.Addr]string{}
	note := func(kind string, addr netip.Addr, in netip.Prefix) {
		t.Helper()
		if other, ok := seen[addr]; ok {
			t.Fatalf("%s: %s is that of %s, too", kind, addr, other)
		}
		if !in.Contains(addr) || !in.Contains(addr.Next()) || addr == in.Addr() {
			t.Fatalf("%s: %s is no host of %s", kind, addr, in)
		}
		seen[addr] = kind
	}
	for i := range 60010 {
		note("service", ClusterIP(i), ClusterIPs())
	}
	for n := range 100_000 {
		note("endpoint", EndpointIP(n), EndpointIPs())
		note("spare", SpareIP(n), EndpointIPs())
	}
	if !ClusterCIDR().Contains(SpareIP(100_000)) || ClusterCIDR().Overlaps(ClusterIPs()) {
		t.Error("the cluster's range is not that of the endpoints")
	}
}
