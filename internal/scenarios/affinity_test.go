package scenarios

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/tracer"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// TestAffinityBetweenPackets checks what a packet table cannot say: what the
// memory of one way into a Service means for another way in.
func TestAffinityBetweenPackets(t *testing.T) {
	const bound, free = true, false
	tests := []struct {
		name     string
		scenario string
		// first and then are destinations in the scenario's packets.
		first, then string
		// bound: where the client was sent first it is sent again; free: it may
		// be sent anywhere, as if it had never been here.
		bound bool
	}{
		{"cluster IP, then node port", "affinity-remembers-the-client", "10.96.32.1:80/tcp", "172.18.0.11:30321/tcp", bound},
		{"cluster IP, then load balancer", "affinity-remembers-the-client", "10.96.32.1:80/tcp", "203.0.113.61:80/tcp", bound},
		{"load balancer, then external IP", "affinity-remembers-the-client", "203.0.113.61:80/tcp", "198.51.100.61:80/tcp", bound},
		{"node port, then cluster IP", "affinity-remembers-the-client", "172.18.0.11:30321/tcp", "10.96.32.1:80/tcp", bound},
		{"over IPv6", "affinity-remembers-the-client", "[fd00:10:96::8:1]:80/tcp", "[2001:db8:2::61]:80/tcp", bound},
		{"another port", "affinity-of-several-ports-is-kept-apart", "10.96.32.3:80/tcp", "10.96.32.3:81/tcp", free},
		{"another protocol", "affinity-for-udp-and-sctp", "10.96.32.10:5060/udp", "10.96.32.10:5060/sctp", free},
		{"another Service", "affinity-of-one-service-is-not-that-of-another", "10.96.32.11:80/tcp", "10.96.32.12:80/tcp", free},
		{"a Service without affinity", "affinity-of-one-service-is-not-that-of-another", "10.96.32.11:80/tcp", "10.96.32.13:80/tcp", free},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			first, then := packetTo(t, tt.scenario, tt.first), packetTo(t, tt.scenario, tt.then)
			then.Src = first.Src
			then.InInterface = first.InInterface
			tr := tracerOf(t, tt.scenario, proxier.FamilyOf(first.Dst))
			all := destinations(t, tr, then)
			for _, o := range outcomes(t, tr, first) {
				got := destinations(t, remembering(tr, first.Src, o.Recent), then)
				switch {
				case tt.bound && (len(got) != 1 || got[o.DNAT] == 0):
					t.Errorf("after %s it goes to %v", o.DNAT, got)
				case !tt.bound && fmt.Sprint(got) != fmt.Sprint(all):
					t.Errorf("after %s it goes to %v, want %v", o.DNAT, got, all)
				}
			}
		})
	}
}

// TestAffinityDoesNotLeadOffTheNode: a client that a Local policy does not
// bind was sent to another node. As an outside client it gets a local endpoint.
func TestAffinityDoesNotLeadOffTheNode(t *testing.T) {
	const scenario = "affinity-with-external-local-policy-keeps-to-the-local-endpoints"
	tr := tracerOf(t, scenario, proxier.IPv4)
	internal, external := packetTo(t, scenario, "10.96.32.4:80/tcp"), packetTo(t, scenario, "203.0.113.64:80/tcp")
	want := destinations(t, tr, external)
	remote := 0
	for _, o := range outcomes(t, tr, internal) {
		got := destinations(t, remembering(tr, external.Src, o.Recent), external)
		if want[o.DNAT] != 0 {
			if len(got) != 1 || got[o.DNAT] == 0 {
				t.Errorf("remembered for the local %s, it goes to %v", o.DNAT, got)
			}
			continue
		}
		remote++
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("remembered for the remote %s, it goes to %v, want %v", o.DNAT, got, want)
		}
	}
	if remote == 0 {
		t.Error("the scenario has no remote endpoint")
	}
}

func tracerOf(t *testing.T, scenario string, family proxier.Family) *tracer.Tracer {
	t.Helper()
	s := load(t, scenario)
	tr, err := tracer.New(s.IPTables(family, iptables.AllFeatures()), tracer.Host{Addresses: s.Addresses()})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func load(t *testing.T, scenario string) *Scenario {
	t.Helper()
	s, err := Load(filepath.Join(folder, scenario+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// packetTo is the scenario's first packet to that destination.
func packetTo(t *testing.T, scenario, to string) tracer.Packet {
	t.Helper()
	s := load(t, scenario)
	for _, family := range proxier.Families {
		cases, err := s.Cases(family)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			p := c.Packet
			if fmt.Sprintf("%s/%s", netip.AddrPortFrom(p.Dst, p.DstPort), p.Protocol) == to {
				return p
			}
		}
	}
	t.Fatalf("scenario %s has no packet to %s", scenario, to)
	return tracer.Packet{}
}

func remembering(tr *tracer.Tracer, client netip.Addr, lists []string) *tracer.Tracer {
	clients := map[string][]netip.Addr{}
	for _, list := range lists {
		clients[list] = []netip.Addr{client}
	}
	return tr.WithRecent(clients)
}

func outcomes(t *testing.T, tr *tracer.Tracer, p tracer.Packet) []tracer.Outcome {
	t.Helper()
	result, err := tr.Trace(p)
	if err != nil {
		t.Fatal(err)
	}
	return result.Outcomes
}

// destinations are the endpoints a packet may get, with their chances.
func destinations(t *testing.T, tr *tracer.Tracer, p tracer.Packet) map[netip.AddrPort]float64 {
	t.Helper()
	chances := map[netip.AddrPort]float64{}
	for _, o := range outcomes(t, tr, p) {
		chances[o.DNAT] += o.Probability
	}
	return chances
}
