package iptables

import (
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
)

// A dispatch tree finds the rules for a packet's destination without walking
// all of them: chains that each hold a few rules, or jumps to chains for a part
// of the addresses or ports.
//
// The tree is a radix tree over destination address, then protocol, then port,
// with paths compressed. Its shape follows from the set of entries alone and
// never from history, so that two processes agree on every byte, and a new
// entry touches one or two chains. A chain's name says which destinations it
// holds, and it holds all entries of those: whatever order chains are
// rewritten in, bottom up, no entry is ever missing.

const (
	// maxFlat is how many rules a chain may hold before it is split.
	maxFlat = 16
	// aimFlat is how many rules a part should hold after a split.
	aimFlat = 12
	// maxStep bounds a split to 2^maxStep parts.
	maxStep = 4
	// maxLevel is how many jumps below its root a chain of a tree may be; there it
	// is not split, however many rules it holds. nf_tables refuses a ruleset in which
	// 16 jumps follow each other (NFT_JUMP_STACK_SIZE). There are up to two above a
	// tree, or one and a chain of source ranges below it; then come those of the
	// external frontends, of the endpoints, and maxGroups: 13, so that others may
	// have chains that lead to ours. Few trees are as deep.
	maxLevel = 7
)

// A place is what an entry is found by. Addr is invalid in trees of ports.
type place struct {
	addr     netip.Addr
	protocol string
	port     uint16
}

// An entry is the rules for one place. They match the place in full and do not
// rely on the path that leads to them.
type entry struct {
	place
	rules []string
}

// A node is a chain of a tree, or its root.
type node struct {
	entries  []*entry
	rules    []string
	children []*node
	chain    *Chain // nil for the root, whose rules stand in a chain with others
}

// A forest builds trees of one table.
type forest struct {
	*changes
	// original trees go by the destination a connection had before it was
	// translated.
	original bool
}

// tree builds the tree of the entries, which are sorted by place. prev may be
// nil; parts that did not change are shared with it.
func (f forest) tree(prev *node, prefix string, entries []*entry) *node {
	return f.node(prev, "", prefix, entries, 0)
}

// node is so many levels below the root, which has no name. That of prev is the same.
func (f forest) node(prev *node, name, prefix string, entries []*entry, level int) *node {
	if prev != nil && slices.Equal(prev.entries, entries) {
		return prev
	}
	n := &node{entries: entries}
	parts := []part{{entries: entries}}
	if level < maxLevel {
		parts = f.split(entries)
	}
	if name == "" && len(parts) > 1 && entries[0].addr.IsValid() {
		parts = f.fence(entries, parts)
	}
	for _, part := range parts {
		if part.match == "" || len(part.entries) == 1 {
			n.rules = append(n.rules, rulesOf(part.entries)...)
			continue
		}
		child := treeChain(prefix, part.name)
		n.children = append(n.children, f.node(prev.child(child), child, prefix, part.entries, level+1))
		n.rules = append(n.rules, part.match+" "+jump(child))
	}
	f.finish(prev, n, name)
	return n
}

// finish makes the node's chain, unless prev's is the same, and retires the
// parts of prev that are not in n.
func (f forest) finish(prev, n *node, name string) {
	if prev != nil {
		for _, old := range prev.children {
			if n.child(old.chain.Name) == nil {
				f.retire(old)
			}
		}
	}
	if name == "" {
		return
	}
	n.chain = &Chain{Name: name, Rules: n.rules}
	if prev != nil {
		if prev.chain.Equal(n.chain) {
			n.chain = prev.chain
			return
		}
		f.removed[prev.chain] = true
	}
	f.added = append(f.added, n.chain)
}

func (f forest) retire(n *node) {
	f.removed[n.chain] = true
	for _, child := range n.children {
		f.retire(child)
	}
}

func (n *node) child(name string) *node {
	if n == nil {
		return nil
	}
	for _, c := range n.children {
		if c.chain.Name == name {
			return c
		}
	}
	return nil
}

func rulesOf(entries []*entry) []string {
	rules := make([]string, 0, len(entries))
	for _, e := range entries {
		rules = append(rules, e.rules...)
	}
	return rules
}

// A part is some of a chain's entries, with the match that leads to them.
// Without a match they stand in the chain itself.
type part struct {
	entries     []*entry
	match, name string
}

// split divides the entries of one chain into parts; a single part without a
// match when they are few.
func (f forest) split(entries []*entry) []part {
	total := 0
	for _, e := range entries {
		total += len(e.rules)
	}
	if total <= maxFlat || len(entries) < 2 {
		return []part{{entries: entries}}
	}
	first, last := entries[0].place, entries[len(entries)-1].place
	step := min(bits.Len(uint(total-1)/aimFlat), maxStep)
	switch {
	case first.addr != last.addr:
		return f.splitByAddress(entries, commonBits(first.addr, last.addr)+step)
	case first.protocol != last.protocol:
		return group(entries, func(p place) string { return p.protocol }, func(p place) (string, string) {
			return f.matchPort(p, 0, 0), p.nameAddr() + p.protocol
		})
	default:
		return f.splitByPort(entries, bits.LeadingZeros16(first.port^last.port)+step)
	}
}

// fence puts one rule before a root's parts, if all entries have an address
// prefix in common: a packet that concerns no Service walks that rule and is
// done.
func (f forest) fence(entries []*entry, parts []part) []part {
	if common(entries).Bits() == 0 {
		return parts
	}
	return []part{f.addressPart(entries)}
}

func (f forest) splitByAddress(entries []*entry, length int) []part {
	length = min(length, entries[0].addr.BitLen())
	prefix := func(p place) netip.Prefix {
		prefix, _ := p.addr.Prefix(length) // length is within the address
		return prefix
	}
	parts := group(entries, prefix, func(place) (string, string) { return "", "" })
	for i := range parts {
		parts[i] = f.addressPart(parts[i].entries)
	}
	return parts
}

// addressPart is matched by the longest prefix that holds its entries.
func (f forest) addressPart(entries []*entry) part {
	prefix := common(entries)
	match := "-d " + prefix.String()
	if f.original {
		match = originalDestination(prefix, 0, 0)
	}
	return part{entries, match, prefix.String()}
}

// common is the longest prefix that holds all entries, which are sorted.
func common(entries []*entry) netip.Prefix {
	first, last := entries[0].addr, entries[len(entries)-1].addr
	prefix, _ := first.Prefix(commonBits(first, last)) // within the address
	return prefix
}

func (f forest) splitByPort(entries []*entry, length int) []part {
	size := uint32(1) << (16 - min(length, 16))
	start := func(p place) uint32 { return uint32(p.port) / size * size }
	return group(entries, start, func(p place) (string, string) {
		first := uint16(start(p))
		last := uint16(start(p) + size - 1)
		return f.matchPort(p, first, last), fmt.Sprintf("%s%s:%d-%d", p.nameAddr(), p.protocol, first, last)
	})
}

// group divides sorted entries where key changes.
func group[K comparable](entries []*entry, key func(place) K, describe func(place) (match, name string)) []part {
	var parts []part
	for len(entries) > 0 {
		n := 1
		for n < len(entries) && key(entries[n].place) == key(entries[0].place) {
			n++
		}
		match, name := describe(entries[0].place)
		parts = append(parts, part{entries[:n], match, name})
		entries = entries[n:]
	}
	return parts
}

// matchPort matches the place's address, if it has one, its protocol and, where
// last is not 0, ports of a range.
func (f forest) matchPort(p place, first, last uint16) string {
	r := rule{protocol: p.protocol}
	switch {
	case p.addr.IsValid() && f.original:
		r.matches = []string{originalDestination(single(p.addr), first, last)}
		return strings.TrimSpace(r.String())
	case p.addr.IsValid():
		r.dst = single(p.addr)
	}
	if last != 0 {
		r.matches = []string{dport(p.protocol, first, last)}
	}
	return strings.TrimSpace(r.String())
}

// originalDestination matches what a connection was sent to before it was
// translated: an address range and, where last is not 0, ports.
func originalDestination(prefix netip.Prefix, first, last uint16) string {
	text := prefix.String()
	if prefix.IsSingleIP() {
		text = prefix.Addr().String()
	}
	match := "-m conntrack --ctorigdst " + text
	switch {
	case last == 0:
		return match
	case first == last:
		return fmt.Sprintf("%s --ctorigdstport %d", match, first)
	default:
		return fmt.Sprintf("%s --ctorigdstport %d:%d", match, first, last)
	}
}

// nameAddr is empty where the place has no address.
func (p place) nameAddr() string {
	if !p.addr.IsValid() {
		return ""
	}
	return p.addr.String() + ":"
}

// commonBits is the length of the longest prefix that holds both addresses,
// which are of one family.
func commonBits(a, b netip.Addr) int {
	x, y := a.AsSlice(), b.AsSlice()
	for i := range x {
		if d := x[i] ^ y[i]; d != 0 {
			return i*8 + bits.LeadingZeros8(d)
		}
	}
	return len(x) * 8
}

func comparePlaces(a, b place) int {
	if c := a.addr.Compare(b.addr); c != 0 {
		return c
	}
	if c := strings.Compare(a.protocol, b.protocol); c != 0 {
		return c
	}
	return int(a.port) - int(b.port)
}
