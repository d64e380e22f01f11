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

// Which addresses a configuration means, for a node at 192.0.2.1 and for one of
// which no address is known.
func TestNodePortAddressesOfOptions(t *testing.T) {
	const loopback = "127.0.0.1"
	ranges := func(texts ...string) func(*proxier.Options) {
		return func(o *proxier.Options) { o.NodePortAddresses, _ = proxier.ParsePrefixes(texts) }
	}
	primary := func(o *proxier.Options) { o.NodePortPrimary = true }
	for name, test := range map[string]struct {
		option  func(*proxier.Options)
		known   bool // whether the node's address is
		want    []string
		wantNot []string
	}{
		"all":                  {ranges(), true, []string{"192.0.2.1", "192.0.2.2", loopback}, nil},
		"a range":              {ranges("192.0.2.2/32"), true, []string{"192.0.2.2"}, []string{"192.0.2.1", loopback}},
		"a loopback range":     {ranges("127.0.0.1/32"), true, []string{loopback}, []string{"192.0.2.1"}},
		"primary":              {primary, true, []string{"192.0.2.1"}, []string{"192.0.2.2", loopback}},
		"primary, none known":  {primary, false, []string{"192.0.2.1", "192.0.2.2"}, []string{loopback}},
		"ranges of the other":  {ranges("2001:db8::/32"), true, []string{"192.0.2.2", loopback}, nil},
		"primary at loopback":  {func(o *proxier.Options) { primary(o); o.BindAddress = netip.MustParseAddr(loopback) }, false, []string{"192.0.2.2"}, []string{loopback}},
		"localhost turned off": {func(o *proxier.Options) { o.LocalhostNodePorts = false }, true, []string{"192.0.2.2"}, []string{loopback}},
	} {
		t.Run(name, func(t *testing.T) {
			options := proxier.Options{Family: proxier.IPv4, LocalhostNodePorts: true}
			test.option(&options)
			store := proxier.NewStore()
			if test.known {
				store.SetNode(node("node1", "192.0.2.1"))
			}
			addresses := proxier.Build(nil, store.Snapshot(), options).NodePortAddresses
			for want, texts := range map[bool][]string{true: test.want, false: test.wantNot} {
				for _, text := range texts {
					if got := addresses.Serves(netip.MustParseAddr(text)); got != want {
						t.Errorf("%s is served: %v, want %v", text, got, want)
					}
				}
			}
		})
	}
}
