package ipvstests

import (
	"testing"
	"time"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/traffic"
)

// counting reads what one family's proxy counts.
type counting struct {
	t      *testing.T
	proxy  *proxy
	source traffic.Source
	*traffic.Meter
}

// count begins to count; what went before does not.
func (p *proxy) count(t *testing.T, family proxier.Family) *counting {
	t.Helper()
	c := &counting{t: t, proxy: p, Meter: traffic.NewMeter(100)}
	var servers *ipvs.Dataplane
	for _, d := range p.reconciler.Dataplanes {
		if d, ok := d.(*ipvs.Dataplane); ok {
			servers = d
		}
	}
	err := p.node.Do(func() error {
		tool, err := iptables.FindTool(t.Context(), family)
		c.source = traffic.Both(ipvs.NewTraffic(family, servers), iptables.NewTraffic(tool, p.rules))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Start(c.read())
	return c
}

func (c *counting) read() (r traffic.Reading) {
	c.t.Helper()
	err := c.proxy.node.Do(func() (err error) {
		r, err = c.source.Read(c.t.Context())
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// of is what was counted of a Service's TCP port since the start.
func (c *counting) of(service string) traffic.Counts {
	c.t.Helper()
	c.Add(c.read())
	for _, total := range c.Totals().Ports {
		if total.Name == service && total.Protocol == "TCP" {
			return total.Counts
		}
	}
	c.t.Fatalf("nothing is said of %s", service)
	return traffic.Counts{}
}

// expect waits until that many connections are counted: the kernel adds up what its
// processors have counted every 2 s (ip_vs_est.c).
func (c *counting) expect(when, service string, connections uint64) traffic.Counts {
	c.t.Helper()
	for end := time.Now().Add(deadline); ; {
		got := c.of(service)
		if got.Connections == connections {
			return got
		}
		if got.Connections > connections || time.Now().After(end) {
			c.t.Fatalf("%s: %d connections to %s are counted, want %d", when, got.Connections, service, connections)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// TestTrafficIsCounted: n dials are n connections, whatever address they are to,
// with their packets and bytes; also after endpoints have changed, and where rules
// send them past the virtual servers.
func TestTrafficIsCounted(t *testing.T) {
	s := newStage(t, []string{"pod-a", "pod-c"}, []string{"pod-b"}, settings{})
	web := service{name: "web", number: 1, endpoints: s.on("pod-a", "pod-b")}
	local := service{
		name: "local", number: 2, endpoints: s.on("pod-a", "pod-b"),
		spec: "  externalTrafficPolicy: Local\n  healthCheckNodePort: 31999\n",
	}
	other := service{name: "other", number: 3, endpoints: s.on("pod-b")}
	s.serve(t, web, local, other)
	for _, family := range proxier.Families {
		c := s.proxies[family].count(t, family)
		dial := func(from, kind string, number int) {
			t.Helper()
			if got := s.outcome(t, from, "tcp", s.addressOf(family, kind, number)); got != "pod-a" && got != "pod-b" {
				t.Fatalf("%s to %s %d: %s", from, kind, number, got)
			}
		}
		c.expect("nothing yet", "web", 0)
		for range 3 {
			for _, kind := range []string{"cluster", "lb", "external", "nodeport"} {
				dial("client", kind, 1)
			}
		}
		got := c.expect("all kinds of addresses", "web", 12)
		// At least the handshake, the answer and its acknowledgement, and the end.
		if got.PacketsIn < 4*12 || got.PacketsOut < 3*12 || got.BytesIn < 4*12*40 || got.BytesOut < 3*12*40 {
			t.Errorf("12 connections are %+v", got)
		}

		s.serve(t, service{name: "web", number: 1, endpoints: s.on("pod-b")}, local, other)
		dial("client", "cluster", 1)
		c.expect("after an endpoint has gone", "web", 13)
		s.serve(t, web, local, other)
		dial("client", "cluster", 1)
		c.expect("after it is back", "web", 14)

		dial("client", "lb", 2)
		dial("pod-c", "lb", 2) // past the virtual server, to any endpoint
		dial("node", "nodeport", 2)
		c.expect("external policy Local", "local", 3)
		if got := c.expect("a Service nobody uses", "other", 0); got != (traffic.Counts{}) {
			t.Errorf("a Service nobody uses has %+v", got)
		}
		next := s.proxies[family].count(t, family)
		dial("client", "cluster", 1)
		next.expect("after a restart", "web", 1)
		c.expect("all the time", "web", 15)
	}
}
