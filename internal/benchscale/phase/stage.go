package phase

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/kube-proxier/kube-proxier/internal/benchscale/load"
	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// A stage is the network in which one program is measured, on one of two nodes
// that are alike. The other one has no proxy.
type stage struct {
	network *testenv.Cluster
	node    side
	control side
	dir     string
}

// A side is a node with a pod that asks and one that answers for every endpoint.
type side struct {
	*testenv.Node
	caller, backends *testenv.Host
}

func newStage() (*stage, error) {
	dir, err := os.MkdirTemp("", "bench-scale-*")
	if err != nil {
		return nil, err
	}
	network, err := testenv.NewCluster()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	s := &stage{network: network, dir: dir}
	if err := s.build(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *stage) build() (err error) {
	if s.node, err = newSide(s.network.Node("node1")); err != nil {
		return err
	}
	if s.control, err = newSide(s.network.Node("node2")); err != nil {
		return err
	}
	return s.node.refuseUnserved()
}

func newSide(node *testenv.Node) (s side, err error) {
	s.Node = node
	if s.caller, err = node.AddPod("caller"); err != nil {
		return s, err
	}
	if s.backends, err = node.AddPod("backends"); err != nil {
		return s, err
	}
	return s, s.answerForAll()
}

// answerForAll makes every endpoint's address one of the backends pod.
func (s side) answerForAll() error {
	endpoints := ipNet(load.EndpointIPs())
	err := s.backends.Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{
			LinkIndex: lo.Attrs().Index, Dst: endpoints, Type: unix.RTN_LOCAL,
			Table: unix.RT_TABLE_LOCAL, Scope: unix.RT_SCOPE_HOST,
		})
	})
	if err != nil {
		return fmt.Errorf("%s: backends: route %s to loopback: %w", s.Name, endpoints, err)
	}
	err = s.Do(func() error {
		return netlink.RouteAdd(&netlink.Route{Dst: endpoints, Gw: s.backends.Addr4().AsSlice()})
	})
	if err != nil {
		return fmt.Errorf("%s: route %s to the backends: %w", s.Name, endpoints, err)
	}
	_, err = s.backends.Serve("tcp", netip.AddrPortFrom(netip.IPv4Unspecified(), load.EndpointPort))
	return err
}

// refuseUnserved has the node answer at once for cluster IPs that nobody serves,
// where packets to them would be dropped outside of it.
func (s side) refuseUnserved() error {
	services := ipNet(load.ClusterIPs())
	err := s.Do(func() error {
		return netlink.RouteAdd(&netlink.Route{Dst: services, Type: unix.RTN_UNREACHABLE})
	})
	if err != nil {
		return fmt.Errorf("%s: make %s unreachable: %w", s.Name, services, err)
	}
	return nil
}

func (s *stage) close() error { return errors.Join(s.network.Close(), os.RemoveAll(s.dir)) }

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
