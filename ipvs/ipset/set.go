package ipset

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// A Type is how a set stores its entries, in ipset's words. Sets of other types
// than these can be read and destroyed, but not filled.
type Type string

// The types of the sets that kube-proxier fills.
const (
	// HashIP holds addresses.
	HashIP Type = "hash:ip"
	// HashIPPort holds an address with protocol and port.
	HashIPPort Type = "hash:ip,port"
	// BitmapPort holds ports of either protocol and family.
	BitmapPort Type = "bitmap:port"
)

func (t Type) known() bool { return t == HashIP || t == HashIPPort || t == BitmapPort }

// An Entry is an element of a set. Fields that the type of the set does not
// have are zero.
type Entry struct {
	Addr netip.Addr
	// Protocol is TCP, UDP or SCTP, in HashIPPort only.
	Protocol corev1.Protocol
	Port     uint16
}

// Compare orders by address, protocol and port.
func (e Entry) Compare(f Entry) int {
	return cmp.Or(e.Addr.Compare(f.Addr), strings.Compare(string(e.Protocol), string(f.Protocol)), cmp.Compare(e.Port, f.Port))
}

// A Set is a named set with its entries. It is immutable: who changes one makes
// a new one.
type Set struct {
	// Name has at most 31 characters.
	Name string
	Type Type
	// Family is empty for BitmapPort, which knows none.
	Family proxier.Family
	// MaxElem is how many entries the kernel lets in; 0 for BitmapPort, which
	// has room for all ports.
	MaxElem uint32
	// Options are what the set was created with besides, such as "timeout 600",
	// in ipset's words. Ours have none.
	Options string
	// Entries are sorted, and there is one of each. They are empty for types
	// that are not among those above.
	Entries []Entry
	// References counts the rules and sets that use the set. It is known only of
	// sets read from the kernel; while it is not 0 the set cannot be destroyed.
	References uint32
}

// minRoom is the MaxElem of sets that are not larger. A hash set grows with its
// entries, so room costs nothing; ipset's default is 65,536.
const minRoom = 1 << 20

// New returns a Set with these entries, which it sorts, and with room for as
// many again. The family is ignored for BitmapPort.
func New(name string, typ Type, family proxier.Family, entries []Entry) Set {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, Entry.Compare)
	s := Set{Name: name, Type: typ, Family: family, Entries: slices.Compact(entries)}
	if typ == BitmapPort {
		s.Family = ""
		return s
	}
	s.MaxElem = room(len(s.Entries))
	return s
}

// room is the MaxElem of a new set of n entries.
func room(n int) uint32 {
	r := uint32(minRoom)
	for int(r) < 2*n {
		r *= 2
	}
	return r
}
