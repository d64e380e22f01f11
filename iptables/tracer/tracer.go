package tracer

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/kube-proxier/kube-proxier/iptables"
)

// A Tracer is a ruleset ready for packets. It never changes, so that any
// number of goroutines may use it.
type Tracer struct {
	tables map[string]map[string]*chain // by table and chain name
	family family
	host   *host
}

// A chain with its rules parsed and its jumps resolved.
type chain struct {
	table, name string
	builtIn     bool
	policy      Verdict // of a built-in chain
	rules       []rule
	hooks       hookSet // from which the chain can be reached
}

// host is Host, indexed.
type host struct {
	addresses map[netip.Addr]bool
	prefixes  []netip.Prefix
	recent    map[string][]netip.Addr
	virtual   func(protocol string, at netip.AddrPort) (VirtualServer, bool)
}

var loopback4 = netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8)

// isLocal reports whether the address is the host's own.
func (h *host) isLocal(a netip.Addr) bool {
	if h.addresses[a] || loopback4.Contains(a) || a == netip.IPv6Loopback() {
		return true
	}
	return slices.ContainsFunc(h.prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// New reads all rules of the ruleset's nat and filter tables, which are of one
// IP family; a built-in chain without a policy has ACCEPT. It is an error,
// naming table, chain and rule, if
//
//   - a rule has a match, an option or a target that is not known,
//   - a rule looks into a set that the host does not have,
//   - a rule jumps to a chain that does not exist, or chains jump in a circle,
//   - a target stands where the kernel does not take it (DNAT where
//     POSTROUTING leads, REJECT in nat, …),
//   - another table has rules, or the rules are of both families.
func New(rules iptables.Ruleset, h Host) (*Tracer, error) {
	t := &Tracer{tables: map[string]map[string]*chain{}, host: &host{
		addresses: map[netip.Addr]bool{}, prefixes: h.LocalPrefixes, recent: h.RecentClients, virtual: h.Virtual,
	}}
	for _, a := range h.Addresses {
		t.host.addresses[a.Unmap()] = true
	}
	parser := &ruleParser{sets: h.Sets}
	for _, table := range rules.Tables {
		if t.tables[table.Name] != nil {
			return nil, fmt.Errorf("table %s is given twice", table.Name)
		}
		if err := t.addTable(table, parser); err != nil {
			return nil, fmt.Errorf("table %s: %w", table.Name, err)
		}
	}
	t.family = parser.family
	return t, nil
}

// WithRecent returns the tracer with other contents of the xt_recent lists
// (see Host.RecentClients). The rules are shared, so this costs nothing.
func (t *Tracer) WithRecent(clients map[string][]netip.Addr) *Tracer {
	h := *t.host
	h.recent = clients
	return &Tracer{tables: t.tables, family: t.family, host: &h}
}

func (t *Tracer) addTable(table iptables.Table, parser *ruleParser) error {
	if table.Name != iptables.NAT && table.Name != iptables.Filter {
		if table.RuleCount() > 0 {
			return fmt.Errorf("has rules, and only nat and filter are traced")
		}
		return nil
	}
	chains := make(map[string]*chain, len(table.Chains))
	for _, c := range table.Chains {
		if chains[c.Name] != nil {
			return fmt.Errorf("chain %s is given twice", c.Name)
		}
		parsed, err := parseChain(table.Name, c, parser)
		if err != nil {
			return fmt.Errorf("chain %s: %w", c.Name, err)
		}
		chains[c.Name] = parsed
	}
	t.tables[table.Name] = chains
	return link(chains)
}

func parseChain(table string, c *iptables.Chain, parser *ruleParser) (*chain, error) {
	parsed := &chain{table: table, name: c.Name, rules: make([]rule, len(c.Rules)), policy: Accept}
	hook := hookOf(table, c.Name)
	parsed.builtIn = hook != 0
	switch {
	case !parsed.builtIn && c.Policy != "":
		return nil, fmt.Errorf("policy %s: the table has no such built-in chain", c.Policy)
	case c.Policy == "DROP" && table == iptables.NAT:
		return nil, fmt.Errorf("policy DROP: the nat table does not drop")
	case c.Policy == "DROP":
		parsed.policy = Drop
	case c.Policy != "" && c.Policy != "ACCEPT":
		return nil, fmt.Errorf("policy %s: want ACCEPT or DROP", c.Policy)
	}
	for i, text := range c.Rules {
		r, err := parser.parse(text)
		if err != nil {
			return nil, fmt.Errorf("rule %d, %q: %w", i+1, text, err)
		}
		parsed.rules[i] = r
	}
	return parsed, nil
}

// link resolves jumps, refuses circles and computes from where each chain can
// be reached.
func link(chains map[string]*chain) error {
	names := slices.Sorted(maps.Keys(chains)) // for the same error every time
	for _, name := range names {
		c := chains[name]
		for i := range c.rules {
			if err := c.rules[i].resolve(chains); err != nil {
				return fmt.Errorf("chain %s: rule %d, %q: %w", name, i+1, c.rules[i].text, err)
			}
		}
	}
	done := map[*chain]bool{}
	for _, name := range names {
		if circle := chains[name].circle(nil, done); circle != "" {
			return fmt.Errorf("chains jump in a circle: %s", circle)
		}
	}
	for _, name := range names {
		if c := chains[name]; c.builtIn {
			if err := c.reachedFrom(hookOf(c.table, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *rule) resolve(chains map[string]*chain) error {
	t := &r.target
	if t.kind != jump && t.kind != jumpAway {
		return nil
	}
	switch t.chain = chains[t.name]; {
	case t.chain == nil:
		return fmt.Errorf("%s is neither a known target nor a chain of the table", t.name)
	case t.chain.builtIn:
		return fmt.Errorf("jump to the built-in chain %s", t.name)
	}
	return nil
}

// circle returns the names of chains that jump in a circle, or nothing.
func (c *chain) circle(way []string, done map[*chain]bool) string {
	if done[c] {
		return ""
	}
	if slices.Contains(way, c.name) {
		return strings.Join(append(way, c.name), " -> ")
	}
	way = append(way, c.name)
	for _, r := range c.rules {
		if r.target.chain == nil {
			continue
		}
		if found := r.target.chain.circle(way, done); found != "" {
			return found
		}
	}
	done[c] = true
	return ""
}

// reachedFrom notes the hook in the chain and in those it leads to, and
// reports a target that the kernel does not take at that hook.
func (c *chain) reachedFrom(hook hookSet) error {
	if c.hooks&hook != 0 {
		return nil
	}
	c.hooks |= hook
	for i, r := range c.rules {
		if allowed := r.target.hooks(); allowed&hook == 0 {
			return fmt.Errorf("chain %s: rule %d, %q: target %s is not valid in table %s at hook %s",
				c.name, i+1, r.text, r.target.name, c.table, hook)
		}
		if r.target.chain == nil {
			continue
		}
		if err := r.target.chain.reachedFrom(hook); err != nil {
			return err
		}
	}
	return nil
}
