package ipvstests

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv/vm"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// scheduler is the annotation that chooses one.
func scheduler(name string) string {
	return fmt.Sprintf("    %s: %s\n", proxier.SchedulerAnnotation, name)
}

// Each scheduler is loaded and serves.
func TestEverySchedulerServes(t *testing.T) {
	s := newStage(t, []string{"here"}, []string{"there"}, settings{})
	var services []service
	for i, name := range vm.Schedulers() {
		services = append(services, service{
			name: name, number: 10 + i, protocols: []string{"TCP"}, annotations: scheduler(name), endpoints: s.on("here", "there"),
		})
	}
	s.serve(t, services...)
	s.settled(t)
	for family, p := range s.proxies {
		servers := p.servers(t)
		for _, service := range services {
			to := s.addressOf(family, "lb", service.number)
			if line := fmt.Sprintf("-A -t %s -s %s", to, service.name); !strings.Contains(servers, line) {
				t.Errorf("virtual server %q is missing in\n%s", line, servers)
			}
			s.ask(t, "client", to, netip.AddrPort{})
		}
	}
}

// The shares of 1,000 connections.
func TestConnectionsAreSpreadByWeight(t *testing.T) {
	s := newStage(t, []string{"a", "b"}, []string{"c", "d"}, settings{})
	weights := fmt.Sprintf("%s=1,%s=2,%s=3,%s=4", s.hosts["a"].Addr4(), s.hosts["b"].Addr4(), s.hosts["c"].Addr4(), s.hosts["d"].Addr4())
	all := s.on("a", "b", "c", "d")
	s.serve(t,
		service{name: "equal", number: 10, endpoints: all},
		service{name: "weighted", number: 11, annotations: scheduler("wrr"), endpoints: all, weights: weights},
	)
	const connections = 1000
	for number, want := range map[int]map[string]int{
		10: {"a": 250, "b": 250, "c": 250, "d": 250},
		11: {"a": 100, "b": 200, "c": 300, "d": 400},
	} {
		have := map[string]int{}
		for range connections {
			have[s.ask(t, "client", s.addressOf(proxier.IPv4, "lb", number), netip.AddrPort{})]++
		}
		for server, n := range want {
			if d := have[server] - n; d < -5 || d > 5 { // both take turns; a SYN sent twice is one more
				t.Errorf("Service %d: of %d connections have %v, want %v", number, connections, have, want)
				break
			}
		}
	}
}

// sh chooses by the client's address, mh by address and port.
func TestHashesAreStable(t *testing.T) {
	s := newStage(t, []string{"a", "b"}, []string{"c"}, settings{})
	all := s.on("a", "b", "c")
	s.serve(t,
		service{name: "sh", number: 10, annotations: scheduler("sh"), endpoints: all},
		service{name: "mh", number: 11, annotations: scheduler("mh"), endpoints: all},
	)
	const first, ports = 20000, 12
	for _, source := range s.Client().Addrs() {
		family := proxier.FamilyOf(source)
		bySource := map[string]bool{}
		byPort := map[uint16]string{}
		byPorts := map[string]bool{}
		for range 2 {
			for port := uint16(first); port < first+ports; port++ {
				from := netip.AddrPortFrom(source, port)
				bySource[s.ask(t, "client", s.addressOf(family, "lb", 10), from)] = true
				server := s.ask(t, "client", s.addressOf(family, "lb", 11), from)
				byPorts[server] = true
				if before := byPort[port]; before != "" && before != server {
					t.Errorf("mh: %s gets %s, then %s", from, before, server)
				}
				byPort[port] = server
			}
		}
		if len(bySource) != 1 {
			t.Errorf("sh: %s gets %v, want always the same", source, bySource)
		}
		if len(byPorts) == 1 {
			t.Errorf("mh: all %d ports of %s get %v, want them spread", ports, source, byPorts)
		}
	}
}

// lc sends new connections to whoever has fewest.
func TestLeastConnectionsPrefersTheIdle(t *testing.T) {
	s := newStage(t, []string{"busy"}, []string{"idle"}, settings{})
	web := service{name: "web", number: 10, annotations: scheduler("lc"), endpoints: s.on("busy")}
	s.serve(t, web)
	const connections = 5
	for _, want := range []string{"busy", "idle"} {
		for range connections {
			for _, family := range proxier.Families {
				if _, have := s.open(t, "client", "tcp", s.addressOf(family, "lb", 10)); have != want {
					t.Errorf("%s: %s gets the connection, want %s", family, have, want)
				}
			}
		}
		web.endpoints = s.on("busy", "idle")
		s.serve(t, web)
	}
}

// ClientIP affinity keeps each client at its endpoint.
func TestClientsStickToTheirEndpoint(t *testing.T) {
	s := newStage(t, []string{"asker", "a", "b"}, []string{"c"}, settings{})
	s.serve(t, service{
		name: "sticky", number: 10, spec: "  sessionAffinity: ClientIP\n", endpoints: s.on("a", "b", "c"),
	})
	s.settled(t)
	for _, family := range proxier.Families {
		choices := map[string]bool{}
		for _, from := range []string{"client", "asker", "node"} {
			for _, source := range s.hosts[from].Addrs() {
				if proxier.FamilyOf(source) != family {
					continue
				}
				to := s.addressOf(family, "cluster", 10)
				want := s.ask(t, from, to, netip.AddrPortFrom(source, 0))
				choices[want] = true
				for range 6 {
					if have := s.ask(t, from, to, netip.AddrPortFrom(source, 0)); have != want {
						t.Errorf("%s: %s gets %s, then %s", from, source, want, have)
					}
				}
			}
		}
		if len(choices) < 3 {
			t.Errorf("%s: four clients got %v, want all three endpoints", family, choices)
		}
	}
}
