// Package tracer says what a node in IPVS mode does with the first packet of a
// connection, without a kernel: it is package iptables/tracer with the sets,
// virtual servers and addresses beside the rules.
//
//	from the host   nat OUTPUT ─ IPVS ─ filter OUTPUT ─ nat POSTROUTING
//	from outside    nat PREROUTING ─ filter INPUT ─ IPVS ─ filter OUTPUT ─ nat POSTROUTING
//	                (to an address of the node; kube-ipvs0's are among them)
//
// Of the schedulers it knows that each real server may be chosen, in proportion
// to its weight.
package tracer

import (
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/iptables/tracer"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/device"
	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// Host is a node whose kernel holds what was compiled of the State. node are the
// addresses of its devices, without those of kube-ipvs0.
func Host(state *proxier.State, compiled *ipvs.Compiled, node []netip.Addr) (tracer.Host, error) {
	bound, err := boundTo(state, compiled, node)
	if err != nil {
		return tracer.Host{}, err
	}
	return tracer.Host{
		Addresses: append(bound, node...),
		Sets:      sets(compiled.Sets),
		Virtual: func(protocol string, at netip.AddrPort) (tracer.VirtualServer, bool) {
			v := ipvs.Find(compiled.Servers, ipvs.Place{Protocol: corev1.Protocol(strings.ToUpper(protocol)), Addr: at})
			if v == nil {
				return tracer.VirtualServer{}, false
			}
			return virtualServer(v), true
		},
	}, nil
}

// boundTo are the addresses that end up on kube-ipvs0.
func boundTo(state *proxier.State, compiled *ipvs.Compiled, node []netip.Addr) ([]netip.Addr, error) {
	var others []device.Addr
	for _, addr := range node {
		others = append(others, device.Addr{Addr: addr, Device: "eth0"})
	}
	var want []device.Address
	for _, a := range compiled.Addresses {
		want = append(want, device.Address(a))
	}
	patch, err := device.Diff(state.Family, device.NewHost("", nil, others), want, state.Node.Addresses)
	if err != nil {
		return nil, fmt.Errorf("addresses of %s: %w", device.Name, err)
	}
	var bound []netip.Addr
	for _, op := range patch.Ops {
		if op.Verb == device.Add {
			bound = append(bound, op.Addr)
		}
	}
	return bound, nil
}

func sets(list []ipset.Set) map[string]tracer.Set {
	out := map[string]tracer.Set{}
	for _, s := range list {
		entries := map[string]bool{}
		for _, e := range s.Entries {
			entries[e.String()] = true
		}
		out[s.Name] = tracer.Set{Type: string(s.Type), Entries: entries}
	}
	return out
}

func virtualServer(v *ipvs.VirtualServer) tracer.VirtualServer {
	out := tracer.VirtualServer{Name: v.Place.String(), Persistent: v.Flags&ipvs.Persistent != 0}
	for _, r := range v.Servers {
		out.Servers = append(out.Servers, tracer.RealServer{Addr: r.Addr, Weight: r.Weight})
	}
	return out
}
