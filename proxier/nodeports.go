package proxier

import "net/netip"

// NodePortAddresses says on which of the node's addresses node ports are
// served, for one family. An address must be the node's own in any case.
type NodePortAddresses struct {
	// Within are ranges; empty for all addresses.
	Within []netip.Prefix
	// Loopback tells whether loopback addresses count, where Within lets them.
	Loopback bool
}

// Serves reports whether node ports are served on addr, provided that it is an
// address of the node.
func (a NodePortAddresses) Serves(addr netip.Addr) bool {
	if addr.IsLoopback() && !a.Loopback {
		return false
	}
	for _, p := range a.Within {
		if p.Contains(addr) {
			return true
		}
	}
	return len(a.Within) == 0
}

// nodePortAddresses resolves the operator's choice for one family. Ranges of
// only the other family leave this one unrestricted, as does one that holds
// every address. The primary address is never a loopback one: as long as none is
// known, all others serve.
func nodePortAddresses(o Options, node Node) NodePortAddresses {
	within := ofFamily(o.Family, o.NodePortAddresses)
	if o.NodePortPrimary {
		within = nil
		if ip := node.IP(o.Family); ip.IsValid() && !ip.IsLoopback() {
			within = []netip.Prefix{netip.PrefixFrom(ip, ip.BitLen())}
		}
	}
	for _, p := range within {
		if p.Bits() == 0 {
			within = nil
			break
		}
	}
	a := NodePortAddresses{Within: within}
	// Node ports on ::1 are impossible: the kernel routes no packet from ::1 to
	// another address, and has no route_localnet for IPv6.
	if o.Family == IPv4 && o.LocalhostNodePorts && !o.NodePortPrimary {
		a.Loopback = len(within) == 0
		for _, p := range within {
			a.Loopback = a.Loopback || p.Overlaps(IPv4.Loopback())
		}
	}
	return a
}
