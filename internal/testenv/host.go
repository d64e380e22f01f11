package testenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
)

// uplink is the name of the device that joins a host with the rest.
const uplink = "eth0"

// ifaFlagNoDAD is IFA_F_NODAD of linux/if_addr.h: usable at once, without
// duplicate address detection.
const ifaFlagNoDAD = 0x02

// Host is one machine of the network: a network namespace with loopback up.
// Its methods may be called from several goroutines.
type Host struct {
	// Name is how servers on this host call themselves, e.g. "node1".
	Name string

	ns    *namespace
	links *netlink.Handle

	mu      sync.Mutex
	addrs   []netip.Addr
	closers []io.Closer // servers and forwards, closed before the namespace
}

// newHost makes the namespace called id with sysctls fit for tests.
func newHost(id, name string) (*Host, error) {
	ns, err := newNamespace(id)
	if err != nil {
		return nil, err
	}
	h := &Host{Name: name, ns: ns}
	if h.links, err = netlink.NewHandleAt(ns.handle, syscall.NETLINK_ROUTE); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: netlink: %w", name, err), ns.close())
	}
	err = errors.Join(
		// Addresses are unique here: no detection, no second of "tentative".
		h.Sysctl("ipv6/conf/default/accept_dad", "0"),
		h.Sysctl("ipv6/conf/default/accept_ra", "0"),
		// Paths are asymmetric by design (a node answers for another's pod), and
		// a redirect would teach a client to go around the node under test.
		h.Sysctl("ipv4/conf/all/rp_filter", "0"),
		h.Sysctl("ipv4/conf/default/rp_filter", "0"),
		h.Sysctl("ipv4/conf/all/send_redirects", "0"),
		h.Sysctl("ipv4/conf/default/send_redirects", "0"),
		h.Sysctl("ipv4/conf/all/accept_redirects", "0"),
		h.Sysctl("ipv6/conf/default/accept_redirects", "0"),
		// A REJECT must always be heard, however many there were in this second.
		h.Sysctl("ipv4/icmp_ratemask", "0"),
		h.Sysctl("ipv6/icmp/ratemask", "\n"),
		h.up("lo"),
	)
	if err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

// Addrs are the host's addresses in the order in which they were added.
func (h *Host) Addrs() []netip.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]netip.Addr(nil), h.addrs...)
}

// Addr4 is the first IPv4 address, or the zero Addr.
func (h *Host) Addr4() netip.Addr { return h.firstAddr(netip.Addr.Is4) }

// Addr6 is the first IPv6 address, or the zero Addr.
func (h *Host) Addr6() netip.Addr { return h.firstAddr(netip.Addr.Is6) }

func (h *Host) firstAddr(is func(netip.Addr) bool) netip.Addr {
	for _, a := range h.Addrs() {
		if is(a) {
			return a
		}
	}
	return netip.Addr{}
}

// NetNS is the path of the host's network namespace, e.g. for nsenter --net=.
func (h *Host) NetNS() string { return h.ns.path() }

// Do calls f inside the host's network namespace: sockets opened and processes
// started by f belong to it. That holds for f's own goroutine only, not for
// goroutines f starts.
func (h *Host) Do(f func() error) error { return h.ns.do(f) }

// Command is exec.CommandContext for a command that runs in the host's network
// namespace. The command is looked up in the PATH of the returned Cmd's Env, so
// that a Variant can be chosen by setting it. Its process is the command's own:
// signals reach it.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + h.NetNS(), "--", name}, args...)...)
}

// Sysctl sets a value below /proc/sys/net, e.g. Sysctl("ipv4/ip_forward", "1").
func (h *Host) Sysctl(key, value string) error {
	err := h.Do(func() error {
		return os.WriteFile(filepath.Join("/proc/sys/net", key), []byte(value), 0o644)
	})
	if err != nil {
		return fmt.Errorf("%s: set sysctl net/%s to %q: %w", h.Name, key, value, err)
	}
	return nil
}

// AddAddress gives the host one more address, on its uplink. Others on the wire
// reach an address of their own subnet at once; for any other they need a route.
// The host uses it as source only when asked to.
func (h *Host) AddAddress(addr netip.Addr) error {
	a := newAddr(netip.PrefixFrom(addr, addr.BitLen()))
	if addr.Is6() {
		// Deprecated (preferred for 0 s, valid for ever): source address
		// selection (RFC 6724, rule 3) then avoids it, as IPv4 does by order.
		a.PreferedLft, a.ValidLft = 0, math.MaxUint32
	}
	return h.addAddr(uplink, a)
}

// RemoveAddress takes away what AddAddress gave.
func (h *Host) RemoveAddress(addr netip.Addr) error {
	link, err := h.links.LinkByName(uplink)
	if err != nil {
		return fmt.Errorf("%s: device %s: %w", h.Name, uplink, err)
	}
	if err := h.links.AddrDel(link, newAddr(netip.PrefixFrom(addr, addr.BitLen()))); err != nil {
		return fmt.Errorf("%s: remove address %s: %w", h.Name, addr, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	kept := h.addrs[:0:0]
	for _, a := range h.addrs {
		if a != addr {
			kept = append(kept, a)
		}
	}
	h.addrs = kept
	return nil
}

// closeWithHost has c closed before the namespace goes.
func (h *Host) closeWithHost(c io.Closer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closers = append(h.closers, c)
}

func (h *Host) close() error {
	h.mu.Lock()
	closers := h.closers
	h.closers = nil
	h.mu.Unlock()
	var failed []error
	for _, c := range closers {
		failed = append(failed, c.Close())
	}
	h.links.Close()
	return errors.Join(append(failed, h.ns.close())...)
}
