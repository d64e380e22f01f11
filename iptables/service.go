package iptables

import (
	"github.com/kube-proxier/kube-proxier/proxier"
)

// targetChains are the chains of one Service port, in the nat table:
//
//	KUBE-SVC-…  choose among the cluster's endpoints    KUBE-SVL-…  among this node's
//	KUBE-EXT-…  all external frontends: masquerade, or keep to this node
//	KUBE-FW-…   load balancer addresses: let the allowed sources on to KUBE-EXT
//
// A pool of one endpoint needs no chain: whoever would jump to it does the DNAT
// itself.
func (w *writer) targetChains(t *proxier.Target) (nat, filter []*Chain) {
	switch {
	case w.options.Refused[t]:
		return nil, nil
	case w.virtual():
		return w.virtualChains(t)
	default:
		return w.natChains(t), nil
	}
}

func (w *writer) natChains(t *proxier.Target) []*Chain {
	return w.chainsOf(t, t.Internal, t.ShortCircuit, t.External)
}

// chainsOf are the chains of some pools, and of the external frontends.
func (w *writer) chainsOf(t *proxier.Target, pools ...proxier.Pool) []*Chain {
	var chains []*Chain
	scopes := map[proxier.Scope]bool{}
	for _, pool := range pools {
		if needsChain(t, pool) && !scopes[pool.Scope] {
			scopes[pool.Scope] = true
			chains = append(chains, w.poolChains(t, pool)...)
		}
	}
	if !hasExternalChain(t) {
		return chains
	}
	chains = append(chains, w.externalChain(t))
	if t.AllowedSources != nil && len(t.LoadBalancerIPs) > 0 {
		chains = append(chains, w.sourcesChain(t))
	}
	return chains
}

// hasExternalChain reports whether some external traffic is accepted.
func hasExternalChain(t *proxier.Target) bool {
	return t.Exposed() && t.ShortCircuit.Verdict == proxier.Accept
}

func needsChain(t *proxier.Target, pool proxier.Pool) bool {
	return pool.Verdict == proxier.Accept && (len(pool.Endpoints) > 1 || len(pool.Endpoints) == 1 && t.Affinity > 0)
}

// toPool completes a rule so that it sends its packets to one of the pool's
// endpoints, which must not be empty.
func toPool(r rule, t *proxier.Target, pool proxier.Pool) string {
	if needsChain(t, pool) {
		r.target = jump(poolChain(pool.Scope, t.Name))
	} else {
		r.protocol = protocolOf(t)
		r.target = dnat(&pool.Endpoints[0])
	}
	return r.String()
}

func dnat(e *proxier.Endpoint) string {
	return "-j DNAT --to-destination " + e.Addr.String()
}

// externalChain is where all external frontends of a port lead.
func (w *writer) externalChain(t *proxier.Target) *Chain {
	c := &Chain{Name: portChain(prefixExternal, t.Name)}
	add := func(rule string) { c.Rules = append(c.Rules, rule) }
	name := t.Name.String()
	if !t.ExternalLocal {
		add(rule{comment: name + " from outside", target: jump(chainMarkMasq)}.String())
		add(toPool(rule{}, t, t.External))
		return c
	}
	if w.state.LocalPods.Known() {
		r := w.fromLocalPods(true)
		r.comment = name + " from local pods"
		add(toPool(r, t, t.ShortCircuit))
	}
	add(rule{comment: name + " from this node", matches: []string{srcLocal}, target: jump(chainMarkMasq)}.String())
	add(toPool(rule{comment: name + " from this node", matches: []string{srcLocal}}, t, t.ShortCircuit))
	if t.External.Verdict == proxier.Accept && (!w.virtual() || t.AtNodeAddress) {
		add(toPool(rule{}, t, t.External))
	}
	return c
}

// sourcesChain lets the allowed sources pass. What falls off its end is not
// DNATed, and dropped in the filter table.
func (w *writer) sourcesChain(t *proxier.Target) *Chain {
	c := &Chain{Name: portChain(prefixSources, t.Name)}
	for _, source := range t.AllowedSources {
		c.Rules = append(c.Rules, rule{
			src: source, comment: t.Name.String() + " allowed source", target: jump(portChain(prefixExternal, t.Name)),
		}.String())
	}
	return c
}

// fromLocalPods matches traffic of this node's pods, or all other traffic.
func (w *writer) fromLocalPods(yes bool) rule {
	pods := w.state.LocalPods
	switch {
	case pods.Source.IsValid():
		return rule{src: pods.Source, notSrc: !yes}
	case pods.Interface != "":
		return rule{in: pods.Interface, notIn: !yes}
	default:
		return rule{in: pods.InterfacePrefix + "+", notIn: !yes}
	}
}

// masqueradeClusterIP is the rule that marks traffic to the ClusterIP whose
// source would otherwise be answered past this node; "" when none need be.
func (w *writer) masqueradeClusterIP(t *proxier.Target) string {
	var r rule
	switch {
	case w.state.MasqueradeAll:
	case w.state.LocalPods.Known():
		r = w.fromLocalPods(false)
	default:
		return ""
	}
	r.dst, r.protocol = single(t.ClusterIP), protocolOf(t)
	r.comment = t.Name.String() + " cluster IP"
	r.matches, r.target = []string{dport(r.protocol, t.Port, t.Port)}, jump(chainMarkMasq)
	return r.String()
}
