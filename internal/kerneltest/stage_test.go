package kerneltest

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// A stage is the standard network with everybody on it that some scenarios
// mention: who sends, the endpoints, and behind every address that a packet is
// not translated away from, a server that answers should the packet get there.
//
//	outside client ── node1 (the rules) ── its pods
//	                    └── node2 ── its pods, and the rest of the world
//
// All traffic passes through node1, answers too: node2 sends there what its
// pods send. So a connection that is not masqueraded is answered as well, and
// what the server sees is what node1 made of the packet.
type stage struct {
	*testenv.Cluster
	node1, node2 *testenv.Node
	places       places
	hosts        map[netip.Addr]*testenv.Host // who has the address; node1's not among them
}

// A place is where an address is on a stage.
type place string

const (
	// Senders have a namespace each: a pod that reaches another pod must not
	// find its own address there.
	podHere  place = "pod on node1"
	podThere place = "pod on node2"
	outside  place = "outside client"
	onNode2  place = "node2"
	// All that only answers shares a namespace on each node.
	answersHere  place = "answers on node1"
	answersThere place = "answers on node2"
)

// onlyAnswers reports whether the address could as well be anywhere else.
func (p place) onlyAnswers() bool { return p == answersHere || p == answersThere }

// places say where addresses are.
type places map[netip.Addr]place

// add puts an address somewhere; false if it is elsewhere already.
func (p places) add(addr netip.Addr, where place) bool {
	have, taken := p[addr]
	switch {
	case !taken || have.onlyAnswers() && !where.onlyAnswers():
		p[addr] = where
		return true
	default:
		return have == where || where.onlyAnswers()
	}
}

// merge adds all of q, or nothing where the two disagree.
func (p places) merge(q places) bool {
	both := maps.Clone(p)
	for addr, where := range q {
		if !both.add(addr, where) {
			return false
		}
	}
	maps.Copy(p, both)
	return true
}

// at are the addresses of a place, in order.
func (p places) at(where place) []netip.Addr {
	var addrs []netip.Addr
	for addr, w := range p {
		if w == where {
			addrs = append(addrs, addr)
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return addrs
}

// newStage builds the network. clientTargets are what the outside client sends
// to, in addition to the places.
func newStage(t *testing.T, p places, clientTargets []netip.Addr) *stage {
	t.Helper()
	c := testenv.StartCluster(t)
	s := &stage{
		Cluster: c, node1: c.Node("node1"), node2: c.Node("node2"),
		places: p, hosts: map[netip.Addr]*testenv.Host{},
	}
	for _, addr := range s.node2.Addrs() {
		s.hosts[addr] = s.node2.Host
	}
	for _, addr := range c.Client().Addrs() {
		s.hosts[addr] = c.Client()
	}
	if err := s.populate(); err != nil {
		t.Fatal(err)
	}
	if err := s.route(append(clientTargets, slices.Collect(maps.Keys(p))...)); err != nil {
		t.Fatal(err)
	}
	return s
}

// populate makes the hosts.
func (s *stage) populate() error {
	for _, addr := range s.places.at(outside) {
		if s.hosts[addr] == nil {
			if err := s.Client().AddAddress(addr); err != nil {
				return err
			}
			s.hosts[addr] = s.Client()
		}
	}
	for node, kinds := range map[*testenv.Node][2]place{
		s.node1: {podHere, answersHere}, s.node2: {podThere, answersThere},
	} {
		for _, addr := range s.places.at(kinds[0]) {
			if err := s.addPod(node, addr.String(), addr); err != nil {
				return err
			}
		}
		if shared := s.places.at(kinds[1]); len(shared) > 0 {
			if err := s.addPod(node, "shared", shared...); err != nil {
				return err
			}
		}
	}
	return nil
}

// addPod makes a pod with these addresses. The first of each family are on the
// link; the way to the others leads over them, so that hundreds of addresses do
// not fill the kernel's table of neighbours, which is one for all namespaces
// (net.ipv4.neigh.default.gc_thresh3, 1024).
func (s *stage) addPod(node *testenv.Node, name string, addrs ...netip.Addr) error {
	var first, others []netip.Addr
	for _, addr := range addrs {
		if slices.ContainsFunc(first, func(f netip.Addr) bool { return f.Is4() == addr.Is4() }) {
			others = append(others, addr)
		} else {
			first = append(first, addr)
		}
	}
	pod, err := node.AddPod(name, first...)
	if err != nil {
		return err
	}
	device, err := deviceTo(node, first[0])
	if err != nil {
		return err
	}
	for _, addr := range others {
		if err := pod.AddAddress(addr); err != nil {
			return err
		}
		if err := addRoute(node.Host, hostPrefix(addr), pod, device.Attrs().Name, 0); err != nil {
			return err
		}
	}
	for _, addr := range addrs {
		s.hosts[addr] = pod
	}
	if node == s.node1 {
		// Out of the way of names that packet tables give to devices.
		return rename(node, first[0], "vethpod"+device.Attrs().Name[len(testenv.PodDevicePrefix):])
	}
	return s.throughNode1(func(rule *netlink.Rule) { rule.IifName = device.Attrs().Name })
}

// tableBack is node2's routing table that leads to node1 and nowhere else.
const tableBack = 100

// throughNode1 has node2 send to node1 what the rule selects.
func (s *stage) throughNode1(selects func(*netlink.Rule)) error {
	return s.node2.Do(func() error {
		for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
			rule := netlink.NewRule()
			rule.Family, rule.Table, rule.Priority = family, tableBack, 100
			selects(rule)
			if rule.Src != nil && (rule.Src.IP.To4() != nil) != (family == netlink.FAMILY_V4) {
				continue
			}
			if err := netlink.RuleAdd(rule); err != nil {
				return fmt.Errorf("node2: add routing rule %s: %w", rule, err)
			}
		}
		return nil
	})
}

// route leads all packets through node1.
func (s *stage) route(clientTargets []netip.Addr) error {
	for _, all := range []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")} {
		if err := addRoute(s.node2.Host, all, s.node1.Host, wire, tableBack); err != nil {
			return err
		}
	}
	for _, addr := range s.node2.Addrs() {
		err := s.throughNode1(func(rule *netlink.Rule) { rule.IifName, rule.Src = "lo", ipNet(hostPrefix(addr)) })
		if err != nil {
			return err
		}
	}
	for _, where := range []place{podThere, answersThere} {
		for _, addr := range s.places.at(where) {
			if err := addRoute(s.node1.Host, hostPrefix(addr), s.node2.Host, wire, 0); err != nil {
				return err
			}
		}
	}
	for _, addr := range clientTargets {
		if addr.IsLoopback() || slices.Contains(s.node1.Addrs(), addr) || s.hosts[addr] == s.Client() {
			continue
		}
		if err := addRoute(s.Client(), hostPrefix(addr), s.node1.Host, wire, 0); err != nil {
			return err
		}
	}
	return nil
}

// wire is the device of every host that leads to the other hosts.
const wire = "eth0"

// addRoute has host send what is for prefix over the device to next, a neighbour.
func addRoute(host *testenv.Host, prefix netip.Prefix, next *testenv.Host, device string, table int) error {
	via := next.Addr4()
	if prefix.Addr().Is6() {
		via = next.Addr6()
	}
	err := host.Do(func() error {
		link, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		return netlink.RouteReplace(&netlink.Route{
			LinkIndex: link.Attrs().Index, Table: table, Gw: via.AsSlice(), Dst: ipNet(prefix),
		})
	})
	if err != nil {
		return fmt.Errorf("%s: route %s via %s dev %s: %w", host.Name, prefix, via, device, err)
	}
	return nil
}

// deviceTo is the node's device towards a pod.
func deviceTo(node *testenv.Node, addr netip.Addr) (device netlink.Link, err error) {
	err = node.Do(func() error {
		routes, err := netlink.RouteGet(addr.AsSlice())
		if err != nil {
			return err
		}
		device, err = netlink.LinkByIndex(routes[0].LinkIndex)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: device towards %s: %w", node.Name, addr, err)
	}
	return device, nil
}

// rename gives the node's device towards a pod another name, while it is up.
func rename(node *testenv.Node, pod netip.Addr, name string) error {
	device, err := deviceTo(node, pod)
	if err != nil || device.Attrs().Name == name {
		return err
	}
	if err := node.Do(func() error { return netlink.LinkSetName(device, name) }); err != nil {
		return fmt.Errorf("%s: rename device %s to %s: %w", node.Name, device.Attrs().Name, name, err)
	}
	return nil
}

// flushConntrack forgets the connections of earlier tests: their ports come
// again.
func flushConntrack(node *testenv.Node) error {
	return node.Do(func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) })
}

func hostPrefix(addr netip.Addr) netip.Prefix { return netip.PrefixFrom(addr, addr.BitLen()) }

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
