package tracer

import (
	"fmt"
	"strconv"
	"strings"
)

// bpfModule is --bytecode "N,CODE JT JF K,…": a classic BPF program
// over the packet from its IP header on. It matches when the program returns
// anything but 0.
type bpfModule struct{ read bool }

func (m *bpfModule) option(p *ruleParser, name string) error {
	if name != "--bytecode" {
		return unknownOption(name)
	}
	m.read = true
	s, err := p.value(name)
	if err != nil {
		return err
	}
	program, err := parseBytecode(s)
	if err != nil {
		return fmt.Errorf("option %s: %w", name, err)
	}
	p.when(func(f *flow) bool {
		var buf [maxHeaders]byte
		return program.run(f.headers(&buf)) != 0
	})
	return nil
}

func (m *bpfModule) finish(*ruleParser) error {
	if !m.read {
		return fmt.Errorf("--bytecode missing")
	}
	return nil
}

// Fields of an instruction's code, from linux/bpf_common.h and linux/filter.h.
const (
	bpfLD, bpfLDX, bpfST, bpfSTX, bpfALU, bpfJMP, bpfRET, bpfMISC = 0, 1, 2, 3, 4, 5, 6, 7

	bpfW, bpfH, bpfB                               = 0x00, 0x08, 0x10
	bpfIMM, bpfABS, bpfIND, bpfMEM, bpfLEN, bpfMSH = 0x00, 0x20, 0x40, 0x60, 0x80, 0xa0

	bpfX = 0x08 // the operand is the index register, not k

	bpfADD, bpfSUB, bpfMUL, bpfDIV, bpfOR, bpfAND = 0x00, 0x10, 0x20, 0x30, 0x40, 0x50
	bpfLSH, bpfRSH, bpfNEG, bpfMOD, bpfXOR        = 0x60, 0x70, 0x80, 0x90, 0xa0
	bpfJA, bpfJEQ, bpfJGT, bpfJGE, bpfJSET        = 0x00, 0x10, 0x20, 0x30, 0x40

	bpfRetA = 0x10 // RET: the accumulator
	bpfTXA  = 0x80 // MISC: from the index register to the accumulator; else the other way
)

const (
	bpfMaxInstructions = 64 // XT_BPF_MAX_NUM_INSTR
	bpfMemWords        = 16 // BPF_MEMWORDS
)

type bpfInstruction struct {
	code   uint16
	jt, jf uint8
	k      uint32
}

// bpfProgram has passed check: every jump stays inside and the end returns.
type bpfProgram []bpfInstruction

func parseBytecode(s string) (bpfProgram, error) {
	parts := strings.Split(s, ",")
	n, err := strconv.Atoi(parts[0])
	if err != nil || n < 1 || n > bpfMaxInstructions {
		return nil, fmt.Errorf("%q: want a count of instructions from 1 to %d first", parts[0], bpfMaxInstructions)
	}
	if len(parts)-1 != n {
		return nil, fmt.Errorf("%d instructions announced, %d given", n, len(parts)-1)
	}
	program := make(bpfProgram, n)
	for i, part := range parts[1:] {
		if program[i], err = parseInstruction(part); err == nil {
			err = program[i].check(i, n)
		}
		if err != nil {
			return nil, fmt.Errorf("instruction %d, %q: %w", i, part, err)
		}
	}
	if program[n-1].code&7 != bpfRET {
		return nil, fmt.Errorf("the last instruction does not return")
	}
	return program, nil
}

func parseInstruction(s string) (bpfInstruction, error) {
	fields := strings.Fields(s)
	if len(fields) != 4 {
		return bpfInstruction{}, fmt.Errorf("want CODE JT JF K")
	}
	var n [4]uint64
	for i, bits := range [...]int{16, 8, 8, 32} {
		var err error
		if n[i], err = strconv.ParseUint(fields[i], 10, bits); err != nil {
			return bpfInstruction{}, fmt.Errorf("%q: want a number of %d bits", fields[i], bits)
		}
	}
	return bpfInstruction{uint16(n[0]), uint8(n[1]), uint8(n[2]), uint32(n[3])}, nil
}

// check refuses what the kernel's checker would, and what this interpreter
// does not know, for instruction i of n.
func (in bpfInstruction) check(i, n int) error {
	bad := fmt.Errorf("unknown code %d", in.code)
	op := in.code & 0xf0
	switch in.code & 7 {
	case bpfLD, bpfLDX:
		return in.checkLoad(bad)
	case bpfST, bpfSTX:
		if in.code&^7 != 0 {
			return bad
		}
		return in.checkMemory()
	case bpfALU:
		if in.code > 0xff || op > bpfXOR {
			return bad
		}
		return in.checkArithmetic(op)
	case bpfJMP:
		return in.checkJump(i, n, op, bad)
	case bpfRET:
		if in.code != bpfRET && in.code != bpfRET|bpfRetA {
			return bad
		}
	case bpfMISC:
		if in.code != bpfMISC && in.code != bpfMISC|bpfTXA {
			return bad
		}
	}
	return nil
}

func (in bpfInstruction) checkLoad(bad error) error {
	mode, size := in.code&0xe0, in.code&0x18
	if in.code > 0xff || size > bpfB {
		return bad
	}
	packet := mode == bpfABS || mode == bpfIND
	switch {
	case in.code&7 == bpfLDX && packet, in.code&7 == bpfLD && mode == bpfMSH, mode > bpfMSH:
		return bad
	case mode == bpfMSH && size != bpfB, !packet && mode != bpfMSH && size != bpfW:
		return bad
	case mode == bpfMEM:
		return in.checkMemory()
	case (packet || mode == bpfMSH) && int32(in.k) < 0:
		// Negative offsets reach what is not in the packet (SKF_AD_OFF).
		return fmt.Errorf("offset %d: offsets outside of the packet are not known", int32(in.k))
	}
	return nil
}

func (in bpfInstruction) checkMemory() error {
	if in.k >= bpfMemWords {
		return fmt.Errorf("memory word %d of %d", in.k, bpfMemWords)
	}
	return nil
}

func (in bpfInstruction) checkArithmetic(op uint16) error {
	constant := in.code&bpfX == 0
	switch {
	case constant && in.k == 0 && (op == bpfDIV || op == bpfMOD):
		return fmt.Errorf("division by zero")
	case constant && in.k >= 32 && (op == bpfLSH || op == bpfRSH):
		return fmt.Errorf("shift by %d bits", in.k)
	}
	return nil
}

func (in bpfInstruction) checkJump(i, n int, op uint16, bad error) error {
	left := uint32(n - i - 1) // instructions after this one
	switch {
	case in.code > 0xff || op > bpfJSET || in.code == bpfJMP|bpfX:
		return bad
	case op == bpfJA && in.k >= left, op != bpfJA && (uint32(in.jt) >= left || uint32(in.jf) >= left):
		return fmt.Errorf("jump beyond the end")
	}
	return nil
}
