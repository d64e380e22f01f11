// Package legacytable looks at tables of iptables-legacy without a process and
// without making text of them: the kernel tells the number and size of a
// table's entries at once, however many there are, and copies out the entries
// themselves in some tens of milliseconds for 100,000 of them.
package legacytable

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/maphash"
)

// An Info is what the kernel tells of a table at once (IPT_SO_GET_INFO). Most
// changes change it; one that puts a rule in the place of another of the same
// size, or two in another order, does not.
type Info struct {
	// Entries are the rules, and one or two more for each chain; Size is their
	// size in bytes. Both are 0 where there is no such table.
	Entries, Size uint32

	hooks [hooks]uint32 // where built-in chains begin; absent where the table has none
}

const (
	hooks  = 5 // NF_INET_NUMHOOKS
	absent = ^uint32(0)
)

var hookNames = [hooks]string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"} //nolint:gochecknoglobals // a constant table

// A layout is that of struct ipt_entry or ip6t_entry on 64-bit machines: where
// the matches' selectors end and the fields follow that are the kernel's own.
type layout struct {
	selector int // bytes that select packets: struct ipt_ip or ip6t_ip6
	offsets  int // of target_offset, which next_offset follows
	matches  int // where the matches begin
}

// layoutOf is that of linux/netfilter_ipv4/ip_tables.h or its sibling.
func layoutOf(ipv6 bool) layout {
	if ipv6 {
		return layout{selector: 136, offsets: 140, matches: 168}
	}
	return layout{selector: 84, offsets: 88, matches: 112}
}

const (
	targetHeader = 32 // struct xt_entry_target without data
	targetName   = 2  // where its name begins
)

var errFormat = errors.New("the kernel's copy of a table has an entry that ends elsewhere than it says")

// An entry is one rule, or the head of a chain.
type entry struct {
	at     int
	bytes  []byte
	target []byte // the part from the target on
}

// name is the target's: empty for jumps and verdicts, ERROR for heads.
func (e entry) name() string { return cString(e.target[targetName:targetHeader]) }

// jump is the place of the rule that is jumped to; false if it does not jump.
func (e entry) jump() (int, bool) {
	if e.name() != "" || len(e.target) < targetHeader+4 {
		return 0, false
	}
	verdict := int32(binary.NativeEndian.Uint32(e.target[targetHeader:]))
	return int(verdict), verdict >= 0
}

func (l layout) entries(table []byte, f func(entry)) error {
	for at := 0; at < len(table); {
		rest := table[at:]
		if len(rest) < l.matches {
			return errFormat
		}
		target := int(binary.NativeEndian.Uint16(rest[l.offsets:]))
		next := int(binary.NativeEndian.Uint16(rest[l.offsets+2:]))
		if target < l.matches || target+targetHeader > next || next > len(rest) {
			return errFormat
		}
		f(entry{at, rest[:next], rest[target:next]})
		at += next
	}
	return nil
}

// chains are the names of chains by the place of their first rule.
func (l layout) chains(info Info, table []byte) (map[int]string, error) {
	names := map[int]string{}
	for hook, at := range info.hooks {
		if at != absent {
			names[int(at)] = hookNames[hook]
		}
	}
	err := l.entries(table, func(e entry) {
		if e.name() == "ERROR" {
			names[e.at+len(e.bytes)] = cString(e.target[targetHeader:])
		}
	})
	return names, err
}

// digest sums up what is ours: the chains that are, in their order, and of
// built-in chains the jumps to them. Counters and places do not count, nor do
// other chains.
func (l layout) digest(seed maphash.Seed, info Info, table []byte, owned func(chain string) bool) (uint64, error) {
	names, err := l.chains(info, table)
	if err != nil {
		return 0, err
	}
	var h maphash.Hash
	h.SetSeed(seed)
	own, in := false, ""
	err = l.entries(table, func(e entry) {
		if name, begins := names[e.at]; begins {
			in, own = name, owned(name)
			if own {
				sum(&h, name)
			}
		}
		if e.name() == "ERROR" { // the head of the next chain
			own, in = false, ""
			return
		}
		to, jumps := e.jump()
		if !own && (!jumps || !owned(names[to])) {
			return
		}
		sum(&h, in)
		_, _ = h.Write(e.bytes[:l.selector])
		_, _ = h.Write(e.bytes[l.matches : len(e.bytes)-len(e.target)])
		if jumps {
			sum(&h, names[to])
		} else {
			_, _ = h.Write(e.target)
		}
	})
	return h.Sum64(), err
}

// sum adds a text and its end.
func sum(h *maphash.Hash, s string) {
	_, _ = h.WriteString(s)
	_ = h.WriteByte(0)
}

func cString(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}
