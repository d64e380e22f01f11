package testenv

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"

	"github.com/vishvananda/netlink"
)

// Cluster is the standard network of the tests: two nodes and a client outside
// of the cluster on one layer-2 segment, pods routed behind their nodes.
//
//	client                    node1                      node2
//	172.18.0.100              172.18.0.11                172.18.0.12
//	fd00:172:18::100          fd00:172:18::11            fd00:172:18::12
//	198.51.100.7              pods 10.244.1.0/24         pods 10.244.2.0/24
//	2001:db8:51::7            fd00:10:244:1::/64         fd00:10:244:2::/64
//	     |                         |                          |
//	   --+-------- wire (a bridge in a namespace) ------------+--
//
// The client routes the addresses that only Services have (VIPs) to node1, see
// RouteVIPs. The nodes' default route leads to the client, which forwards
// nothing: a packet to a VIP that no rule translates is dropped there, and a
// dial to it times out.
type Cluster struct {
	id string

	mu    sync.Mutex
	hosts []*Host // everything to close, in order of creation

	wire   *Host
	client *Host
	nodes  []*Node
}

// Node is a Host that pods can be added to. It forwards packets.
type Node struct {
	*Host

	// PodCIDRs are the IPv4 and the IPv6 range of this node's pods.
	PodCIDRs []netip.Prefix

	cluster *Cluster
	podMu   sync.Mutex
	pods    int // how many there have been, for names of devices and addresses
}

// PodDevicePrefix is how the names of a node's devices towards its pods begin.
const PodDevicePrefix = "veth"

// nodePlan is the addressing of one node of the standard cluster.
type nodePlan struct {
	name  string
	addrs []netip.Prefix
	pods  []netip.Prefix
}

func nodePlans() []nodePlan {
	return []nodePlan{
		{"node1", prefixes("172.18.0.11/16", "fd00:172:18::11/64"), prefixes("10.244.1.0/24", "fd00:10:244:1::/64")},
		{"node2", prefixes("172.18.0.12/16", "fd00:172:18::12/64"), prefixes("10.244.2.0/24", "fd00:10:244:2::/64")},
	}
}

func clientPrefixes() []netip.Prefix { return prefixes("172.18.0.100/16", "fd00:172:18::100/64") }

// ClientFar4 and ClientFar6 are the client's second addresses, in networks that
// the nodes know by a route only.
func ClientFar4() netip.Addr { return netip.MustParseAddr("198.51.100.7") }

// ClientFar6 is ClientFar4 for IPv6.
func ClientFar6() netip.Addr { return netip.MustParseAddr("2001:db8:51::7") }

// VIPs are the ranges that Services take addresses from: cluster IPs, and
// addresses of load balancers.
func VIPs() []netip.Prefix {
	return prefixes("10.96.0.0/12", "203.0.113.0/24", "fd00:10:96::/108", "2001:db8:113::/64")
}

// instances counts the clusters of this process: names must differ.
var instances atomic.Int64 //nolint:gochecknoglobals // namespaces are global to the machine, so is their count

// NewCluster builds the standard network; see Cluster. It needs root.
func NewCluster() (*Cluster, error) {
	if err := sweep(); err != nil {
		return nil, err
	}
	c := &Cluster{id: fmt.Sprintf("%s%d-%d-", namePrefix, os.Getpid(), instances.Add(1))}
	if err := c.build(); err != nil {
		return nil, errors.Join(fmt.Errorf("build network: %w", err), c.Close())
	}
	return c, nil
}

func (c *Cluster) build() (err error) {
	if c.wire, err = c.newWire(); err != nil {
		return err
	}
	if c.client, err = c.attach("client", clientPrefixes()); err != nil {
		return err
	}
	for _, plan := range nodePlans() {
		if err := c.addNode(plan); err != nil {
			return err
		}
	}
	for _, node := range c.nodes {
		if err := c.addNodeRoutes(node); err != nil {
			return err
		}
	}
	if err := errors.Join(c.client.AddAddress(ClientFar4()), c.client.AddAddress(ClientFar6())); err != nil {
		return err
	}
	return c.RouteVIPs(c.nodes[0])
}

// Close removes all namespaces. Processes started in them must have ended.
func (c *Cluster) Close() error {
	c.mu.Lock()
	hosts := c.hosts
	c.hosts = nil
	c.mu.Unlock()
	var failed []error
	for i := len(hosts) - 1; i >= 0; i-- {
		failed = append(failed, hosts[i].close())
	}
	return errors.Join(failed...)
}

// Node is the node called name; nil if there is none.
func (c *Cluster) Node(name string) *Node {
	for _, node := range c.nodes {
		if node.Name == name {
			return node
		}
	}
	return nil
}

// Client is the host outside of the cluster.
func (c *Cluster) Client() *Host { return c.client }

// RouteVIPs has the client send what is for VIPs() to node instead of where it
// went before.
func (c *Cluster) RouteVIPs(node *Node) error {
	for _, vips := range VIPs() {
		if err := c.client.addRoutes(route{to: vips, via: node.like(vips.Addr()), dev: uplink}); err != nil {
			return err
		}
	}
	return nil
}

// RouteToClient has the nodes send what is for prefix to the client, for
// further addresses of it.
func (c *Cluster) RouteToClient(prefix netip.Prefix) error {
	for _, node := range c.nodes {
		if err := node.addRoutes(route{to: prefix, via: c.client.like(prefix.Addr()), dev: uplink}); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) newHost(name string) (*Host, error) {
	h, err := newHost(c.id+name, name)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hosts = append(c.hosts, h)
	return h, nil
}

// newWire is a host that is nothing but a bridge.
func (c *Cluster) newWire() (*Host, error) {
	wire, err := c.newHost("wire")
	if err != nil {
		return nil, err
	}
	if err := wire.Sysctl("ipv6/conf/default/disable_ipv6", "1"); err != nil {
		return nil, err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "wire"
	// Without a querier, snooping would only add delays to neighbour discovery.
	snooping := false
	if err := wire.links.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping}); err != nil {
		return nil, fmt.Errorf("create bridge: %w", err)
	}
	return wire, wire.up(attrs.Name)
}

// attach makes a host that is plugged into the wire.
func (c *Cluster) attach(name string, addrs []netip.Prefix) (*Host, error) {
	h, err := c.newHost(name)
	if err != nil {
		return nil, err
	}
	if err := connect(h, uplink, c.wire, name); err != nil {
		return nil, err
	}
	port, err := c.wire.links.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("wire: device %s: %w", name, err)
	}
	bridge, err := c.wire.links.LinkByName("wire")
	if err != nil {
		return nil, fmt.Errorf("wire: bridge: %w", err)
	}
	if err := c.wire.links.LinkSetMaster(port, bridge); err != nil {
		return nil, fmt.Errorf("wire: plug %s into the bridge: %w", name, err)
	}
	for _, p := range addrs {
		if err := h.addAddr(uplink, newAddr(p)); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func (c *Cluster) addNode(plan nodePlan) error {
	h, err := c.attach(plan.name, plan.addrs)
	if err != nil {
		return err
	}
	c.nodes = append(c.nodes, &Node{Host: h, PodCIDRs: plan.pods, cluster: c})
	return errors.Join(
		h.Sysctl("ipv4/ip_forward", "1"),
		h.Sysctl("ipv6/conf/all/forwarding", "1"),
	)
}

// addNodeRoutes gives a node its default route, and all others the way to its pods.
func (c *Cluster) addNodeRoutes(node *Node) error {
	for _, all := range prefixes("0.0.0.0/0", "::/0") {
		if err := node.addRoutes(route{to: all, via: c.client.like(all.Addr()), dev: uplink}); err != nil {
			return err
		}
	}
	others := []*Host{c.client}
	for _, n := range c.nodes {
		if n != node {
			others = append(others, n.Host)
		}
	}
	for _, other := range others {
		for _, pods := range node.PodCIDRs {
			if err := other.addRoutes(route{to: pods, via: node.like(pods.Addr()), dev: uplink}); err != nil {
				return err
			}
		}
	}
	return nil
}

// like is the host's first address of a's family.
func (h *Host) like(a netip.Addr) netip.Addr {
	if a.Is4() {
		return h.Addr4()
	}
	return h.Addr6()
}

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}
