package iptables

import (
	"net/netip"
	"slices"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// natTrees lead packets of the nat table to their Service.
type natTrees struct {
	addresses, nodePorts, hairpins frontendTree
}

func (n *natTrees) compile(w *writer, prev *natTrees, c *changes) {
	trees := forest{changes: c}
	n.addresses = w.frontendTree(&prev.addresses, trees, prefixAddressDispatch, w.state.Frontends, w.dispatch)
	n.nodePorts = w.frontendTree(&prev.nodePorts, trees, prefixPortDispatch, w.state.NodePorts, w.dispatch)
	if !w.options.BPF {
		n.hairpins.root = trees.tree(prev.hairpins.root, prefixHairpinTree, w.hairpinEntries(prev.hairpins.root))
	}
}

// A frontendTree is the dispatch tree of some frontends.
type frontendTree struct {
	all  []frontendEntry // of each frontend, in order
	root *node           // of those that have rules
}

type frontendEntry struct {
	frontend *proxier.Frontend
	*entry
}

func (t *frontendTree) rules() []string {
	if t.root == nil {
		return nil
	}
	return t.root.rules
}

// frontendTree hangs the rules of frontends, which are sorted, into a tree.
// The rules of a frontend are those of its predecessor if it is the same.
func (w *writer) frontendTree(prev *frontendTree, in forest, prefix string,
	frontends []*proxier.Frontend, rules func(*proxier.Frontend) []string,
) frontendTree {
	t := frontendTree{all: make([]frontendEntry, 0, len(frontends))}
	entries := make([]*entry, 0, len(frontends))
	old := prev.all
	for _, f := range frontends {
		if len(old) > 0 && old[0].frontend != f {
			at := placeOf(f)
			for len(old) > 0 && comparePlaces(old[0].place, at) < 0 {
				old = old[1:]
			}
		}
		var before frontendEntry
		if len(old) > 0 && (old[0].frontend == f || old[0].place == placeOf(f)) {
			before, old = old[0], old[1:]
		}
		e := before
		if before.frontend != f {
			e = frontendEntry{f, &entry{placeOf(f), rules(f)}}
			if before.entry != nil && slices.Equal(before.rules, e.rules) {
				e.entry = before.entry
			}
		}
		t.all = append(t.all, e)
		if len(e.rules) > 0 {
			entries = append(entries, e.entry)
		}
	}
	t.root = in.tree(prev.root, prefix, entries)
	return t
}

func placeOf(f *proxier.Frontend) place {
	return place{f.Addr, protocolOf(f.Target), f.Port}
}

// matchPlace matches a frontend's place.
func matchPlace(f *proxier.Frontend, comment string) rule {
	r := rule{protocol: protocolOf(f.Target), comment: comment}
	if f.Addr.IsValid() {
		r.dst = single(f.Addr)
	}
	r.matches = append(r.matches, dport(r.protocol, f.Port, f.Port))
	return r
}

// dispatch are a frontend's rules in the nat table; none where its traffic is
// not accepted.
func (w *writer) dispatch(f *proxier.Frontend) []string {
	t := f.Target
	if w.options.Refused[t] {
		return nil
	}
	r := matchPlace(f, t.Name.String()+" "+f.Kind.String())
	switch {
	case w.virtual() && !f.AtNodeAddress() && (f.Kind == proxier.ClusterIP || !hasShortCircuit(t)):
		return nil
	case f.Kind == proxier.ClusterIP:
		return w.dispatchClusterIP(r, t)
	case !hasExternalChain(t):
		return nil
	case f.Restricted():
		r.target = jump(portChain(prefixSources, t.Name))
	default:
		r.target = jump(portChain(prefixExternal, t.Name))
	}
	return []string{r.String()}
}

func (w *writer) dispatchClusterIP(r rule, t *proxier.Target) []string {
	if t.Internal.Verdict != proxier.Accept {
		return nil
	}
	var rules []string
	if !needsChain(t, t.Internal) {
		// With a chain this rule stands there.
		if masquerade := w.masqueradeClusterIP(t); masquerade != "" {
			rules = append(rules, masquerade)
		}
	}
	return append(rules, toPool(r, t, t.Internal))
}

// hairpinEntries are one rule for each endpoint's address, for kernels without
// xt_bpf.
func (w *writer) hairpinEntries(prev *node) []*entry {
	addrs := map[netip.Addr]bool{}
	for t := range w.state.Targets {
		for _, pool := range []proxier.Pool{t.Internal, t.ShortCircuit, t.External} {
			for i := range pool.Endpoints {
				addrs[pool.Endpoints[i].Addr.Addr()] = true
			}
		}
	}
	entries := make([]*entry, 0, len(addrs))
	have := map[netip.Addr]*entry{}
	if prev != nil {
		for _, e := range prev.entries {
			have[e.addr] = e
		}
	}
	for addr := range addrs {
		e := have[addr]
		if e == nil {
			e = &entry{place{addr: addr}, []string{rule{
				src: single(addr), dst: single(addr), comment: "hairpin", target: jump(chainMarkMasq),
			}.String()}}
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b *entry) int { return comparePlaces(a.place, b.place) })
	return entries
}

// loopbackGuard keeps the network from node ports on loopback addresses, which the
// sysctl route_localnet lets neighbours send packets to: left alone here, these are
// dropped by the filter table. Elsewhere node ports may be closed. It stands in the
// chain of node ports, so that what is not for this node does not walk it.
func (w *writer) loopbackGuard() []string {
	if !w.state.NodePortAddresses.Loopback || w.virtual() {
		return nil
	}
	return []string{rule{
		dst: w.state.Family.Loopback(), comment: "loopback addresses are for this node alone",
		matches: []string{"-m addrtype ! --src-type LOCAL"}, target: "-j RETURN",
	}.String()}
}

// nodePortGuards are the rules that lead to the chain of node ports: packets
// to those of the node's own addresses that serve them. The kernel decides what
// is an address of its own, so that a new address serves at once.
func (w *writer) nodePortGuards(comment, chain string) []string {
	loopback := w.state.Family.Loopback()
	addresses := w.state.NodePortAddresses
	guard := func(r rule) string {
		r.comment, r.target = comment, jump(chain)
		r.matches = append(r.matches, dstLocal)
		return r.String()
	}
	if len(addresses.Within) == 0 {
		if addresses.Loopback && !w.virtual() {
			return []string{guard(rule{})}
		}
		return []string{guard(rule{dst: loopback, notDst: true})}
	}
	var rules []string
	if !addresses.Loopback || w.virtual() {
		rules = append(rules, rule{dst: loopback, comment: "no node ports on loopback addresses", target: "-j RETURN"}.String())
	}
	for _, within := range addresses.Within {
		rules = append(rules, guard(rule{dst: within}))
	}
	return rules
}
