package proxier

import (
	"net"
	"net/netip"

	utilnet "k8s.io/utils/net"
)

// Family is an IP family. Each family has its own State and its own
// dataplanes; nothing a Service says about one affects the other.
type Family string

// The two families.
const (
	IPv4 Family = "IPv4"
	IPv6 Family = "IPv6"
)

// Families are both, IPv4 first.
var Families = []Family{IPv4, IPv6} //nolint:gochecknoglobals // a constant list

// FamilyOf tells the family of an address; IPv4-mapped IPv6 addresses are IPv4.
func FamilyOf(a netip.Addr) Family {
	if a.Unmap().Is4() {
		return IPv4
	}
	return IPv6
}

// Bits is the length of the family's addresses.
func (f Family) Bits() int {
	if f == IPv4 {
		return 32
	}
	return 128
}

// Loopback is the family's loopback range: 127.0.0.0/8 or ::1/128.
func (f Family) Loopback() netip.Prefix {
	if f == IPv4 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8)
	}
	return netip.PrefixFrom(netip.IPv6Loopback(), 128)
}

// parseAddr reads an address as the API does: leading zeros in IPv4 octets are
// decimal, as objects older than Kubernetes 1.33 may hold them.
func parseAddr(s string) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(utilnet.ParseIPSloppy(s))
	return a.Unmap(), ok
}

// parsePrefix reads a CIDR in the same lenient way; bits below the mask are
// cleared.
func parsePrefix(s string) (netip.Prefix, bool) {
	_, n, err := utilnet.ParseCIDRSloppy(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	return prefixFromIPNet(n)
}

func prefixFromIPNet(n *net.IPNet) (netip.Prefix, bool) {
	a, ok := netip.AddrFromSlice(n.IP)
	if !ok {
		return netip.Prefix{}, false
	}
	ones, bits := n.Mask.Size()
	a = a.Unmap()
	if a.Is4() && bits == 128 {
		ones -= 96
	}
	p, err := a.Prefix(ones)
	return p, err == nil
}

// ParsePrefixes reads CIDRs, of both families mixed. It returns those that are
// valid and the texts of those that are not.
func ParsePrefixes(cidrs []string) (valid []netip.Prefix, invalid []string) {
	for _, s := range cidrs {
		if p, ok := parsePrefix(s); ok {
			valid = append(valid, p)
		} else {
			invalid = append(invalid, s)
		}
	}
	return valid, invalid
}

func ofFamily(f Family, prefixes []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range prefixes {
		if FamilyOf(p.Addr()) == f {
			out = append(out, p)
		}
	}
	return out
}
