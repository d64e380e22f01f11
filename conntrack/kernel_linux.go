package conntrack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// The messages about tracked connections, of linux/netfilter/nfnetlink.h and
// nfnetlink_conntrack.h: subsystem 1.
const (
	messageGet    = 1<<8 | nl.IPCTNL_MSG_CT_GET
	messageDelete = 1<<8 | nl.IPCTNL_MSG_CT_DELETE
)

// maxSends is how often a message is sent whose answer got lost.
const maxSends = 3

// A Table is the kernel's table of tracked connections, in the network namespace
// of the calling thread. It needs CAP_NET_ADMIN.
type Table struct{}

// Flows implements Kernel. The kernel filters by family and protocol.
func (Table) Flows(ctx context.Context, family proxier.Family, yield func(*Flow) bool) error {
	local, err := readLocalAddresses(family)
	if err != nil {
		return err
	}
	socket, closeSocket, err := open(ctx)
	if err != nil {
		return err
	}
	defer closeSocket()
	request := newRequest(socket, messageGet, syscall.NLM_F_DUMP, dumpRequest(family))
	var f Flow
	err = request.ExecuteIter(syscall.NETLINK_NETFILTER, 0, func(message []byte) bool {
		if !parseFlow(message, &f) {
			return true
		}
		f.ToNode = local.contain(f.Original.Dst.Addr())
		return yield(&f)
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, netlink.ErrDumpInterrupted), errors.Is(err, syscall.ENOBUFS):
		return fmt.Errorf("%w: %w", ErrInterrupted, err)
	}
	return err
}

// Delete implements Kernel.
func (Table) Delete(ctx context.Context, family proxier.Family, flows []Stale) error {
	socket, closeSocket, err := open(ctx)
	if err != nil {
		return err
	}
	defer closeSocket()
	for i := range flows {
		f := &flows[i].Flow
		if err := deleteFlow(socket, family, f); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%d of %d are deleted; %s: %w", i, len(flows), f, err)
		}
	}
	return nil
}

func deleteFlow(socket *nl.SocketHandle, family proxier.Family, f *Flow) (err error) {
	for range maxSends {
		err = newRequest(socket, messageDelete, syscall.NLM_F_ACK, deleteRequest(family, f)).
			ExecuteIter(syscall.NETLINK_NETFILTER, 0, func([]byte) bool { return true })
		if errors.Is(err, syscall.ENOENT) {
			return nil
		}
		if !errors.Is(err, syscall.ENOBUFS) {
			break
		}
	}
	return err
}

// open returns a socket that is closed when ctx ends, so that nobody waits for
// the rest of a long table.
func open(ctx context.Context) (socket *nl.SocketHandle, closeSocket func(), err error) {
	s, err := nl.Subscribe(syscall.NETLINK_NETFILTER)
	if err != nil {
		return nil, nil, fmt.Errorf("netlink socket for netfilter: %w", err)
	}
	stop := context.AfterFunc(ctx, s.Close)
	return &nl.SocketHandle{Socket: s}, func() { stop(); s.Close() }, nil
}

func newRequest(socket *nl.SocketHandle, message, flags int, body []byte) *nl.NetlinkRequest {
	request := nl.NewNetlinkRequest(message, flags)
	request.Sockets = map[int]*nl.SocketHandle{syscall.NETLINK_NETFILTER: socket}
	request.AddRawData(body)
	return request
}

// localAddresses are what the kernel takes for addresses of the node, as
// iptables' "addrtype --dst-type LOCAL" does.
type localAddresses struct {
	single map[netip.Addr]bool
	ranges []netip.Prefix
}

// readLocalAddresses reads the routing table "local".
func readLocalAddresses(family proxier.Family) (*localAddresses, error) {
	number := netlink.FAMILY_V4
	if family == proxier.IPv6 {
		number = netlink.FAMILY_V6
	}
	filter := &netlink.Route{Table: syscall.RT_TABLE_LOCAL, Type: syscall.RTN_LOCAL}
	routes, err := netlink.RouteListFiltered(number, filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_TYPE)
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("%w: the node's addresses: %w", ErrInterrupted, err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the node's addresses: %w", err)
	}
	local := &localAddresses{single: map[netip.Addr]bool{}}
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		addr, _ := netip.AddrFromSlice(r.Dst.IP)
		ones, bits := r.Dst.Mask.Size()
		if addr = addr.Unmap(); ones == bits {
			local.single[addr] = true
		} else {
			local.ranges = append(local.ranges, netip.PrefixFrom(addr, ones))
		}
	}
	return local, nil
}

func (l *localAddresses) contain(addr netip.Addr) bool {
	if l.single[addr] {
		return true
	}
	for _, r := range l.ranges {
		if r.Contains(addr) {
			return true
		}
	}
	return false
}
