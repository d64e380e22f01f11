// Package conntracktest has a strict stand-in for the kernel's table of tracked
// connections, for tests of whatever reads and deletes them.
package conntracktest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/kube-proxier/kube-proxier/conntrack"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A Kernel tracks the connections it is told of, of all families and protocols.
// It refuses to delete what is not UDP, and to be asked for nothing. The zero
// value tracks none.
type Kernel struct {
	// Strangers is the number of UDP flows of others that Flows makes up on the
	// way, so that they take no memory here.
	Strangers int
	// Interrupt, if set, is asked after each reading, counted from 1, whether it
	// was interrupted; the last half of the flows is missing then.
	Interrupt func(n int) bool
	// FailRead and FailDelete, if set, are asked for the error of each call,
	// counted from 1. A Delete that fails has deleted the first half.
	FailRead, FailDelete func(n int) error

	mu             sync.Mutex
	flows          map[key]conntrack.Flow
	lastID         uint32
	reads, deletes int
}

// A key is what flows differ in.
type key struct {
	protocol uint8
	original conntrack.Tuple
	zone     uint16
}

func keyOf(f *conntrack.Flow) key { return key{f.Protocol, f.Original, f.Zone} }

// Track adds a flow as it would be after its first packet. A flow with the same
// protocol, Original and Zone ends the one before.
func (k *Kernel) Track(f conntrack.Flow) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.flows == nil {
		k.flows = map[key]conntrack.Flow{}
	}
	k.lastID++
	f.ID = k.lastID
	k.flows[keyOf(&f)] = f
}

// Reads is how often the table was read.
func (k *Kernel) Reads() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.reads
}

// Deletes is how often Delete was called.
func (k *Kernel) Deletes() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.deletes
}

// String is a line for each flow, sorted.
func (k *Kernel) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	lines := make([]string, 0, len(k.flows))
	for _, f := range k.flows {
		lines = append(lines, f.String()+"\n")
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// Flows implements conntrack.Kernel.
func (k *Kernel) Flows(ctx context.Context, family proxier.Family, yield func(*conntrack.Flow) bool) error {
	k.mu.Lock()
	k.reads++
	n, flows := k.reads, slices.Collect(maps.Values(k.flows))
	k.mu.Unlock()
	if k.FailRead != nil {
		if err := k.FailRead(n); err != nil {
			return err
		}
	}
	interrupted := k.Interrupt != nil && k.Interrupt(n)
	if interrupted {
		flows = flows[:len(flows)/2]
	}
	var f conntrack.Flow
	for i := range k.Strangers {
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		f = stranger(uint32(i))
		if !yield(&f) {
			return nil
		}
	}
	for i := range flows {
		if proxier.FamilyOf(flows[i].Original.Dst.Addr()) == family && !yield(&flows[i]) {
			return nil
		}
	}
	if interrupted {
		return fmt.Errorf("%w: as the test wants", conntrack.ErrInterrupted)
	}
	return ctx.Err()
}

// stranger is one of many flows between hosts out there.
func stranger(i uint32) conntrack.Flow {
	a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{100, 64, byte(i >> 8), byte(i)}), uint16(i>>16)+1024)
	b := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i >> 3)}), 53)
	return conntrack.Flow{
		Protocol: conntrack.UDP, ID: i,
		Original: conntrack.Tuple{Src: a, Dst: b}, Reply: conntrack.Tuple{Src: b, Dst: a},
	}
}

// Delete implements conntrack.Kernel.
func (k *Kernel) Delete(_ context.Context, family proxier.Family, flows []conntrack.Stale) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.deletes++
	if len(flows) == 0 {
		return errors.New("asked to delete nothing")
	}
	var err error
	if k.FailDelete != nil {
		if err = k.FailDelete(k.deletes); err != nil {
			flows = flows[:len(flows)/2]
		}
	}
	for i := range flows {
		f := &flows[i].Flow
		if f.Protocol != conntrack.UDP || proxier.FamilyOf(f.Original.Dst.Addr()) != family {
			return fmt.Errorf("asked to delete %s, which is not UDP over %s", f, family)
		}
		if k.flows[keyOf(f)].ID == f.ID {
			delete(k.flows, keyOf(f))
		}
	}
	return err
}
