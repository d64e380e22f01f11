package proxier_test

import (
	"net/netip"
	"testing"

	"github.com/kube-proxier/kube-proxier/proxier"
)

func TestNodePortAddressesServe(t *testing.T) {
	within := func(texts ...string) []netip.Prefix {
		prefixes, _ := proxier.ParsePrefixes(texts)
		return prefixes
	}
	tests := []struct {
		name      string
		addresses proxier.NodePortAddresses
		addr      string
		want      bool
	}{
		{"any address", proxier.NodePortAddresses{}, "172.18.0.11", true},
		{"any address but loopback", proxier.NodePortAddresses{}, "127.0.0.1", false},
		{"any address, loopback too", proxier.NodePortAddresses{Loopback: true}, "127.0.0.53", true},
		{"IPv6 loopback", proxier.NodePortAddresses{}, "::1", false},
		{"within a range", proxier.NodePortAddresses{Within: within("10.0.0.0/8", "172.18.0.0/16")}, "172.18.0.11", true},
		{"outside of the ranges", proxier.NodePortAddresses{Within: within("10.0.0.0/8")}, "172.18.0.11", false},
		{"loopback that no range holds", proxier.NodePortAddresses{Within: within("10.0.0.0/8"), Loopback: true}, "127.0.0.1", false},
		{"loopback in a range, but not served", proxier.NodePortAddresses{Within: within("127.0.0.0/8")}, "127.0.0.1", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.addresses.Serves(netip.MustParseAddr(test.addr)); got != test.want {
				t.Errorf("%s is served: %v, want %v", test.addr, got, test.want)
			}
		})
	}
}
