package main

import (
	"encoding/json"
	"io"
	"net/netip"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// The types below are the output of render -o json. Fields are only ever added.

type jsonRendering struct {
	Families []jsonFamily `json:"families"`
}

type jsonFamily struct {
	Family   proxier.Family `json:"family"`
	Node     jsonNode       `json:"node"`
	Services []jsonPort     `json:"services"`
	Problems []jsonProblem  `json:"problems"`
	Tables   []jsonTable    `json:"tables"`
	// The others are there in mode ipvs only: sets that rules look into, and
	// addresses of Services on the network device kube-ipvs0.
	Sets            []jsonSet           `json:"sets,omitempty"`
	VirtualServers  []jsonVirtualServer `json:"virtualServers,omitempty"`
	DeviceAddresses []netip.Addr        `json:"deviceAddresses,omitempty"`
}

type jsonNode struct {
	Name      string       `json:"name"`
	Zone      string       `json:"zone,omitempty"`
	Addresses []netip.Addr `json:"addresses"`
	// LocalPods says how pods of this node are recognised.
	LocalPods string `json:"localPods"`
}

// A jsonPort is one port of a Service, with who answers for it.
type jsonPort struct {
	Namespace       string         `json:"namespace"`
	Name            string         `json:"name"`
	PortName        string         `json:"portName,omitempty"`
	Protocol        string         `json:"protocol"`
	Port            uint16         `json:"port"`
	NodePort        uint16         `json:"nodePort,omitempty"`
	ClusterIP       string         `json:"clusterIP,omitempty"`
	ExternalIPs     []netip.Addr   `json:"externalIPs,omitempty"`
	LoadBalancerIPs []netip.Addr   `json:"loadBalancerIPs,omitempty"`
	AllowedSources  []netip.Prefix `json:"allowedSources,omitempty"`
	// AffinitySeconds is how long a client sticks to an endpoint.
	AffinitySeconds     int    `json:"affinitySeconds,omitempty"`
	HealthCheckNodePort uint16 `json:"healthCheckNodePort,omitempty"`
	// Internal is for the ClusterIP, External for outside clients of the other
	// addresses, ShortCircuit for this node and its pods.
	Internal     jsonPool  `json:"internal"`
	External     *jsonPool `json:"external,omitempty"`
	ShortCircuit *jsonPool `json:"shortCircuit,omitempty"`
}

type jsonPool struct {
	// Verdict is accept, drop or reject; Scope cluster or local.
	Verdict   string           `json:"verdict"`
	Scope     string           `json:"scope"`
	Endpoints []netip.AddrPort `json:"endpoints"`
}

type jsonProblem struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Where     string `json:"where,omitempty"`
	Field     string `json:"field,omitempty"`
	Value     string `json:"value,omitempty"`
	Reason    string `json:"reason"`
}

type jsonTable struct {
	Name   string      `json:"name"`
	Chains []jsonChain `json:"chains"`
}

type jsonChain struct {
	Name string `json:"name"`
	// Rules are in iptables-save's form, without "-A NAME ".
	Rules []string `json:"rules"`
}

func printJSON(out io.Writer, all rendering) error {
	doc := jsonRendering{Families: []jsonFamily{}}
	for _, f := range all.families {
		doc.Families = append(doc.Families, all.family(f))
	}
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(doc)
}

func (all rendering) family(f familyRendering) jsonFamily {
	s := f.state
	doc := jsonFamily{
		Family:   s.Family,
		Node:     jsonNode{Name: s.Node.Name, Zone: s.Node.Zone, Addresses: orEmpty(s.Node.IPs), LocalPods: s.LocalPods.String()},
		Services: []jsonPort{}, Problems: []jsonProblem{}, Tables: jsonTables(f.rules),
	}
	for t := range s.Targets {
		if all.service.Name == "" || t.Name.NamespacedName == all.service {
			doc.Services = append(doc.Services, newJSONPort(t))
		}
	}
	for _, p := range f.problems() {
		if all.service.Name == "" || p.Namespace == all.service.Namespace && p.Name == all.service.Name {
			doc.Problems = append(doc.Problems, jsonProblem(p))
		}
	}
	f.virtual.addTo(&doc)
	return doc
}

func newJSONPort(t *proxier.Target) jsonPort {
	p := jsonPort{
		Namespace: t.Name.Namespace, Name: t.Name.Name, PortName: t.Name.Port, Protocol: string(t.Name.Protocol),
		Port: t.Port, NodePort: t.NodePort, ExternalIPs: t.ExternalIPs, LoadBalancerIPs: t.LoadBalancerIPs,
		AllowedSources: t.AllowedSources, AffinitySeconds: int(t.Affinity.Seconds()), HealthCheckNodePort: t.HealthCheckNodePort,
		Internal: newJSONPool(t.Internal),
	}
	if t.ClusterIP.IsValid() {
		p.ClusterIP = t.ClusterIP.String()
	}
	if t.Exposed() {
		external, short := newJSONPool(t.External), newJSONPool(t.ShortCircuit)
		p.External, p.ShortCircuit = &external, &short
	}
	return p
}

func newJSONPool(p proxier.Pool) jsonPool {
	pool := jsonPool{Verdict: p.Verdict.String(), Scope: p.Scope.String(), Endpoints: []netip.AddrPort{}}
	for i := range p.Endpoints {
		pool.Endpoints = append(pool.Endpoints, p.Endpoints[i].Addr)
	}
	return pool
}

func jsonTables(rules iptables.Ruleset) []jsonTable {
	tables := []jsonTable{}
	for _, t := range rules.Tables {
		table := jsonTable{Name: t.Name, Chains: []jsonChain{}}
		for _, c := range t.Chains {
			table.Chains = append(table.Chains, jsonChain{c.Name, orEmpty(c.Rules)})
		}
		tables = append(tables, table)
	}
	return tables
}

// orEmpty makes a list that is never null in JSON.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
