package conntrack

import (
	"encoding/binary"
	"net/netip"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// The attributes of messages about connections, of which one is nested in
// another; see linux/netfilter/nfnetlink_conntrack.h.
const (
	ctaTupleOrig  = 1
	ctaTupleReply = 2
	ctaStatus     = 3
	ctaID         = 12
	ctaZone       = 18
	ctaFilter     = 25 // of a request to dump: which parts of a tuple have to match (Linux 5.8)

	ctaTupleIP    = 1
	ctaTupleProto = 2

	ctaIPv4Src = 1
	ctaIPv4Dst = 2
	ctaIPv6Src = 3
	ctaIPv6Dst = 4

	ctaProtoNum     = 1
	ctaProtoSrcPort = 2
	ctaProtoDstPort = 3

	ctaFilterOrigFlags = 1

	// statusDNAT is IPS_DST_NAT of linux/netfilter/nf_conntrack_common.h: a rule
	// has rewritten the destination. IPVS leaves it alone where it changes who is
	// to answer (ip_vs_nfct.c).
	statusDNAT = 1 << 5

	// filterProtoNum is the bit of the filter's flags that stands for the number
	// of the protocol. The flags are listed in net/netfilter/nf_internals.h of
	// the kernel's source.
	filterProtoNum = 1 << 3

	nested   = 1 << 15 // NLA_F_NESTED of linux/netlink.h
	typeMask = 1<<14 - 1

	afInet, afInet6 = 2, 10 // linux/socket.h

	// sizeofNfgenmsg is what comes before the attributes: the family, a version
	// and a number that is 0 here (linux/netfilter/nfnetlink.h).
	sizeofNfgenmsg = 4
)

// header is the nfgenmsg of a request.
func header(family proxier.Family) []byte {
	if family == proxier.IPv4 {
		return []byte{afInet, 0, 0, 0}
	}
	return []byte{afInet6, 0, 0, 0}
}

// dumpRequest asks for all flows of the family that are UDP. A kernel that does
// not know filters (before 5.8) ignores this one and sends other protocols' too.
func dumpRequest(family proxier.Family) []byte {
	b := header(family)
	b = appendNested(b, ctaTupleOrig, func(b []byte) []byte {
		return appendNested(b, ctaTupleProto, func(b []byte) []byte {
			return appendAttribute(b, ctaProtoNum, []byte{UDP})
		})
	})
	return appendNested(b, ctaFilter, func(b []byte) []byte {
		return appendAttribute(b, ctaFilterOrigFlags, binary.NativeEndian.AppendUint32(nil, filterProtoNum))
	})
}

// deleteRequest asks to delete this flow and no other: one that has begun since
// between the same two has another ID.
func deleteRequest(family proxier.Family, f *Flow) []byte {
	b := appendTuple(header(family), ctaTupleOrig, f.Protocol, f.Original)
	if f.Zone != 0 {
		b = appendAttribute(b, ctaZone, binary.BigEndian.AppendUint16(nil, f.Zone))
	}
	return appendAttribute(b, ctaID, binary.BigEndian.AppendUint32(nil, f.ID))
}

func appendTuple(b []byte, kind uint16, protocol uint8, t Tuple) []byte {
	src, dst := uint16(ctaIPv4Src), uint16(ctaIPv4Dst)
	if t.Src.Addr().Is6() {
		src, dst = ctaIPv6Src, ctaIPv6Dst
	}
	return appendNested(b, kind, func(b []byte) []byte {
		b = appendNested(b, ctaTupleIP, func(b []byte) []byte {
			b = appendAttribute(b, src, t.Src.Addr().AsSlice())
			return appendAttribute(b, dst, t.Dst.Addr().AsSlice())
		})
		return appendNested(b, ctaTupleProto, func(b []byte) []byte {
			b = appendAttribute(b, ctaProtoNum, []byte{protocol})
			b = appendAttribute(b, ctaProtoSrcPort, binary.BigEndian.AppendUint16(nil, t.Src.Port()))
			return appendAttribute(b, ctaProtoDstPort, binary.BigEndian.AppendUint16(nil, t.Dst.Port()))
		})
	})
}

// appendAttribute adds length, type and value, padded to four bytes.
func appendAttribute(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func appendNested(b []byte, kind uint16, value func([]byte) []byte) []byte {
	start := len(b)
	b = value(append(b, 0, 0, 0, 0))
	binary.NativeEndian.PutUint16(b[start:], uint16(len(b)-start))
	binary.NativeEndian.PutUint16(b[start+2:], kind|nested)
	return b
}

// parseFlow reads the kernel's message about a flow, from its nfgenmsg on, into
// f; false where there are not two whole tuples in it.
func parseFlow(message []byte, f *Flow) bool {
	*f = Flow{}
	if len(message) < sizeofNfgenmsg {
		return false
	}
	for kind, value := range attributes(message[sizeofNfgenmsg:]) {
		switch kind {
		case ctaTupleOrig:
			f.Original, f.Protocol = parseTuple(value)
		case ctaTupleReply:
			f.Reply, _ = parseTuple(value)
		case ctaStatus:
			f.Virtual = len(value) == 4 && number(value, 4)&statusDNAT == 0
		case ctaZone:
			f.Zone = uint16(number(value, 2))
		case ctaID:
			f.ID = uint32(number(value, 4))
		}
	}
	f.Virtual = f.Virtual && f.Translated()
	return f.Original.whole() && f.Reply.whole()
}

// whole reports whether the tuple has both addresses.
func (t Tuple) whole() bool { return t.Src.Addr().IsValid() && t.Dst.Addr().IsValid() }

func parseTuple(value []byte) (t Tuple, protocol uint8) {
	var src, dst netip.Addr
	var srcPort, dstPort uint16
	for kind, value := range attributes(value) {
		switch kind {
		case ctaTupleIP:
			for kind, value := range attributes(value) {
				switch kind {
				case ctaIPv4Src, ctaIPv6Src:
					src, _ = netip.AddrFromSlice(value)
				case ctaIPv4Dst, ctaIPv6Dst:
					dst, _ = netip.AddrFromSlice(value)
				}
			}
		case ctaTupleProto:
			for kind, value := range attributes(value) {
				switch kind {
				case ctaProtoNum:
					protocol = uint8(number(value, 1))
				case ctaProtoSrcPort:
					srcPort = uint16(number(value, 2))
				case ctaProtoDstPort:
					dstPort = uint16(number(value, 2))
				}
			}
		}
	}
	return Tuple{netip.AddrPortFrom(src, srcPort), netip.AddrPortFrom(dst, dstPort)}, protocol
}

// number is a value of n bytes, most significant first; 0 where it has another
// length.
func number(value []byte, n int) (v uint64) {
	if len(value) != n {
		return 0
	}
	for _, b := range value {
		v = v<<8 | uint64(b)
	}
	return v
}

// attributes calls yield with each attribute's type and value, up to the first
// that is cut off.
func attributes(b []byte) func(yield func(kind uint16, value []byte) bool) {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= 4 {
			length := int(binary.NativeEndian.Uint16(b))
			kind := binary.NativeEndian.Uint16(b[2:]) & typeMask
			if length < 4 || length > len(b) || !yield(kind, b[4:length]) {
				return
			}
			b = b[min((length+3)&^3, len(b)):]
		}
	}
}
