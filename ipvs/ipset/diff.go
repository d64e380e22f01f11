package ipset

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// A Patch turns the sets the kernel has into those it should have.
type Patch struct {
	// Release are sets of the wrong type that have to go although rules use
	// them: those rules have to be deleted before the Ops. It is as good as never
	// needed: it takes somebody to have created a set with a name of ours.
	Release []Set
	// Ops are the changes, in order; empty when nothing is to be done.
	Ops []Op
	// Changed are the sets that change, as they will be; without a type where they
	// go. Have, by name, are the sets as they are.
	Changed []Set
	Have    map[string]Set
	// After are all the wanted sets as they will be.
	After []Set
}

// Diff finds the way from have, the sets of the kernel, to want. Sets that want
// does not name are left as they are, but for a spare one of an earlier process
// that did not get to its end.
//
// A set that only differs in its entries is changed in place: first all sets get
// what they lack, in the order of want, then they lose what they should not
// have, in the opposite order. A set that is too
// small or has other options is replaced in one step by a spare one, under the
// eyes of the rules that use it. The kernel does not let sets of different
// types swap, nor a set go that rules use: there the rules must yield (Release).
func Diff(family proxier.Family, have, want []Set) Patch {
	p := Patch{Have: map[string]Set{}}
	for _, s := range have {
		p.Have[s.Name] = s
	}
	spareName := Name(family, spare)
	if s, ok := p.Have[spareName]; ok {
		p.Ops = append(p.Ops, Op{Verb: Destroy, Set: header(s)})
		p.Changed = append(p.Changed, Set{Name: s.Name})
	}
	var deletions []Op
	for _, w := range want {
		h, ok := p.Have[w.Name]
		if ok && sameKind(h, w) && sameEntries(h, w) && h.Options == w.Options {
			w.MaxElem = h.MaxElem
			p.After = append(p.After, w)
			continue
		}
		missing, extra := differences(h.Entries, w.Entries)
		switch {
		case !ok:
			p.Ops = append(p.Ops, create(w)...)
		case !sameKind(h, w):
			if h.References > 0 {
				p.Release = append(p.Release, h)
			}
			p.Ops = append(append(p.Ops, Op{Verb: Destroy, Set: header(h)}), create(w)...)
		case h.Options != w.Options || w.MaxElem != 0 && len(h.Entries)+len(missing) > int(h.MaxElem):
			p.Ops = append(p.Ops, replace(w, spareName)...)
		default:
			w.MaxElem = h.MaxElem
			p.Ops = appendEntries(p.Ops, Add, w, missing)
			deletions = appendEntries(deletions, Delete, w, extra)
		}
		p.Changed, p.After = append(p.Changed, w), append(p.After, w)
	}
	slices.Reverse(deletions)
	p.Ops = append(p.Ops, deletions...)
	return p
}

// Remove finds the way to be rid of sets.
func Remove(sets []Set) Patch {
	p := Patch{Have: map[string]Set{}}
	for _, s := range sets {
		p.Have[s.Name] = s
		p.Ops = append(p.Ops, Op{Verb: Destroy, Set: header(s)})
		p.Changed = append(p.Changed, Set{Name: s.Name})
	}
	return p
}

func sameKind(s, t Set) bool { return s.Type == t.Type && s.Family == t.Family }

// sameEntries compares; what a Set shares with its predecessor is equal at once.
func sameEntries(s, t Set) bool {
	if len(s.Entries) != len(t.Entries) {
		return false
	}
	return len(s.Entries) == 0 || &s.Entries[0] == &t.Entries[0] || slices.Equal(s.Entries, t.Entries)
}

func header(s Set) Set {
	s.Entries = nil
	return s
}

func create(s Set) []Op {
	return appendEntries([]Op{{Verb: Create, Set: header(s)}}, Add, s, s.Entries)
}

// replace fills the spare set and lets it take the place of s.
func replace(s Set, spareName string) []Op {
	name := s.Name
	s.Name = spareName
	return append(create(s),
		Op{Verb: Swap, Set: header(s), Other: name},
		Op{Verb: Destroy, Set: header(s)})
}

func appendEntries(ops []Op, verb Verb, s Set, entries []Entry) []Op {
	if len(entries) == 0 {
		return ops
	}
	s.Entries = entries
	return append(ops, Op{Verb: verb, Set: s})
}

// differences compares sorted entries.
func differences(have, want []Entry) (missing, extra []Entry) {
	for len(have) > 0 || len(want) > 0 {
		c := 0
		switch {
		case len(have) == 0:
			c = 1
		case len(want) == 0:
			c = -1
		default:
			c = cmp.Compare(have[0].Compare(want[0]), 0)
		}
		switch {
		case c < 0:
			extra, have = append(extra, have[0]), have[1:]
		case c > 0:
			missing, want = append(missing, want[0]), want[1:]
		default:
			have, want = have[1:], want[1:]
		}
	}
	return missing, extra
}

// Empty reports whether there is nothing to do.
func (p Patch) Empty() bool { return len(p.Ops) == 0 }

// Unified shows the patch like diff -u, one part for each set.
func (p Patch) Unified() string {
	var b strings.Builder
	for _, w := range p.Changed {
		var have, want []byte
		if h, ok := p.Have[w.Name]; ok {
			have = []byte(h.String())
		}
		if w.Type != "" {
			want = []byte(w.String())
		}
		out := diff.Diff("kernel ipset "+w.Name, have, "wanted ipset "+w.Name, want)
		_, hunks, _ := bytes.Cut(out, []byte("\n")) // the first line repeats the names as a command
		b.Write(hunks)
	}
	return b.String()
}
