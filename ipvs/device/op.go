package device

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
)

// A Verb is what an Op does.
type Verb string

// The verbs.
const (
	CreateDevice Verb = "create device"
	// DeleteDevice takes all its addresses away, too.
	DeleteDevice Verb = "delete device"
	// Add binds an address to the device. That it is there already is no error.
	Add Verb = "add"
	// Delete takes it away. That it is not there is no error.
	Delete Verb = "delete"
	// Retire gives an address a route that makes it local, so that connections
	// live on when the device loses it; but the node does not choose it as its own
	// any more when it opens one to it. That it has one is no error.
	Retire Verb = "retire"
	// Release takes that route away. That there is none is no error.
	Release Verb = "release"
)

// routeProtocol marks routes as ours: a number of rtm_protocol that neither
// linux/rtnetlink.h nor iproute2's list of routing daemons has.
const routeProtocol = 107

// An Op is one change to kube-ipvs0.
type Op struct {
	Verb Verb
	// Addr is for all but those on the device as such.
	Addr netip.Addr
	// Prefix is for Delete, where it is not the whole address: what the device has it
	// with.
	Prefix netip.Prefix
	// Source is for Retire: what the node chooses as its own address instead;
	// invalid to leave that to the kernel.
	Source netip.Addr
}

// String is the command of ip(8) that does the same.
func (o Op) String() string {
	switch o.Verb {
	case CreateDevice:
		return "ip link add " + Name + " type " + linkType
	case DeleteDevice:
		return "ip link delete " + Name
	case Delete:
		return fmt.Sprintf("ip address delete %s dev %s", o.Bound(), Name)
	case Add:
		s := fmt.Sprintf("ip address add %s dev %s", o.Bound(), Name)
		if o.Addr.Is6() {
			s += " nodad noprefixroute preferred_lft 0"
		}
		return s
	case Retire:
		s := fmt.Sprintf("ip route append local %s/%d dev lo table local proto %d", o.Addr, o.Addr.BitLen(), routeProtocol)
		if o.Source.IsValid() {
			s += " src " + o.Source.String()
		}
		return s
	case Release:
		return fmt.Sprintf("ip route delete local %s/%d dev lo table local proto %d", o.Addr, o.Addr.BitLen(), routeProtocol)
	}
	return fmt.Sprintf("unknown verb %q", string(o.Verb))
}

// Bound is the address as the device has it, or is to have it.
func (o Op) Bound() netip.Prefix {
	if o.Prefix.IsValid() {
		return o.Prefix
	}
	return whole(o.Addr)
}

// Script is the Ops as commands, one in a line.
func Script(ops []Op) string {
	var b strings.Builder
	for _, o := range ops {
		b.WriteString(o.String() + "\n")
	}
	return b.String()
}

// Kernel is the way to the devices of one network namespace. All reads and
// writes of the dataplanes go through it.
type Kernel interface {
	// List returns what is there.
	List(ctx context.Context) (Host, error)
	// Do makes the changes in order, up to the first that fails.
	Do(ctx context.Context, ops []Op) error
}
