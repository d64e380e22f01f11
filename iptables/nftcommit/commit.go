// Package nftcommit tells of changes to nf_tables as the kernel announces them
// to the netlink group NFNLGRP_NFTABLES (linux/netfilter/nfnetlink.h): for each
// transaction of anybody, which tables and chains it touched and who made it.
// Nothing is polled, and transactions of one's own children are not told.
//
// iptables-nft keeps the tables and chains that iptables knows under the same
// names in nf_tables, in the families ip and ip6.
package nftcommit

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A Commit is a transaction that somebody has made.
type Commit struct {
	// PID and Process are who made it: the process's number, as the first PID
	// namespace counts, and up to 15 bytes of its name. Kernels before 4.14 do
	// not tell.
	PID     int
	Process string
	// Places are what it touched; true for where something was made or changed,
	// false for where things were only deleted.
	Places map[Place]bool
	// Lost means that announcements were lost, so that anything may be
	// different; then all else is zero.
	Lost bool
}

// A Place is a chain in which something was made, changed or deleted, or which
// was itself; without Chain, a table.
type Place struct {
	Family       Family
	Table, Chain string
}

// A Family is one of nf_tables' (NFPROTO_ of linux/netfilter.h).
type Family uint8

// The families that iptables knows.
const (
	IPv4 Family = 2
	IPv6 Family = 10
)

// Of linux/netfilter/nfnetlink.h and nf_tables.h.
const (
	subsystem = 10 // NFNL_SUBSYS_NFTABLES

	newTable = 0 // NFT_MSG_NEWTABLE, and so on
	delTable = 2
	newChain = 3
	delChain = 5
	newRule  = 6
	delRule  = 8
	newGen   = 15

	tableName    = 1 // NFTA_TABLE_NAME
	chainTable   = 1 // NFTA_CHAIN_TABLE
	chainName    = 3 // NFTA_CHAIN_NAME
	ruleTable    = 1 // NFTA_RULE_TABLE
	ruleChain    = 2 // NFTA_RULE_CHAIN
	genPID       = 2 // NFTA_GEN_PROC_PID
	genName      = 3 // NFTA_GEN_PROC_NAME
	typeMask     = 0x3fff
	headerLength = 16 // struct nlmsghdr
	familyLength = 4  // struct nfgenmsg
)

var errShort = errors.New("an announcement of nf_tables ends in the middle")

// An assembler puts commits together from messages: the last of each is
// NFT_MSG_NEWGEN.
type assembler struct {
	places map[Place]bool
}

// read reads the messages of one datagram, and tells of the commits that end in
// it.
func (a *assembler) read(b []byte, tell func(Commit)) error {
	for len(b) >= headerLength {
		length := int(binary.NativeEndian.Uint32(b))
		if length < headerLength || length > len(b) {
			return errShort
		}
		if typ := binary.NativeEndian.Uint16(b[4:]); typ>>8 == subsystem {
			if length < headerLength+familyLength {
				return errShort
			}
			if err := a.message(typ&0xff, Family(b[headerLength]), b[headerLength+familyLength:length], tell); err != nil {
				return err
			}
		}
		b = b[min(len(b), align(length)):]
	}
	return whole(b)
}

func (a *assembler) message(typ uint16, family Family, attributes []byte, tell func(Commit)) error {
	p := Place{Family: family}
	var err error
	switch typ {
	case newTable, delTable:
		err = each(attributes, func(typ uint16, v []byte) { text(&p.Table, typ == tableName, v) })
	case newChain, delChain:
		err = each(attributes, func(typ uint16, v []byte) {
			text(&p.Table, typ == chainTable, v)
			text(&p.Chain, typ == chainName, v)
		})
	case newRule, delRule:
		err = each(attributes, func(typ uint16, v []byte) {
			text(&p.Table, typ == ruleTable, v)
			text(&p.Chain, typ == ruleChain, v)
		})
	case newGen:
		c := Commit{Places: a.places}
		a.places = nil
		err = each(attributes, func(typ uint16, v []byte) {
			text(&c.Process, typ == genName, v)
			if typ == genPID && len(v) == 4 {
				c.PID = int(binary.BigEndian.Uint32(v))
			}
		})
		tell(c)
		return err
	default:
		return nil // sets, objects and the like: iptables has none
	}
	if a.places == nil {
		a.places = map[Place]bool{}
	}
	a.places[p] = a.places[p] || typ == newTable || typ == newChain || typ == newRule
	return err
}

// text sets s to a string that ends with NUL.
func text(s *string, is bool, v []byte) {
	if is {
		for len(v) > 0 && v[len(v)-1] == 0 {
			v = v[:len(v)-1]
		}
		*s = string(v)
	}
}

// each calls f for each attribute.
func each(b []byte, f func(typ uint16, value []byte)) error {
	const attributeLength = 4
	for len(b) >= attributeLength {
		length := int(binary.NativeEndian.Uint16(b))
		if length < attributeLength || length > len(b) {
			return fmt.Errorf("%w: an attribute of %d bytes, and %d are left", errShort, length, len(b))
		}
		f(binary.NativeEndian.Uint16(b[2:])&typeMask, b[attributeLength:length])
		b = b[min(len(b), align(length)):]
	}
	return whole(b)
}

// whole refuses what is left where nothing should be.
func whole(rest []byte) error {
	if len(rest) > 0 {
		return fmt.Errorf("%w: %d bytes are left", errShort, len(rest))
	}
	return nil
}

func align(n int) int { return (n + 3) &^ 3 }
