package tracer

import "encoding/binary"

const (
	ipv4Header = 20
	ipv6Header = 40
	maxHeaders = ipv6Header + 20
)

// headers writes the packet from its IP header on, as a BPF program sees it at
// this point of its way (so with the destination of a DNAT that has happened),
// into buf. Checksums, options and payload are left out.
func (f *flow) headers(buf *[maxHeaders]byte) []byte {
	var transport int
	var length int
	switch f.proto {
	case protoTCP:
		length = 20
	case protoSCTP, protoDCCP:
		length = 12
	default:
		length = 8
	}
	if f.dst.Is4() {
		transport = ipv4Header
		f.ipv4Header(buf[:], length)
	} else {
		transport = ipv6Header
		f.ipv6Header(buf[:], length)
	}
	b := buf[transport : transport+length]
	if hasPorts(f.proto) {
		binary.BigEndian.PutUint16(b[0:], f.srcPort)
		binary.BigEndian.PutUint16(b[2:], f.dstPort)
	}
	switch f.proto {
	case protoTCP:
		b[12] = 5 << 4 // header length in words
		b[13] = 0x10   // ACK
		if f.state == StateNew {
			b[13] = 0x02 // SYN
		}
	case protoUDP:
		binary.BigEndian.PutUint16(b[4:], uint16(length))
	case protoICMP:
		b[0] = 8 // echo request
	case protoICMPv6:
		b[0] = 128 // echo request
	}
	return buf[:transport+length]
}

// ipv4Header writes RFC 791's header with a time to live of 64.
func (f *flow) ipv4Header(b []byte, length int) {
	b[0] = 4<<4 | ipv4Header/4
	binary.BigEndian.PutUint16(b[2:], uint16(ipv4Header+length))
	b[8], b[9] = 64, f.proto
	src, dst := f.src.As4(), f.dst.As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
}

// ipv6Header writes RFC 8200's header with a hop limit of 64.
func (f *flow) ipv6Header(b []byte, length int) {
	b[0] = 6 << 4
	binary.BigEndian.PutUint16(b[4:], uint16(length))
	b[6], b[7] = f.proto, 64
	src, dst := f.src.As16(), f.dst.As16()
	copy(b[8:], src[:])
	copy(b[24:], dst[:])
}
