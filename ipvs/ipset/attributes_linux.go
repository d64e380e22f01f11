package ipset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// attributes are netlink attributes in the kernel's encoding: for each its
// length and type, its value, and zeros up to a multiple of four. Numbers of
// more than a byte are in network order, which sets mark in the type.
type attributes []byte

func (a *attributes) add(typ uint16, value []byte) {
	length := syscall.SizeofRtAttr + len(value)
	*a = binary.NativeEndian.AppendUint16(*a, uint16(length))
	*a = binary.NativeEndian.AppendUint16(*a, typ)
	*a = append(*a, value...)
	for ; length%syscall.RTA_ALIGNTO != 0; length++ {
		*a = append(*a, 0)
	}
}

func (a *attributes) uint8(typ uint16, v uint8) { a.add(typ, []byte{v}) }

func (a *attributes) uint16(typ uint16, v uint16) {
	a.add(typ|nl.NLA_F_NET_BYTEORDER, binary.BigEndian.AppendUint16(nil, v))
}

func (a *attributes) uint32(typ uint16, v uint32) {
	a.add(typ|nl.NLA_F_NET_BYTEORDER, binary.BigEndian.AppendUint32(nil, v))
}

func (a *attributes) text(typ uint16, s string) { a.add(typ, append([]byte(s), 0)) }

func (a *attributes) nest(typ uint16, inner attributes) { a.add(typ|nl.NLA_F_NESTED, inner) }

func (a *attributes) addr(typ uint16, addr netip.Addr) {
	version := uint16(nl.IPSET_ATTR_IPADDR_IPV6)
	if addr.Is4() {
		version = nl.IPSET_ATTR_IPADDR_IPV4
	}
	var inner attributes
	inner.add(version|nl.NLA_F_NET_BYTEORDER, addr.AsSlice())
	a.nest(typ, inner)
}

func named(set string) attributes {
	var a attributes
	a.text(nl.IPSET_ATTR_SETNAME, set)
	return a
}

// revisions are the oldest of each type that do all we need: the first of
// hash:ip,port knows SCTP. Kernels take all from some old one to their newest.
var revisions = map[Type]uint8{HashIP: 1, HashIPPort: 1, BitmapPort: 0} //nolint:gochecknoglobals // a constant table

var families = map[proxier.Family]uint8{proxier.IPv4: syscall.AF_INET, proxier.IPv6: syscall.AF_INET6} //nolint:gochecknoglobals // a constant table

func createAttributes(s Set) attributes {
	a := named(s.Name)
	a.text(nl.IPSET_ATTR_TYPENAME, string(s.Type))
	a.uint8(nl.IPSET_ATTR_REVISION, revisions[s.Type])
	a.uint8(nl.IPSET_ATTR_FAMILY, families[s.Family]) // AF_UNSPEC for none
	var data attributes
	if s.Type == BitmapPort {
		data.uint16(nl.IPSET_ATTR_PORT_FROM, 0)
		data.uint16(nl.IPSET_ATTR_PORT_TO, 65535)
	} else {
		data.uint32(nl.IPSET_ATTR_MAXELEM, s.MaxElem)
	}
	a.nest(nl.IPSET_ATTR_DATA, data)
	return a
}

// changeAttributes name entries of a set, to be added or deleted.
func changeAttributes(set string, entries []Entry) (attributes, error) {
	var list attributes
	for i, e := range entries {
		var data attributes
		if e.Addr.IsValid() {
			data.addr(nl.IPSET_ATTR_IP, e.Addr)
		}
		if e.Protocol != "" || !e.Addr.IsValid() {
			data.uint16(nl.IPSET_ATTR_PORT, e.Port)
		}
		if e.Protocol != "" {
			number, err := protocolNumber(e.Protocol)
			if err != nil {
				return nil, fmt.Errorf("entry %s: %w", e, err)
			}
			data.uint8(nl.IPSET_ATTR_PROTO, number)
		}
		data.uint32(nl.IPSET_ATTR_LINENO, uint32(i+1))
		list.nest(nl.IPSET_ATTR_DATA, data)
	}
	a := named(set)
	// With several entries the kernel wants a place for the number of a bad one.
	a.uint32(nl.IPSET_ATTR_LINENO, 0)
	a.nest(nl.IPSET_ATTR_ADT, list)
	return a, nil
}

var protocols = map[corev1.Protocol]uint8{ //nolint:gochecknoglobals // a constant table
	corev1.ProtocolTCP: syscall.IPPROTO_TCP, corev1.ProtocolUDP: syscall.IPPROTO_UDP, corev1.ProtocolSCTP: syscall.IPPROTO_SCTP,
}

// protocolNumber also takes a number, as protocolOf gives for others.
func protocolNumber(p corev1.Protocol) (uint8, error) {
	if n, ok := protocols[p]; ok {
		return n, nil
	}
	n, err := strconv.ParseUint(string(p), 10, 8)
	if err != nil {
		return 0, fmt.Errorf("protocol %q is none of TCP, UDP, SCTP", string(p))
	}
	return uint8(n), nil
}

func protocolOf(number uint8) corev1.Protocol {
	for p, n := range protocols {
		if n == number {
			return p
		}
	}
	return corev1.Protocol(strconv.Itoa(int(number)))
}

// each calls f with the attributes of a message or a nest, types without marks.
func each(b []byte, f func(typ uint16, value []byte) error) error {
	for len(b) >= syscall.SizeofRtAttr {
		length := int(binary.NativeEndian.Uint16(b))
		if length < syscall.SizeofRtAttr || length > len(b) {
			return errors.New("the kernel's answer ends in the middle of an attribute")
		}
		typ := binary.NativeEndian.Uint16(b[2:]) & nl.NLA_TYPE_MASK
		if err := f(typ, b[syscall.SizeofRtAttr:length]); err != nil {
			return err
		}
		b = b[min(len(b), (length+syscall.RTA_ALIGNTO-1)&^(syscall.RTA_ALIGNTO-1)):]
	}
	return nil
}

// parseSet reads the header of a set from a message.
func parseSet(message []byte) (Set, error) {
	var s Set
	var data []byte
	err := each(message[nl.SizeofNfgenmsg:], func(typ uint16, v []byte) error {
		switch typ {
		case nl.IPSET_ATTR_SETNAME:
			s.Name = nl.BytesToString(v)
		case nl.IPSET_ATTR_TYPENAME:
			s.Type = Type(nl.BytesToString(v))
		case nl.IPSET_ATTR_FAMILY:
			for family, number := range families {
				if number == v[0] {
					s.Family = family
				}
			}
		case nl.IPSET_ATTR_DATA:
			data = v
		}
		return nil
	})
	if err != nil {
		return Set{}, err
	}
	return s, parseHeaderData(&s, data)
}

// parseHeaderData reads what a set was created with.
func parseHeaderData(s *Set, data []byte) error {
	var options []string
	from, to := uint16(0), uint16(65535)
	err := each(data, func(typ uint16, v []byte) error {
		switch typ {
		case nl.IPSET_ATTR_MAXELEM:
			s.MaxElem = binary.BigEndian.Uint32(v)
		case nl.IPSET_ATTR_REFERENCES:
			s.References = binary.BigEndian.Uint32(v)
		case nl.IPSET_ATTR_PORT_FROM:
			from = binary.BigEndian.Uint16(v)
		case nl.IPSET_ATTR_PORT_TO:
			to = binary.BigEndian.Uint16(v)
		case nl.IPSET_ATTR_NETMASK:
			options = append(options, fmt.Sprintf("netmask %d", v[0]))
		case nl.IPSET_ATTR_TIMEOUT:
			options = append(options, fmt.Sprintf("timeout %d", binary.BigEndian.Uint32(v)))
		case nl.IPSET_ATTR_CADT_FLAGS:
			options = append(options, flagWords(binary.BigEndian.Uint32(v))...)
		}
		return nil
	})
	if s.Type == BitmapPort && (from != 0 || to != 65535) {
		options = append([]string{fmt.Sprintf("range %d-%d", from, to)}, options...)
	}
	s.Options = strings.Join(options, " ")
	return err
}

func flagWords(flags uint32) []string {
	var words []string
	for _, f := range []struct {
		bit  uint32
		word string
	}{
		{nl.IPSET_FLAG_WITH_COUNTERS, "counters"},
		{nl.IPSET_FLAG_WITH_COMMENT, "comment"},
		{nl.IPSET_FLAG_WITH_SKBINFO, "skbinfo"},
		{nl.IPSET_FLAG_WITH_FORCEADD, "forceadd"},
	} {
		if flags&f.bit != 0 {
			words = append(words, f.word)
		}
	}
	return words
}

// parseEntries appends the entries in a message.
func parseEntries(entries []Entry, message []byte) ([]Entry, error) {
	err := each(message[nl.SizeofNfgenmsg:], func(typ uint16, list []byte) error {
		if typ != nl.IPSET_ATTR_ADT {
			return nil
		}
		return each(list, func(_ uint16, data []byte) error {
			e, err := decodeEntry(data)
			entries = append(entries, e)
			return err
		})
	})
	return entries, err
}

func decodeEntry(data []byte) (Entry, error) {
	var e Entry
	err := each(data, func(typ uint16, v []byte) error {
		switch typ {
		case nl.IPSET_ATTR_IP:
			return each(v, func(_ uint16, addr []byte) error {
				var ok bool
				if e.Addr, ok = netip.AddrFromSlice(addr); !ok {
					return fmt.Errorf("the kernel's answer has an address of %d bytes", len(addr))
				}
				return nil
			})
		case nl.IPSET_ATTR_PORT:
			e.Port = binary.BigEndian.Uint16(v)
		case nl.IPSET_ATTR_PROTO:
			e.Protocol = protocolOf(v[0])
		}
		return nil
	})
	return e, err
}
