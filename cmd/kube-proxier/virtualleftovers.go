package main

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/device"
	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// virtualLeftovers removes what IPVS mode, ours or kube-proxy's, has left of
// one family: virtual servers, then addresses, by which these are known to be
// ours, then sets. It follows the rules, so that another mode serves before,
// and is done when all is gone.
type virtualLeftovers struct {
	host   *host
	family proxier.Family
	// rules are where a rule of somebody else may refer to a set.
	rules tablesOf

	parts []proxier.Dataplane
	clean bool
}

// Name is "ipvs leftovers".
func (*virtualLeftovers) Name() string { return "ipvs leftovers" }

// Forget makes the next Plan look at the kernel, unless all was gone.
func (l *virtualLeftovers) Forget() {
	for _, part := range l.parts {
		part.Forget()
	}
}

// Plan looks what is left.
func (l *virtualLeftovers) Plan(ctx context.Context, _ *proxier.State) (proxier.Plan, error) {
	p := &removal{}
	if l.clean {
		return p, nil
	}
	if l.parts == nil {
		var err error
		if l.parts, err = l.newParts(ctx); err != nil {
			return nil, err
		}
	}
	// The other family removes things, too: whichever is last takes the device.
	l.Forget()
	nothing := &proxier.State{Family: l.family}
	for _, part := range l.parts {
		plan, err := part.Plan(ctx, nothing)
		if err != nil {
			return nil, err
		}
		if !plan.Empty() {
			p.plans = append(p.plans, plan)
		}
	}
	if p.Empty() {
		l.clean = true
	}
	return p, nil
}

// newParts are the dataplanes of what may be there. Modules that are not in use
// are not loaded by asking. Where the device is not there, no IPVS mode was, and
// a virtual server at a node port is somebody else's; and the device is the last
// but the sets to go.
func (l *virtualLeftovers) newParts(ctx context.Context) ([]proxier.Dataplane, error) {
	var parts []proxier.Dataplane
	now, err := l.host.addresses.List(ctx)
	if err != nil {
		return nil, err
	}
	wasHere := now.Type != "" || l.host.config.IPVS.RemoveForeign
	if wasHere && exists("/proc/thread-self/net/ip_vs") {
		kernel, err := l.host.open(l.family)
		if err != nil {
			return nil, err
		}
		ownership := l.host.ownership()
		parts = append(parts, ipvs.NewDataplane(kernel, ipvs.Config{
			Ownership: ownership, Addresses: l.host.familyAddresses(l.family),
		}))
	}
	parts = append(parts, device.New(l.host.addresses, l.family, nil))
	if exists("/sys/module/ip_set") {
		parts = append(parts, ipset.NewLeftovers(ipset.Netlink{}, l.family, nil, l.rules))
	}
	return parts, nil
}

// tablesOf are the tables of both variants of iptables, to read.
type tablesOf []*iptables.Tool

// Save returns a table of each that has it, one after the other.
func (t tablesOf) Save(ctx context.Context, table string) (string, error) {
	var b strings.Builder
	for _, tool := range t {
		if !tool.MayHold(table) {
			continue
		}
		text, err := tool.Save(ctx, table)
		if err != nil {
			return "", err
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

// Restore is never called: leftovers do not have to yield to anything.
func (tablesOf) Restore(context.Context, string) error { return errors.ErrUnsupported }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// A removal is several plans, one after the other.
type removal struct {
	plans []proxier.Plan
}

// Empty reports whether nothing is left.
func (r *removal) Empty() bool { return len(r.plans) == 0 }

// String is what each sends.
func (r *removal) String() string {
	var b strings.Builder
	for _, p := range r.plans {
		b.WriteString(p.String())
	}
	return b.String()
}

// Diff is that of each.
func (r *removal) Diff() string {
	var b strings.Builder
	for _, p := range r.plans {
		b.WriteString(p.Diff())
	}
	return b.String()
}

// Summary is the sum.
func (r *removal) Summary() proxier.Summary {
	s := proxier.Summary{More: !r.Empty()} // to look whether all is gone
	for _, p := range r.plans {
		one := p.Summary()
		s.Chains += one.Chains
		s.Rules += one.Rules
		s.Deleted += one.Deleted
		s.Bytes += one.Bytes
	}
	return s
}

// Drift is false: leftovers are nobody's interference.
func (*removal) Drift() bool { return false }

// Apply removes all, up to the first that fails.
func (r *removal) Apply(ctx context.Context) ([]proxier.Refusal, error) {
	for _, p := range r.plans {
		if _, err := p.Apply(ctx); err != nil {
			return nil, err
		}
	}
	return nil, nil
}
