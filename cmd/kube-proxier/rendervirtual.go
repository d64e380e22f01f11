package main

import (
	"fmt"
	"io"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/device"
	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
)

// virtualRendering is what IPVS mode has beside the rules.
type virtualRendering struct {
	sets    []ipset.Set
	servers []*ipvs.VirtualServer
	// addresses are those on kube-ipvs0.
	addresses []netip.Addr
	problems  []proxier.Problem
}

// renderVirtual makes what belongs to one Service, or to all for an empty name.
// The node's addresses are those of its Node object: there is no host to ask.
func renderVirtual(state *proxier.State, c *config.Config, service types.NamespacedName) *virtualRendering {
	compiled := ipvs.Compile(nil, state, ipvs.Options{Scheduler: c.IPVS.Scheduler, NodeAddresses: state.Node.IPs})
	v := &virtualRendering{sets: compiled.Sets, servers: compiled.Servers, problems: compiled.Problems}
	var wanted []device.Address
	for _, a := range compiled.Addresses {
		if service.Name == "" || slices.Contains(a.Services(), service) {
			wanted = append(wanted, device.Address(a))
		}
	}
	// Without a device there is none of a wrong type: no error.
	patch, _ := device.Diff(state.Family, device.Host{}, wanted, state.Node.Addresses)
	v.problems = append(v.problems, patch.Problems...)
	for _, op := range patch.Ops {
		if op.Verb == device.Add {
			v.addresses = append(v.addresses, op.Addr)
		}
	}
	if service.Name != "" {
		v.servers = compiled.Of(service)
		v.sets = setsOf(compiled.Sets, state, service, v.addresses)
	}
	return v
}

// setsOf are sets with the entries of one Service only; bound are its addresses
// on the device.
func setsOf(sets []ipset.Set, state *proxier.State, service types.NamespacedName, bound []netip.Addr) []ipset.Set {
	own := map[ipset.Entry]bool{}
	for _, f := range slices.Concat(state.Frontends, state.NodePorts) {
		if f.Target.Name.NamespacedName != service {
			continue
		}
		if f.Kind == proxier.NodePort {
			own[ipset.Entry{Protocol: f.Protocol(), Port: f.Port}] = true
			continue
		}
		own[ipset.Entry{Addr: f.Addr, Protocol: f.Protocol(), Port: f.Port}] = true
	}
	for _, a := range bound {
		own[ipset.Entry{Addr: a}] = true
	}
	protocols := map[string]ipset.Entry{
		ipset.Name(state.Family, ipset.NodePortsTCP): {Protocol: "TCP"}, ipset.Name(state.Family, ipset.NodePortsUDP): {Protocol: "UDP"},
		ipset.Name(state.Family, ipset.NodePortsSCTP): {Protocol: "SCTP"},
	}
	out := slices.Clone(sets)
	for i, s := range sets {
		out[i].Entries = slices.DeleteFunc(slices.Clone(s.Entries), func(e ipset.Entry) bool {
			if p, ok := protocols[s.Name]; ok {
				e = ipset.Entry{Protocol: p.Protocol, Port: e.Port} // as node ports are everywhere
			}
			return !own[e]
		})
	}
	return out
}

// print prints the sections after the rules.
func (v *virtualRendering) print(out io.Writer) error {
	if v == nil {
		return nil
	}
	_, err := fmt.Fprintf(out, "# ipset\n%s# ipvsadm\n%s", ipset.Text(v.sets), ipvs.Text(v.servers))
	return err
}

// A jsonSet is an IP set.
type jsonSet struct {
	Name string `json:"name"`
	Type string `json:"type"`
	// Entries are in ipset's notation.
	Entries []string `json:"entries"`
}

// A jsonVirtualServer is a virtual server of IPVS.
type jsonVirtualServer struct {
	Protocol  string         `json:"protocol"`
	Address   netip.AddrPort `json:"address"`
	Scheduler string         `json:"scheduler"`
	// Flags are those of linux/ip_vs.h.
	Flags uint32 `json:"flags,omitempty"`
	// PersistentSeconds is how long a client sticks to its real server.
	PersistentSeconds uint32           `json:"persistentSeconds,omitempty"`
	Servers           []jsonRealServer `json:"servers"`
}

type jsonRealServer struct {
	Address netip.AddrPort `json:"address"`
	Weight  uint16         `json:"weight"`
}

// addTo adds what iptables mode does not have.
func (v *virtualRendering) addTo(doc *jsonFamily) {
	if v == nil {
		return
	}
	for _, s := range v.sets {
		set := jsonSet{Name: s.Name, Type: string(s.Type), Entries: []string{}}
		for _, e := range s.Entries {
			set.Entries = append(set.Entries, e.String())
		}
		doc.Sets = append(doc.Sets, set)
	}
	for _, s := range v.servers {
		server := jsonVirtualServer{
			Protocol: string(s.Protocol), Address: s.Addr, Scheduler: s.Scheduler, Flags: uint32(s.Flags),
			PersistentSeconds: s.Timeout, Servers: []jsonRealServer{},
		}
		for _, r := range s.Servers {
			server.Servers = append(server.Servers, jsonRealServer{r.Addr, r.Weight})
		}
		doc.VirtualServers = append(doc.VirtualServers, server)
	}
	doc.DeviceAddresses = v.addresses
}
