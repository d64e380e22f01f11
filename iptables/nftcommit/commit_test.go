package nftcommit

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// attribute is struct nlattr, padded.
func attribute(typ uint16, value string) []byte {
	const header = 4
	b := binary.NativeEndian.AppendUint16(nil, uint16(header+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, typ), value...)
	return append(b, make([]byte, align(len(b))-len(b))...)
}

// message is struct nlmsghdr, struct nfgenmsg and attributes.
func message(typ uint16, family Family, attributes ...[]byte) []byte {
	body := slices.Concat(attributes...)
	b := binary.NativeEndian.AppendUint32(nil, uint32(headerLength+familyLength+len(body)))
	b = binary.NativeEndian.AppendUint16(b, subsystem<<8|typ)
	b = append(b, make([]byte, headerLength-len(b))...)
	return append(append(b, byte(family), 0, 0, 0), body...)
}

// generation ends a commit of process 7, called nft.
func generation() []byte {
	return message(newGen, 0, attribute(1, "\x00\x00\x00\x09"), attribute(genPID, "\x00\x00\x00\x07"), attribute(genName, "nft\x00"))
}

func chain(typ uint16, table, name string) []byte {
	return message(typ, IPv4, attribute(chainTable, table+"\x00"), attribute(chainName, name+"\x00"), attribute(2, "\x00\x00\x00\x00\x00\x00\x00\x01"))
}

func rule(typ uint16, table, name string) []byte {
	return message(typ, IPv6, attribute(ruleTable, table+"\x00"), attribute(ruleChain, name+"\x00"))
}

// shortened is b with another number at a place.
func shortened(b []byte, at int, length uint16) []byte {
	b = slices.Clone(b)
	binary.NativeEndian.PutUint16(b[at:], length)
	return b
}

const firstAttribute = headerLength + familyLength

func TestCommitsAreReadFromDatagrams(t *testing.T) {
	nat := Place{IPv4, "nat", ""}
	services, postrouting := Place{IPv4, "nat", "KUBE-SERVICES"}, Place{IPv6, "nat", "POSTROUTING"}
	byNFT := func(places map[Place]bool) []Commit { return []Commit{{PID: 7, Process: "nft", Places: places}} }
	for name, test := range map[string]struct {
		datagrams [][]byte
		want      []Commit
	}{
		"a chain and a rule in one": {
			[][]byte{slices.Concat(chain(newChain, "nat", "KUBE-SERVICES"), rule(newRule, "nat", "POSTROUTING"), generation())},
			byNFT(map[Place]bool{services: true, postrouting: true}),
		},
		"in three": {
			[][]byte{chain(newChain, "nat", "KUBE-SERVICES"), rule(delRule, "nat", "POSTROUTING"), generation()},
			byNFT(map[Place]bool{services: true, postrouting: false}),
		},
		"a table deleted": {
			[][]byte{message(delTable, IPv4, attribute(tableName, "nat\x00")), generation()}, byNFT(map[Place]bool{nat: false}),
		},
		"a table made": {
			[][]byte{message(newTable, IPv4, attribute(tableName, "nat\x00")), generation()}, byNFT(map[Place]bool{nat: true}),
		},
		"what is replaced is made": {
			[][]byte{rule(newRule, "nat", "POSTROUTING"), rule(delRule, "nat", "POSTROUTING"), generation()}, byNFT(map[Place]bool{postrouting: true}),
		},
		"two commits": {
			[][]byte{chain(delChain, "nat", "KUBE-SERVICES"), generation(), generation()},
			append(byNFT(map[Place]bool{services: false}), byNFT(nil)...),
		},
		"a name that has no end, as a chain without one is a table": {
			[][]byte{message(newChain, IPv4, attribute(chainTable, "nat"), attribute(chainName, "")), generation()}, byNFT(map[Place]bool{nat: true}),
		},
		"flags of attributes": {
			[][]byte{message(newTable, IPv4, attribute(tableName|0x8000, "nat\x00")), generation()}, byNFT(map[Place]bool{nat: true}),
		},
		"a process number of another length": {
			[][]byte{message(newGen, 0, attribute(genPID, "\x07"))}, []Commit{{}},
		},
		"messages of others": {
			[][]byte{message(9, IPv4, attribute(1, "a set")), shortened(chain(newChain, "nat", "X"), 4, 3<<8|newChain), generation()}, byNFT(nil),
		},
		"not yet the end": {[][]byte{chain(newChain, "nat", "KUBE-SERVICES")}, nil},
		"nothing":         {[][]byte{nil}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var have []Commit
			var a assembler
			for _, d := range test.datagrams {
				if err := a.read(d, func(c Commit) { have = append(have, c) }); err != nil {
					t.Errorf("error %v", err)
				}
			}
			if diff := cmp.Diff(test.want, have); diff != "" {
				t.Errorf("(-want +have)\n%s", diff)
			}
		})
	}
}

func TestDatagramsThatEndInTheMiddleAreRefused(t *testing.T) {
	good := chain(newChain, "nat", "KUBE-SERVICES")
	for name, b := range map[string][]byte{
		"within the header":                  good[:headerLength-1],
		"within the family":                  shortened(good[:headerLength+2], 0, headerLength+2),
		"within an attribute":                good[:len(good)-4],
		"a message of no length":             shortened(good, 0, 0),
		"a message longer than there is":     shortened(good, 0, uint16(len(good)+1)),
		"a message shorter than a header":    shortened(good, 0, headerLength-1),
		"a message of the largest length":    append([]byte{255, 255, 255, 255}, good[4:]...),
		"an attribute of no length":          shortened(good, firstAttribute, 0),
		"an attribute without its header":    shortened(good, firstAttribute, 3),
		"an attribute longer than there is":  shortened(good, firstAttribute, uint16(len(good))),
		"an attribute of the largest length": shortened(good, firstAttribute, 0xffff),
		"half an attribute's header":         append(shortened(good, 0, uint16(len(good)+2)), 8, 0),
		"more after the last message":        append(slices.Clone(good), 1, 2, 3),
	} {
		t.Run(name, func(t *testing.T) {
			var a assembler
			if err := a.read(b, func(c Commit) { t.Errorf("told %+v", c) }); !errors.Is(err, errShort) {
				t.Errorf("error %v, want %v", err, errShort)
			}
		})
	}
}

// FuzzRead: whatever the datagrams hold, the reader ends, and tells of no more
// than they have room for.
func FuzzRead(f *testing.F) {
	f.Add(slices.Concat(chain(newChain, "nat", "KUBE-SERVICES"), rule(newRule, "filter", "FORWARD"), generation()), 20)
	f.Add(slices.Concat(message(delTable, IPv6, attribute(tableName, "nat\x00")), generation(), generation()), 0)
	f.Add(shortened(chain(delChain, "nat", "KUBE-SERVICES"), firstAttribute, 0xffff), 4)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		cut = max(0, min(cut, len(b)))
		var a assembler
		commits, places := 0, 0
		tell := func(c Commit) {
			commits++
			places += len(c.Places)
			for p := range c.Places {
				if len(p.Table)+len(p.Chain) > len(b) {
					t.Errorf("%+v is longer than the %d bytes it was read from", p, len(b))
				}
			}
		}
		for _, part := range [][]byte{b[:cut], b[cut:]} {
			if a.read(part, tell) != nil {
				a = assembler{}
			}
		}
		if most := len(b) / (headerLength + familyLength); commits+places > most {
			t.Errorf("%d commits of %d places in %d bytes", commits, places, len(b))
		}
	})
}
