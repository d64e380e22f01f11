package iptables

import (
	"fmt"
	"hash/fnv"
	"math/bits"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// maxPool is how many endpoints one chain chooses from; larger pools become a
// tree, so that a packet walks the square root of their number, and a change of
// one endpoint rewrites one group.
const maxPool = 20

// A level of that tree has 2^maxGroupBits groups at most, and there are so many
// levels; see maxLevel.
const (
	maxGroupBits = 6
	maxGroups    = 2
)

// poolChains choose one endpoint at random, or the one the client had before.
func (w *writer) poolChains(t *proxier.Target, pool proxier.Pool) []*Chain {
	c := &Chain{Name: poolChain(pool.Scope, t.Name)}
	if pool.Scope == t.Internal.Scope && !w.virtual() {
		if masquerade := w.masqueradeClusterIP(t); masquerade != "" {
			c.Rules = append(c.Rules, masquerade)
		}
	}
	if t.Affinity > 0 {
		c.Rules = append(c.Rules, w.stickyRules(t, pool.Endpoints)...)
		return []*Chain{c}
	}
	endpoints := make([]*proxier.Endpoint, len(pool.Endpoints))
	for i := range pool.Endpoints {
		endpoints[i] = &pool.Endpoints[i]
	}
	g := grouper{target: t, scope: pool.Scope}
	c.Rules = append(c.Rules, g.choose(endpoints, "", 0, 0)...)
	return append(g.chains, c)
}

// stickyRules send a client on to the endpoint that remembers it, and choose
// at random for the others. They are a flat list: a client of any endpoint must
// be found, and the kernel's lists cannot be asked in bulk.
func (w *writer) stickyRules(t *proxier.Target, endpoints []proxier.Endpoint) []string {
	mask := "255.255.255.255"
	if w.state.Family == proxier.IPv6 {
		mask = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
	}
	protocol := protocolOf(t)
	recent := func(e *proxier.Endpoint, how string) string {
		return fmt.Sprintf("-m recent %s --name %s --mask %s --rsource", how, recentList(t.Name, e), mask)
	}
	remember := fmt.Sprintf("--update --seconds %d --reap", int(t.Affinity.Seconds()))
	rules := make([]string, 0, 2*len(endpoints))
	for i := range endpoints {
		e := &endpoints[i]
		rules = append(rules, rule{protocol: protocol, matches: []string{recent(e, remember)}, target: dnat(e)}.String())
	}
	for i := range endpoints {
		r := rule{protocol: protocol, target: dnat(&endpoints[i])}
		if left := len(endpoints) - i; left > 1 {
			r.matches = append(r.matches, random(1, left))
		}
		r.matches = append(r.matches, recent(&endpoints[i], "--set"))
		rules = append(rules, r.String())
	}
	return rules
}

// grouper writes the tree of a large pool.
type grouper struct {
	target *proxier.Target
	scope  proxier.Scope
	chains []*Chain
}

// choose returns rules that pick each endpoint with the same probability.
// Groups are made by a hash of the endpoint, so that one more or less leaves
// all others in their group; a group is picked in proportion to its size. used
// is how many bits of the hash the path, of so many levels, has used up.
func (g *grouper) choose(endpoints []*proxier.Endpoint, path string, level, used int) []string {
	if len(endpoints) <= maxPool || level == maxGroups {
		return g.flat(endpoints)
	}
	width := min(bits.Len(uint(len(endpoints)))/2, maxGroupBits)
	groups := make([][]*proxier.Endpoint, 1<<width)
	for _, e := range endpoints {
		i := endpointHash(e) << used >> (64 - width)
		groups[i] = append(groups[i], e)
	}
	var rules []string
	left := len(endpoints)
	for i, group := range groups {
		if len(group) == 0 {
			continue
		}
		name := fmt.Sprintf("%s%0*x", path, (width+3)/4, i)
		chain := &Chain{Name: groupChain(g.scope, g.target.Name, name)}
		chain.Rules = g.choose(group, name+"/", level+1, used+width)
		g.chains = append(g.chains, chain)
		r := rule{comment: g.target.Name.String() + " group " + name, target: jump(chain.Name)}
		if len(group) < left {
			r.matches = []string{random(len(group), left)}
		}
		left -= len(group)
		rules = append(rules, r.String())
	}
	return rules
}

func (g *grouper) flat(endpoints []*proxier.Endpoint) []string {
	rules := make([]string, 0, len(endpoints))
	for i, e := range endpoints {
		r := rule{protocol: protocolOf(g.target), target: dnat(e)}
		if left := len(endpoints) - i; left > 1 {
			r.matches = []string{random(1, left)}
		}
		rules = append(rules, r.String())
	}
	return rules
}

func endpointHash(e *proxier.Endpoint) uint64 {
	h := fnv.New64a()
	b, _ := e.Addr.MarshalBinary() // cannot fail
	h.Write(b)
	x := h.Sum64()
	// FNV's high bits mix badly for inputs that differ in the last byte only.
	x ^= x >> 32
	x *= 0x9e3779b97f4a7c15
	return x ^ x>>29
}
