package kerneltest

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/traffic"
)

// counting reads the counters of a scene's rules.
type counting struct {
	t      *testing.T
	kernel *kernel
	source *iptables.Traffic
	*traffic.Meter
}

// count begins to count; what went before does not.
func (s *scene) count(t *testing.T, family proxier.Family) *counting {
	t.Helper()
	k := s.kernels[family]
	c := &counting{t, k, iptables.NewTraffic(k.tool, s.dataplanes[family]), traffic.NewMeter(100)}
	c.Start(c.read())
	return c
}

func (c *counting) read() (r traffic.Reading) {
	c.t.Helper()
	err := c.kernel.host.Do(func() (err error) {
		r, err = c.source.Read(context.WithoutCancel(c.t.Context()))
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// expect compares the connections of each Service since the start.
func (c *counting) expect(when string, want map[string]uint64) {
	c.t.Helper()
	c.Add(c.read())
	for _, total := range c.Totals().Ports {
		if got := total.Connections; got != want[total.Name] {
			c.t.Errorf("%s: %d connections to %s are counted, want %d", when, got, total.Name, want[total.Name])
		}
		delete(want, total.Name)
	}
	for name := range want {
		c.t.Errorf("%s: nothing is said of %s", when, name)
	}
}

// trafficServices differ in where their connections are counted: one has a rule
// in the dispatch tree, one a chain, one a chain with affinity, and one has other
// rules for clients from outside than for those inside.
func trafficServices() []service {
	at := func(last string) [2]string { return [2]string{"10.96.32." + last, "fd00:10:96:32::" + last} }
	two := addrsOf("10.244.1.21", "10.244.2.22", "fd00:10:244:1::21", "fd00:10:244:2::22")
	one := addrsOf("10.244.1.21", "fd00:10:244:1::21")
	return []service{
		{name: "one", protocol: "TCP", ips: at("1"), endpoints: one},
		{name: "two", protocol: "TCP", ips: at("2"), endpoints: two},
		{name: "sticky", protocol: "TCP", ips: at("3"), endpoints: two, spec: stickyForLongSpec},
		{name: "udp", protocol: "UDP", ips: at("4"), endpoints: one},
		{name: "local", protocol: "TCP", ips: at("5"), endpoints: two, spec: "  type: LoadBalancer\n  externalTrafficPolicy: Local\n  healthCheckNodePort: 30999\n  externalIPs: [203.0.113.32, \"2001:db8:113::32\"]\n"},
	}
}

// TestTrafficIsCounted: n dials are n connections, of each Service, also after its
// endpoints or those of a neighbour in the dispatch tree have changed, and after
// a process has taken over from another.
func TestTrafficIsCounted(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant testenv.Variant) {
		services := trafficServices()
		eachFamily(t, services[0], func(t *testing.T, vip netip.AddrPort, client netip.Addr) {
			t.Parallel()
			family := proxier.FamilyOf(vip.Addr())
			where := places{client: outside}
			for _, e := range services[1].endpoints {
				where[e] = answersThere
				if e.String() == "10.244.1.21" || e.String() == "fd00:10:244:1::21" {
					where[e] = answersHere
				}
			}
			var targets []netip.Addr
			address := map[string]netip.AddrPort{}
			for _, s := range services {
				for _, ip := range addrsOf(s.ips[:]...) {
					if proxier.FamilyOf(ip) == family {
						address[s.name] = netip.AddrPortFrom(ip, 80)
						targets = append(targets, ip)
					}
				}
			}
			external := netip.MustParseAddr(map[proxier.Family]string{proxier.IPv4: "203.0.113.32", proxier.IPv6: "2001:db8:113::32"}[family])
			s := newScene(t, variant, where, append(targets, external))
			s.listen(t, "tcp", services[1].endpoints)
			s.listen(t, "udp", services[0].endpoints)
			serve := func(services []service) {
				text := ""
				for _, service := range services {
					text += service.String()
				}
				s.serve(t, parseObjects(t, text))
			}
			dial := func(n int) {
				// A UDP client that gets the port of an earlier one goes on with its flow.
				if err := s.kernels[family].host.Do(func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) }); err != nil {
					t.Fatal(err)
				}
				for _, service := range services {
					protocol := map[string]string{"TCP": "tcp", "UDP": "udp"}[service.protocol]
					for range n {
						s.ask(t, protocol, client, address[service.name])
					}
				}
			}
			all := func(n uint64) map[string]uint64 {
				return map[string]uint64{"one": n, "two": n, "sticky": n, "udp": n, "local": n}
			}
			serve(services)
			dial(2)
			c := s.count(t, family)
			c.expect("what was before", all(0))
			dial(7)
			s.ask(t, "tcp", client, netip.AddrPortFrom(external, 80))
			want := all(7)
			want["local"]++
			c.expect("at first", want)

			changed := trafficServices()
			changed[0].endpoints, changed[1].endpoints = services[1].endpoints, services[0].endpoints
			serve(changed)
			dial(9) // more than before: that the counters are new is not seen by their being lower
			want = all(16)
			want["local"]++
			c.expect("after the endpoints have changed", want)
			serve(services)
			dial(1)
			want = all(17)
			want["local"]++
			c.expect("after they have changed back", want)

			s.dataplanes[family] = iptables.NewDataplane(s.kernels[family], s.kernels[family].config(t, 14))
			next := s.count(t, family)
			serve(services)
			dial(1)
			next.expect("after a restart", all(1))
			c.expect("all the time", func() map[string]uint64 { want := all(18); want["local"]++; return want }())
		})
	})
}

// TestTrafficIsCountedAmidWrites: to replace a legacy table takes two steps, and the
// counters come with the second.
func TestTrafficIsCountedAmidWrites(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant testenv.Variant) {
		web := trafficServices()[0]
		endpoint, vip := netip.MustParseAddr("10.244.1.21"), netip.MustParseAddr(web.ips[0])
		client := netip.MustParseAddr("192.0.2.7")
		s := newScene(t, variant, places{client: outside, endpoint: answersHere}, []netip.Addr{vip})
		s.listen(t, "tcp", []netip.Addr{endpoint})
		s.serve(t, parseObjects(t, web.String()))
		for range 5 {
			s.ask(t, "tcp", client, netip.AddrPortFrom(vip, 80))
		}
		k := s.kernels[proxier.IPv4]
		restore := func(input string) {
			if err := k.tool.Restore(t.Context(), "*nat\n"+input+"COMMIT\n"); err != nil && t.Context().Err() == nil {
				t.Error(err)
			}
		}
		const another = "-A ANOTHER -j RETURN\n"
		err := k.host.Do(func() error {
			restore(":ANOTHER - [0:0]\n" + strings.Repeat(another, 5000))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		enough := make(chan struct{})
		var writer sync.WaitGroup
		writer.Go(func() {
			_ = k.host.Do(func() error {
				for {
					select {
					case <-enough:
						return nil
					default:
						restore(another + "-D ANOTHER 1\n")
					}
				}
			})
		})
		for range 50 {
			reader := &counting{t, k, iptables.NewTraffic(k.tool, s.dataplanes[proxier.IPv4]), traffic.NewMeter(100)}
			reader.expect("amid writes", map[string]uint64{"one": 5})
		}
		close(enough)
		writer.Wait()
	})
}
