// Package devicetest has a strict stand-in for the kernel's network devices, for
// tests of whatever writes to kube-ipvs0.
package devicetest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/kube-proxier/kube-proxier/ipvs/device"
)

// A Kernel keeps kube-ipvs0 and its addresses. It minds what the real one does
// not: adding an address that is there, on any device, and deleting one that is
// not.
type Kernel struct {
	// FailDo, if set, is asked before each change, counted from 1 over all
	// calls; what it returns is the error of the call that far.
	FailDo func(n int, op device.Op) error

	mu    sync.Mutex
	host  device.Host
	ops   []device.Op
	lists int
}

// New returns a kernel in this state.
func New(host device.Host) *Kernel { return &Kernel{host: host} }

// Set puts the kernel into another state, as somebody else would.
func (k *Kernel) Set(host device.Host) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.host = host
}

// List returns what is there.
func (k *Kernel) List(context.Context) (device.Host, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lists++
	return k.host, nil
}

// Lists is how often List was called.
func (k *Kernel) Lists() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lists
}

// Ops are all changes that were made.
func (k *Kernel) Ops() []device.Op {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.ops)
}

// Do makes the changes in order.
func (k *Kernel) Do(_ context.Context, ops []device.Op) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, op := range ops {
		if k.FailDo != nil {
			if err := k.FailDo(len(k.ops)+1, op); err != nil {
				return err
			}
		}
		if err := k.check(op); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		k.host = k.host.After([]device.Op{op})
		k.ops = append(k.ops, op)
	}
	return nil
}

func (k *Kernel) check(op device.Op) error {
	exists := k.host.Type != ""
	bound := slices.ContainsFunc(k.host.Bound, func(p netip.Prefix) bool { return p.Addr() == op.Addr })
	if op.Verb == device.Delete {
		bound = slices.Contains(k.host.Bound, op.Bound())
	}
	elsewhere := slices.ContainsFunc(k.host.Others, func(o device.Addr) bool { return o.Addr == op.Addr })
	switch {
	case op.Verb == device.CreateDevice && exists:
		return fmt.Errorf("the device is there already, of type %s", k.host.Type)
	case op.Verb == device.Retire || op.Verb == device.Release:
		if slices.Contains(k.host.Retired, op.Addr) == (op.Verb == device.Retire) {
			return fmt.Errorf("the route is there, or is not")
		}
	case op.Verb != device.CreateDevice && !exists:
		return fmt.Errorf("there is no device")
	case op.Verb == device.Add && (bound || elsewhere):
		return fmt.Errorf("the node has the address already")
	case op.Verb == device.Add && (op.Addr == netip.Addr{} || op.Addr.Is4In6()):
		return fmt.Errorf("not an address")
	case op.Verb == device.Delete && !bound:
		return fmt.Errorf("the device does not have the address")
	}
	return nil
}
