package iptables

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// accept is the policy written down for built-in chains. It is the host's own
// affair and never sent.
const accept = "ACCEPT"

// masqueradeRandomly picks source ports at random, so that two connections made at the
// same time hardly ever want the same one, which costs the later one a packet.
const masqueradeRandomly = "-j MASQUERADE --random-fully"

// requiringSNAT is kube-proxy's comment, and the kubelet's: up to 1.26 that one sees to
// it each minute that the three rules for marked packets are there, word for word.
const requiringSNAT = "kubernetes service traffic requiring SNAT"

// The comments of jumps from built-in chains. Those that kube-proxy has are the
// same, so that taking over leaves them alone where they come in the same order.
const (
	portals         = "kubernetes service portals"
	externalPortals = "kubernetes externally-visible service portals"
	forwarding      = "kubernetes forwarding rules"
	firewalling     = "kubernetes firewall for loopback addresses" // kube-proxy has none like it
)

// baseChains are the chains that exist whatever is served, by table: the jumps
// from built-in chains, and where they lead.
func (w *writer) baseChains(c *Compiled) map[string][]*Chain {
	return map[string][]*Chain{
		NAT:    append(natJumps(), w.natBase(&c.nat)...),
		Filter: append(w.filterJumps(), w.filterBase(&c.filter)...),
	}
}

func natJumps() []*Chain {
	services := rule{comment: portals, target: jump(chainServices)}.String()
	return []*Chain{
		{Name: "PREROUTING", Policy: accept, Rules: []string{services}},
		{Name: "OUTPUT", Policy: accept, Rules: []string{services}},
		{Name: "POSTROUTING", Policy: accept, Rules: []string{
			rule{comment: "kubernetes postrouting rules", target: jump(chainPostrouting)}.String(),
		}},
	}
}

func (w *writer) filterJumps() []*Chain {
	services := newTo(portals, chainServices)
	output := []string{services}
	if w.virtual() {
		output = append(output, newTo("sources of this node", chainOutput))
	}
	return []*Chain{
		{Name: "INPUT", Policy: accept, Rules: []string{
			loopbackJump(),
			rule{comment: "kubernetes health check service ports", target: jump(chainNodePorts)}.String(),
			newTo(externalPortals, chainExternal),
		}},
		{Name: "FORWARD", Policy: accept, Rules: []string{
			services,
			rule{comment: forwarding, target: jump(chainForward)}.String(),
		}},
		{Name: "OUTPUT", Policy: accept, Rules: output},
	}
}

// newTo jumps for the first packet of a connection; -m conntrack stands before
// the comment, as kube-proxy writes it.
func newTo(comment, chain string) string {
	return ctNew + " " + rule{comment: comment, target: jump(chain)}.String()
}

func (w *writer) natBase(trees *natTrees) []*Chain {
	services := append([]string(nil), trees.addresses.rules()...)
	nodePorts := slices.Concat(w.loopbackGuard(), trees.nodePorts.rules())
	if w.virtual() {
		services = append(services, w.virtualMarks()...)
		services = append(services, w.virtualPlaces()...)
		nodePorts = append(nodePorts, w.virtualNodePorts()...)
	}
	services = append(services, w.nodePortGuards("node ports", chainNodePorts)...)
	chains := []*Chain{
		{Name: chainServices, Rules: services},
		{Name: chainNodePorts, Rules: nodePorts},
		{Name: chainMarkMasq, Rules: []string{
			fmt.Sprintf("-j MARK --set-xmark %s/%s", w.mark(), w.mark()),
		}},
		{Name: chainPostrouting, Rules: w.postrouting()},
	}
	if trees.hairpins.root != nil {
		chains = append(chains, &Chain{Name: chainHairpin, Rules: trees.hairpins.root.rules})
	}
	return chains
}

// postrouting rewrites the source of hairpin connections, by marking them, and of
// all that are marked. The mark is cleared first, so that a packet that passes once
// more inside a tunnel is not masqueraded twice.
func (w *writer) postrouting() []string {
	translated := []string{"-m conntrack --ctstate DNAT"}
	if w.virtual() {
		translated = append(translated, "-m ipvs --ipvs")
	}
	var rules []string
	for _, how := range translated {
		hairpin := rule{matches: []string{how}, target: jump(chainHairpin)}
		if w.options.BPF {
			hairpin = rule{matches: []string{how, w.selfMatch()}, target: jump(chainMarkMasq)}
		}
		rules = append(rules, hairpin.String())
	}
	return append(rules,
		fmt.Sprintf("-m mark ! --mark %s/%s -j RETURN", w.mark(), w.mark()),
		fmt.Sprintf("-j MARK --set-xmark %s/0x0", w.mark()),
		rule{comment: requiringSNAT, target: masqueradeRandomly}.String(),
	)
}

// selfMatch matches packets whose source is their destination: after DNAT, a
// pod that reached itself through a Service. It is a classic BPF program
// (linux/filter.h): load a word of the source into X, compare with that of the
// destination, for each word.
func (w *writer) selfMatch() string {
	words := []int{12}
	distance := 4
	if w.state.Family == proxier.IPv6 {
		words, distance = []int{8, 12, 16, 20}, 16
	}
	var program []string
	for i, source := range words {
		miss := 4*(len(words)-1-i) + 1 // to the last instruction, which returns 0
		program = append(program,
			fmt.Sprintf("32 0 0 %d", source),          // ld [source]
			"7 0 0 0",                                 // tax
			fmt.Sprintf("32 0 0 %d", source+distance), // ld [destination]
			fmt.Sprintf("29 0 %d 0", miss),            // jeq x
		)
	}
	program = append(program, "6 0 0 65535", "6 0 0 0")
	return fmt.Sprintf(`-m bpf --bytecode "%d,%s"`, len(program), strings.Join(program, ","))
}

func (w *writer) filterBase(trees *filterTrees) []*Chain {
	// What nat has sent to an endpoint is answered for, even if the endpoint has
	// the address and port of a frontend that is not.
	answered := []string{"-m conntrack --ctstate DNAT -j RETURN"}
	if w.virtual() { // what IPVS has sent on comes by as sent by the node
		answered = append(answered, "-m ipvs --ipvs -j RETURN")
	}
	services := slices.Concat(answered, trees.addresses.rules())
	external := slices.Concat(answered, []string{jump(chainServices)})
	if w.virtual() {
		external = append(external, w.virtualGuard()...)
	}
	external = append(external, w.nodePortGuards("node ports without endpoints", chainRejectPorts)...)
	chains := []*Chain{
		{Name: chainServices, Rules: services},
		{Name: chainExternal, Rules: external},
		{Name: chainRejectPorts, Rules: trees.nodePorts.rules()},
		{Name: chainNodePorts, Rules: trees.health.rules},
		{Name: chainForward, Rules: w.forward()},
		{Name: chainFirewall, Rules: w.firewall()},
	}
	if w.virtual() {
		chains = append(chains, &Chain{Name: chainOutput, Rules: trees.own.rules()})
	}
	return chains
}

// forward lets through what a FORWARD chain of policy DROP would not. What all but
// the first packet of a connection match stands first.
func (w *writer) forward() []string {
	rules := []string{rule{
		comment: "known connections", matches: []string{"-m conntrack --ctstate RELATED,ESTABLISHED"}, target: "-j ACCEPT",
	}.String()}
	if w.options.DropInvalid && !w.virtual() { // IPVS translates without conntrack's help
		// Packets that conntrack cannot place are not translated; a pod's answer
		// would leave with the wrong source and reset the connection.
		rules = append(rules, "-m conntrack --ctstate INVALID -j DROP")
	}
	return append(rules, rule{
		comment: "marked for masquerade", matches: []string{fmt.Sprintf("-m mark --mark %s/%s", w.mark(), w.mark())}, target: "-j ACCEPT",
	}.String())
}

// firewall keeps the network away from what listens on loopback addresses.
// Node ports on 127.0.0.1 need the sysctl route_localnet, which alone would let
// neighbours reach them (CVE-2020-8558). The rule is there in any case: the
// sysctl stays set when node ports leave 127.0.0.1, or with another mode. IPv6
// has no such sysctl.
func (w *writer) firewall() []string {
	if w.state.Family != proxier.IPv4 {
		return nil
	}
	loopback := w.state.Family.Loopback()
	return []string{rule{
		src: loopback, notSrc: true, dst: loopback, comment: "the network cannot reach loopback addresses",
		matches: []string{"-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT"}, target: "-j DROP",
	}.String()}
}
