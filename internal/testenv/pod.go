package testenv

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// podGateway6 is the node's address on every device towards a pod. IPv6 answers
// neighbour solicitations only for addresses of the very device, so that the
// node's own address, which serves as IPv4 gateway, would not do.
func podGateway6() netip.Addr { return netip.MustParseAddr("fe80::1") }

// AddPod makes a pod on the node: a Host joined by a veth pair, a route per
// address on the node, and a default route to the node in the pod. Without
// addrs it gets the next of each of the node's PodCIDRs.
func (n *Node) AddPod(name string, addrs ...netip.Addr) (*Host, error) {
	n.podMu.Lock()
	defer n.podMu.Unlock()
	n.pods++
	if len(addrs) == 0 {
		for _, cidr := range n.PodCIDRs {
			addrs = append(addrs, nth(cidr, n.pods+1)) // the first is customarily the node's
		}
	}
	pod, err := n.cluster.newHost(fmt.Sprintf("%s-%d-%s", n.Name, n.pods, name))
	if err != nil {
		return nil, err
	}
	pod.Name = name
	dev := fmt.Sprintf("%s%d", PodDevicePrefix, n.pods)
	if err := connect(n.Host, dev, pod, uplink); err != nil {
		return nil, err
	}
	gateway := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(podGateway6(), 64)), Flags: ifaFlagNoDAD}
	if err := n.addAddr(dev, gateway); err != nil {
		return nil, err
	}
	for _, addr := range addrs {
		if err := n.routePod(pod, dev, addr); err != nil {
			return nil, err
		}
	}
	return pod, nil
}

// routePod gives the pod one address, with the routes there and back.
func (n *Node) routePod(pod *Host, dev string, addr netip.Addr) error {
	if err := pod.addAddr(uplink, newAddr(netip.PrefixFrom(addr, addr.BitLen()))); err != nil {
		return err
	}
	own := n.like(addr)
	if err := n.addRoutes(route{to: netip.PrefixFrom(addr, addr.BitLen()), dev: dev, src: own}); err != nil {
		return err
	}
	if addr.Is6() {
		return pod.addRoutes(route{to: netip.MustParsePrefix("::/0"), via: podGateway6(), dev: uplink})
	}
	return pod.addRoutes(
		route{to: netip.PrefixFrom(own, own.BitLen()), dev: uplink},
		route{to: netip.MustParsePrefix("0.0.0.0/0"), via: own, dev: uplink},
	)
}

// nth is the address that follows cidr's first by i.
func nth(cidr netip.Prefix, i int) netip.Addr {
	addr := cidr.Masked().Addr()
	for range i {
		addr = addr.Next()
	}
	return addr
}
