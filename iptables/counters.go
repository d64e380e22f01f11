package iptables

import (
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"

	"github.com/kube-proxier/kube-proxier/proxier/traffic"
)

// The nat table sees the first packet of each connection, and one rule with DNAT
// ends its way there. So the packets that these rules have counted are
// connections. (Bytes are those of first packets only, and say nothing.)

// counterParser makes counters of the lines of iptables-save -c, table nat: one
// for each chain of a Service port, and one for each rule with DNAT of a chain in
// which several have theirs.
type counterParser struct {
	seed     maphash.Seed
	counters []traffic.Counter

	chain string
	shape maphash.Hash
	// first is where the chain's counters begin.
	first int
}

func newCounterParser(seed maphash.Seed) *counterParser {
	p := &counterParser{seed: seed}
	p.shape.SetSeed(seed)
	return p
}

// line takes the next line.
func (p *counterParser) line(line string) error {
	if !strings.HasPrefix(line, "[") {
		return nil // a chain, a comment, the table's begin or end
	}
	counts, rule, ok := strings.Cut(line[1:], "] -A ")
	packets, _, colon := strings.Cut(counts, ":")
	n, err := strconv.ParseUint(packets, 10, 64)
	if !ok || !colon || err != nil {
		return fmt.Errorf("%.200q: want [packets:bytes] -A CHAIN RULE", line)
	}
	chain, rule, _ := strings.Cut(rule, " ")
	if chain != p.chain {
		p.end()
		p.chain = chain
	}
	_, _ = p.shape.WriteString(rule) // cannot fail, nor can the next
	_ = p.shape.WriteByte('\n')
	if OwnedChain(NAT, chain) && jumpTarget(rule) == "DNAT" {
		p.add(rule, n)
	}
	return nil
}

func (p *counterParser) add(rule string, packets uint64) {
	name := p.chain
	if !ofOnePort(name) {
		name = rule
	}
	if last := len(p.counters) - 1; last >= p.first && p.counters[last].Name == name {
		p.counters[last].Connections += packets
		return
	}
	// The rules are part of a text that nobody else needs.
	c := traffic.Counter{ID: traffic.ID{Name: strings.Clone(name)}}
	c.Connections = packets
	p.counters = append(p.counters, c)
}

// end ends a chain: what all its rules are is the shape of its counters, for a
// chain is written as a whole.
func (p *counterParser) end() {
	for i := p.first; i < len(p.counters); i++ {
		p.counters[i].Shape = p.shape.Sum64()
	}
	p.first = len(p.counters)
	p.shape.Reset()
}

// ofOnePort reports whether all rules of a chain are for one Service port. Parts of
// dispatch trees have the same prefixes, but are named for addresses or ports.
func ofOnePort(chain string) bool {
	for _, prefix := range []string{prefixService, prefixLocal, prefixExternal} {
		if rest, ok := strings.CutPrefix(chain, prefix); ok {
			return len(rest) == hashLength && strings.Trim(rest, hashAlphabet) == ""
		}
	}
	return false
}
