package tracer

import "encoding/binary"

// bpfMachine is the state of a running program.
type bpfMachine struct {
	a, x   uint32
	memory [bpfMemWords]uint32
	packet []byte
}

// run executes the program; as in the kernel, a load beyond the packet and a
// division by zero end it with 0.
func (p bpfProgram) run(packet []byte) uint32 {
	m := bpfMachine{packet: packet}
	for pc := 0; pc < len(p); pc++ {
		in, ok := p[pc], true
		switch in.code & 7 {
		case bpfLD:
			m.a, ok = m.load(in)
		case bpfLDX:
			m.x, ok = m.load(in)
		case bpfST:
			m.memory[in.k] = m.a
		case bpfSTX:
			m.memory[in.k] = m.x
		case bpfALU:
			ok = m.arithmetic(in)
		case bpfJMP:
			pc += int(m.jump(in))
		case bpfRET:
			if in.code&bpfRetA != 0 {
				return m.a
			}
			return in.k
		case bpfMISC:
			if in.code&bpfTXA != 0 {
				m.a = m.x
			} else {
				m.x = m.a
			}
		}
		if !ok {
			return 0
		}
	}
	return 0
}

func (m *bpfMachine) load(in bpfInstruction) (uint32, bool) {
	switch in.code & 0xe0 {
	case bpfIMM:
		return in.k, true
	case bpfMEM:
		return m.memory[in.k], true
	case bpfLEN:
		return uint32(len(m.packet)), true
	case bpfIND:
		return m.fetch(uint64(m.x)+uint64(in.k), in.code&0x18)
	case bpfMSH: // four times the low half of a byte: the length of an IPv4 header
		b, ok := m.fetch(uint64(in.k), bpfB)
		return b & 0xf * 4, ok
	default: // bpfABS
		return m.fetch(uint64(in.k), in.code&0x18)
	}
}

func (m *bpfMachine) fetch(offset uint64, size uint16) (uint32, bool) {
	width := uint64(4) >> (size >> 3) // W, H, B: 4, 2, 1 bytes
	if offset+width > uint64(len(m.packet)) {
		return 0, false
	}
	b := m.packet[offset:]
	switch size {
	case bpfW:
		return binary.BigEndian.Uint32(b), true
	case bpfH:
		return uint32(binary.BigEndian.Uint16(b)), true
	}
	return uint32(b[0]), true
}

func (m *bpfMachine) operand(in bpfInstruction) uint32 {
	if in.code&bpfX != 0 {
		return m.x
	}
	return in.k
}

func (m *bpfMachine) arithmetic(in bpfInstruction) bool {
	v, op := m.operand(in), in.code&0xf0
	switch op {
	case bpfADD:
		m.a += v
	case bpfSUB:
		m.a -= v
	case bpfMUL:
		m.a *= v
	case bpfDIV, bpfMOD:
		if v == 0 {
			return false
		}
		if op == bpfDIV {
			m.a /= v
		} else {
			m.a %= v
		}
	case bpfOR:
		m.a |= v
	case bpfAND:
		m.a &= v
	case bpfLSH:
		m.a <<= v & 31
	case bpfRSH:
		m.a >>= v & 31
	case bpfNEG:
		m.a = -m.a
	case bpfXOR:
		m.a ^= v
	}
	return true
}

// jump returns how many instructions to leave out.
func (m *bpfMachine) jump(in bpfInstruction) uint32 {
	v, taken := m.operand(in), false
	switch in.code & 0xf0 {
	case bpfJA:
		return in.k
	case bpfJEQ:
		taken = m.a == v
	case bpfJGT:
		taken = m.a > v
	case bpfJGE:
		taken = m.a >= v
	case bpfJSET:
		taken = m.a&v != 0
	}
	if taken {
		return uint32(in.jt)
	}
	return uint32(in.jf)
}
