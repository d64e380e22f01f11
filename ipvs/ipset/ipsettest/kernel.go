// Package ipsettest has a strict stand-in for the kernel's sets, for tests of
// whatever writes to them.
package ipsettest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A Kernel keeps sets like the real one: names, types and families are checked,
// a set does not take more entries than MaxElem, and one that is referred to
// cannot be destroyed. In addition, it minds what the real one does not: adding
// what is there and deleting what is not.
type Kernel struct {
	// References, if set, counts the rules that use a set.
	References func(set string) uint32
	// FailDo, if set, is asked before each change, counted from 1 over all
	// calls; what it returns is the error of the call that far.
	FailDo func(n int, op ipset.Op) error

	mu   sync.Mutex
	sets map[string]ipset.Set
	ops  []ipset.Op
	list int
}

// New returns a kernel with these sets.
func New(sets ...ipset.Set) *Kernel {
	k := &Kernel{sets: map[string]ipset.Set{}}
	for _, s := range sets {
		k.sets[s.Name] = s
	}
	return k
}

// List returns all sets.
func (k *Kernel) List(context.Context) ([]ipset.Set, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.list++
	return k.all(), nil
}

func (k *Kernel) all() []ipset.Set {
	var all []ipset.Set
	for _, name := range slices.Sorted(maps.Keys(k.sets)) {
		s := k.sets[name]
		s.Entries = slices.Clone(s.Entries)
		s.References = k.references(name)
		all = append(all, s)
	}
	return all
}

func (k *Kernel) references(set string) uint32 {
	if k.References == nil {
		return 0
	}
	return k.References(set)
}

// String is the whole kernel as ipset save would print it.
func (k *Kernel) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return ipset.Text(k.all())
}

// Ops are all changes that were made.
func (k *Kernel) Ops() []ipset.Op {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.ops)
}

// Lists is how often List was called.
func (k *Kernel) Lists() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.list
}

// Do makes the changes in order.
func (k *Kernel) Do(_ context.Context, ops []ipset.Op) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, op := range ops {
		if k.FailDo != nil {
			if err := k.FailDo(len(k.ops)+1, op); err != nil {
				return err
			}
		}
		if err := k.do(op); err != nil {
			return fmt.Errorf("%s %s: %w", op.Verb, op.Set.Name, err)
		}
		k.ops = append(k.ops, op)
	}
	return nil
}

func (k *Kernel) do(op ipset.Op) error {
	s, ok := k.sets[op.Set.Name]
	if op.Verb == ipset.Create {
		if ok {
			return ipset.ErrExists
		}
		return k.create(op.Set)
	}
	if !ok {
		return ipset.ErrMissing
	}
	switch op.Verb {
	case ipset.Add:
		return k.add(s, op.Set.Entries)
	case ipset.Delete:
		return k.remove(s, op.Set.Entries)
	case ipset.Swap:
		return k.swap(s, op.Other)
	case ipset.Destroy:
		if k.references(s.Name) > 0 {
			return ipset.ErrReferenced
		}
		delete(k.sets, s.Name)
		return nil
	}
	return fmt.Errorf("unknown verb %q", op.Verb)
}

func (k *Kernel) create(s ipset.Set) error {
	switch {
	case s.Name == "" || len(s.Name) > 31:
		return fmt.Errorf("name %q does not have 1 to 31 characters", s.Name)
	case len(s.Entries) > 0 || s.References > 0:
		return fmt.Errorf("a new set has no entries and no references")
	case s.Type == ipset.BitmapPort:
		if s.Family != "" || s.MaxElem != 0 {
			return fmt.Errorf("%s has no family and no maxelem", s.Type)
		}
	case s.Type != ipset.HashIP && s.Type != ipset.HashIPPort:
		return fmt.Errorf("type %q is not known", s.Type)
	case s.MaxElem == 0 || s.Family != proxier.IPv4 && s.Family != proxier.IPv6:
		return fmt.Errorf("%s needs a family and maxelem", s.Type)
	}
	k.sets[s.Name] = s
	return nil
}

func (k *Kernel) add(s ipset.Set, entries []ipset.Entry) error {
	have := slices.Clone(s.Entries)
	for _, e := range entries {
		if err := fits(s, e); err != nil {
			return err
		}
		i, there := slices.BinarySearchFunc(have, e, ipset.Entry.Compare)
		switch {
		case there:
			return fmt.Errorf("%s is there already", e)
		case s.MaxElem != 0 && len(have) == int(s.MaxElem):
			return ipset.ErrFull
		}
		have = slices.Insert(have, i, e)
	}
	s.Entries = have
	k.sets[s.Name] = s
	return nil
}

func fits(s ipset.Set, e ipset.Entry) error {
	address := s.Type != ipset.BitmapPort
	switch {
	case e.Addr.IsValid() != address, address && proxier.FamilyOf(e.Addr) != s.Family,
		(e.Protocol != "") != (s.Type == ipset.HashIPPort),
		e.Port != 0 && s.Type == ipset.HashIP:
		return fmt.Errorf("entry %+v does not fit into a set of type %s %s", e, s.Type, s.Family)
	}
	return nil
}

func (k *Kernel) remove(s ipset.Set, entries []ipset.Entry) error {
	have := slices.Clone(s.Entries)
	for _, e := range entries {
		i, there := slices.BinarySearchFunc(have, e, ipset.Entry.Compare)
		if !there {
			return fmt.Errorf("%s is not there", e)
		}
		have = slices.Delete(have, i, i+1)
	}
	s.Entries = have
	k.sets[s.Name] = s
	return nil
}

func (k *Kernel) swap(s ipset.Set, name string) error {
	other, ok := k.sets[name]
	switch {
	case !ok:
		return ipset.ErrMissing
	case s.Type != other.Type || s.Family != other.Family:
		return ipset.ErrMismatch
	}
	s.Name, other.Name = other.Name, s.Name
	k.sets[s.Name], k.sets[other.Name] = s, other
	return nil
}

// Headers returns all sets without their entries.
func (k *Kernel) Headers(context.Context) ([]ipset.Header, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []ipset.Header
	for _, s := range k.all() {
		all = append(all, ipset.Header{Name: s.Name, Type: s.Type, Entries: len(s.Entries)})
	}
	return all, nil
}
