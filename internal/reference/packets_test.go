package reference

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/kube-proxier/kube-proxier/internal/scenarios"
	"github.com/kube-proxier/kube-proxier/iptables/tracer/packets"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// packetsFor are the packets that matter for a scenario's objects: from each kind
// of sender to each place that a Service wants, and to some that none does. The
// lines are without an expectation.
func packetsFor(s *scenarios.Scenario, family proxier.Family) []string {
	var lines []string
	for _, to := range destinations(s, family) {
		for _, from := range senders(s, family, to.addr) {
			lines = append(lines, from+" "+to.String())
		}
	}
	return lines
}

// senders of one family that can send to a destination at all: what is sent from
// loopback addresses does not leave the node, and the other way round.
func senders(s *scenarios.Scenario, family proxier.Family, to netip.Addr) []string {
	if to.IsLoopback() {
		if family == proxier.IPv6 {
			return []string{"node ::1"}
		}
		return []string{"node 127.0.0.1", "client 192.0.2.7", "pod 10.244.1.5"}
	}
	own := func(list []string) []string {
		for _, a := range s.Addresses() {
			if proxier.FamilyOf(a) == family {
				list = append(list, "node "+a.String())
			}
		}
		return list
	}
	if family == proxier.IPv4 {
		return own([]string{
			"pod 10.244.1.5", "pod 10.244.1.21", "pod 10.244.2.22%eth0", "pod 10.244.1.22%br7",
			"client 192.0.2.7", "client 198.18.0.7", "client 172.18.0.12",
		})
	}
	return own([]string{
		"pod fd00:10:244:1::5", "pod fd00:10:244:1::21", "pod fd00:10:244:2::22%eth0", "pod fd00:10:244:1::22%br7",
		"client 2001:db8:2::7", "client 2001:db8:99::7", "client fd00:172:18::12",
	})
}

type destination struct {
	addr     netip.Addr
	port     int32
	protocol string
}

func (d destination) String() string {
	if d.port == 0 {
		return fmt.Sprintf("%s/%s", d.addr, d.protocol)
	}
	return fmt.Sprintf("%s/%s", netip.AddrPortFrom(d.addr, uint16(d.port)), d.protocol)
}

// destinations are all addresses that somebody may want, with all ports of Services.
func destinations(s *scenarios.Scenario, family proxier.Family) []destination {
	addrs := append(s.Addresses(), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1"),
		netip.MustParseAddr("198.51.100.99"), netip.MustParseAddr("2001:db8:51::99"))
	at := []destination{{port: 81, protocol: "tcp"}, {protocol: ping[family]}}
	add := func(text string) {
		if a, ok := address(text); ok && claimable(a) {
			addrs = append(addrs, a)
		}
	}
	for _, service := range s.Objects.Services {
		for _, text := range slices.Concat(service.Spec.ClusterIPs, service.Spec.ExternalIPs, []string{service.Spec.ClusterIP}) {
			add(text)
		}
		for _, ingress := range service.Status.LoadBalancer.Ingress {
			add(ingress.IP)
		}
		for _, port := range service.Spec.Ports {
			for _, number := range []int32{port.Port, port.NodePort} {
				to := destination{port: number, protocol: strings.ToLower(string(port.Protocol))}
				if number != 0 && !slices.Contains(at, to) {
					at = append(at, to)
				}
			}
		}
	}
	addrs = slices.DeleteFunc(addrs, func(a netip.Addr) bool { return proxier.FamilyOf(a) != family })
	slices.SortFunc(addrs, netip.Addr.Compare)
	var list []destination
	for _, addr := range slices.Compact(addrs) {
		for _, to := range at {
			list = append(list, destination{addr, to.port, to.protocol})
		}
	}
	return list
}

var ping = map[proxier.Family]string{proxier.IPv4: "icmp", proxier.IPv6: "ipv6-icmp"}

// parsed reads a line of packetsFor.
func parsed(s *scenarios.Scenario, line string) (packets.Case, error) {
	list, err := packets.Parse(line+" -", s.Addresses())
	if err != nil {
		return packets.Case{}, err
	}
	c := list[0]
	c.Text = line
	return c, nil
}
