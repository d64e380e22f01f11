package ipvstests

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/device"
	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// TestGlancesSeeWhatOthersDo: what somebody takes away is seen at a glance, and
// nothing is where nobody did.
func TestGlancesSeeWhatOthersDo(t *testing.T) {
	s := newStage(t, []string{"pod-a"}, nil, settings{})
	s.serve(t, service{name: "web", number: 10, endpoints: s.on("pod-a")})
	p := s.proxies[proxier.IPv4]
	for _, test := range []struct {
		name, dataplane string
		do              func() error
	}{
		{"nothing", "", func() error { return nil }},
		{"a virtual server deleted", "ipvs", func() error {
			list, err := p.kernel.List(t.Context())
			if err == nil {
				_, err = p.kernel.Do(t.Context(), []ipvs.Op{{Kind: ipvs.DeleteService, Place: list.Servers[0].Place}})
			}
			return err
		}},
		{"an address deleted", "addresses", func() error {
			link, err := netlink.LinkByName(device.Name)
			if err != nil {
				return err
			}
			addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
			if err == nil {
				err = netlink.AddrDel(link, &addrs[0])
			}
			return err
		}},
		{"a set flushed", "ipset", func() error {
			return exec.CommandContext(t.Context(), "ipset", "flush", ipset.Name(proxier.IPv4, ipset.ClusterIPs)).Run()
		}},
	} {
		if err := p.node.Do(test.do); err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if seen := p.glances(t); strings.Join(seen, " ") != test.dataplane {
			t.Errorf("%s: seen by %q, want %q", test.name, seen, test.dataplane)
		}
		for _, d := range p.reconciler.Dataplanes {
			d.Forget()
		}
		p.sync(t)
		if seen := p.glances(t); len(seen) > 0 {
			t.Errorf("%s, and repaired: seen by %q", test.name, seen)
		}
	}
}

// glances are the dataplanes that see something different.
func (p *proxy) glances(t *testing.T) []string {
	t.Helper()
	var seen []string
	err := p.node.Do(func() error {
		for _, d := range p.reconciler.Dataplanes {
			glancer, ok := d.(interface {
				Glance(ctx context.Context) (string, error)
			})
			if !ok {
				continue
			}
			different, err := glancer.Glance(t.Context())
			if err != nil {
				return err
			}
			if different != "" {
				seen = append(seen, d.Name())
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return seen
}
