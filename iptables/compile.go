package iptables

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// Features are what the kernel and the tools are able to do beyond the least.
type Features struct {
	// BPF: the kernel has the bpf match (xt_bpf).
	BPF bool
	// DropInvalid is false where the node has nf_conntrack_tcp_be_liberal set,
	// and packets that conntrack finds invalid need not be dropped.
	DropInvalid bool
}

// AllFeatures are those of a current kernel with current tools, for rules that
// are printed rather than loaded.
func AllFeatures() Features {
	return Features{BPF: true, DropInvalid: true}
}

// Options are what shapes the rules beside the State.
type Options struct {
	Features
	// MasqueradeBit is the bit of the packet mark, 0 to 31, that asks for
	// masquerade.
	MasqueradeBit int
	// Virtual is set in IPVS mode.
	Virtual Virtual
	// Refused are Service ports the kernel did not take: they get no rules.
	Refused map[*proxier.Target]bool
}

// Compiled is the desired ruleset of a State, with what the next Compile can
// take over from it.
type Compiled struct {
	// Ruleset holds our chains, and built-in chains with our jumps only.
	Ruleset Ruleset

	state    *proxier.State
	options  Options
	services []*compiledService
	nat      natTrees
	filter   filterTrees
}

// Compile translates a State into rules. It is pure: the same State and options
// give the same rules. prev may be nil; it only saves work, by sharing what did
// not change.
func Compile(prev *Compiled, state *proxier.State, options Options) *Compiled {
	if prev == nil || !prev.options.equal(options) || !sameForRules(prev.state, state) {
		prev = &Compiled{}
	}
	c := &Compiled{state: state, options: options}
	w := writer{state: state, options: options}

	nat, filter := newChanges(), newChanges()
	c.compileServices(&w, prev, nat, filter)
	c.nat.compile(&w, &prev.nat, nat)
	c.filter.compile(&w, &prev.filter, filter)
	base := w.baseChains(c)
	c.Ruleset = Ruleset{Tables: []Table{
		nat.table(NAT, prev.Ruleset.Table(NAT), base[NAT]),
		filter.table(Filter, prev.Ruleset.Table(Filter), base[Filter]),
	}}
	return c
}

func (o Options) equal(p Options) bool {
	if o.Features != p.Features || o.MasqueradeBit != p.MasqueradeBit || o.Virtual != p.Virtual || len(o.Refused) != len(p.Refused) {
		return false
	}
	for t := range o.Refused {
		if !p.Refused[t] {
			return false
		}
	}
	return true
}

// sameForRules reports whether two States agree in all that shapes the rules of
// Services that did not change.
func sameForRules(a, b *proxier.State) bool {
	return a.Family == b.Family && a.LocalPods == b.LocalPods && a.MasqueradeAll == b.MasqueradeAll
}

// changes gathers the chains of one table that came and went.
type changes struct {
	added   []*Chain
	removed map[*Chain]bool
}

func newChanges() *changes { return &changes{removed: map[*Chain]bool{}} }

// table is prev with the changes, and with the base chains, all sorted.
func (c *changes) table(name string, prev Table, base []*Chain) Table {
	added := c.added
	for _, b := range base {
		if old := prev.Chain(b.Name); old != nil {
			if old.Equal(b) {
				continue
			}
			c.removed[old] = true
		}
		added = append(added, b)
	}
	compare := func(a, b *Chain) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(added, compare)
	chains := make([]*Chain, 0, len(prev.Chains)+len(added))
	for _, old := range prev.Chains {
		if c.removed[old] {
			continue
		}
		for len(added) > 0 && compare(added[0], old) < 0 {
			chains, added = append(chains, added[0]), added[1:]
		}
		chains = append(chains, old)
	}
	return Table{Name: name, Chains: append(chains, added...)}
}

// compiledService and compiledTarget keep the chains of a Service's ports.
type compiledService struct {
	service *proxier.Service
	targets []*compiledTarget
}

type compiledTarget struct {
	target *proxier.Target
	chains []*Chain // in the nat table
	filter []*Chain // in the filter table
}

// all are the chains of both tables.
func (t *compiledTarget) all(yield func(*Chain) bool) {
	for _, chains := range [][]*Chain{t.chains, t.filter} {
		for _, c := range chains {
			if !yield(c) {
				return
			}
		}
	}
}

// frontendTrees are those whose rules each belong to a frontend.
func (c *Compiled) frontendTrees() []*frontendTree {
	return []*frontendTree{&c.nat.addresses, &c.nat.nodePorts, &c.filter.addresses, &c.filter.nodePorts, &c.filter.own}
}

// compileServices writes the chains of each Service port, or takes them over.
func (c *Compiled) compileServices(w *writer, prev *Compiled, nat, filter *changes) {
	old := prev.services
	c.services = make([]*compiledService, 0, len(c.state.Services))
	retire := func(s *compiledService) {
		for _, t := range s.targets {
			nat.remove(t.chains)
			filter.remove(t.filter)
		}
	}
	for _, service := range c.state.Services {
		name := service.Objects.Name
		for len(old) > 0 && proxier.CompareNames(old[0].service.Objects.Name, name) < 0 {
			retire(old[0])
			old = old[1:]
		}
		var before *compiledService
		if len(old) > 0 && old[0].service.Objects.Name == name {
			before, old = old[0], old[1:]
		}
		c.services = append(c.services, compileService(w, before, service, nat, filter))
	}
	for _, gone := range old {
		retire(gone)
	}
}

func compileService(w *writer, before *compiledService, service *proxier.Service, nat, filter *changes) *compiledService {
	if before != nil && before.service == service {
		return before
	}
	byTarget := map[*proxier.Target]*compiledTarget{}
	if before != nil {
		for _, t := range before.targets {
			byTarget[t.target] = t
		}
	}
	s := &compiledService{service: service}
	for _, target := range service.Targets {
		t := byTarget[target]
		if t == nil {
			t = &compiledTarget{target: target}
			t.chains, t.filter = w.targetChains(target)
			nat.added = append(nat.added, t.chains...)
			filter.added = append(filter.added, t.filter...)
		}
		delete(byTarget, target)
		s.targets = append(s.targets, t)
	}
	for _, t := range byTarget {
		nat.remove(t.chains)
		filter.remove(t.filter)
	}
	return s
}

func (c *changes) remove(chains []*Chain) {
	for _, chain := range chains {
		c.removed[chain] = true
	}
}

// writer writes rules for one State.
type writer struct {
	state   *proxier.State
	options Options
}

// protocolOf is the protocol as iptables calls it.
func protocolOf(t *proxier.Target) string {
	switch t.Name.Protocol {
	case corev1.ProtocolTCP:
		return "tcp"
	case corev1.ProtocolUDP:
		return "udp"
	default:
		return "sctp"
	}
}

func (w *writer) mark() string {
	return fmt.Sprintf("%#x", uint32(1)<<w.options.MasqueradeBit)
}
