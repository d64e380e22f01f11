package main

import (
	"fmt"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/ipvs/mode"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
)

// What looking for drift costs, each by itself: of both families together less than a
// fiftieth of the time. A virtual server that is gone cuts off a Service, and one
// real server of several does not.
const (
	pollShare     = 200
	pollShareSlow = 500
)

// virtualDataplanes are those of IPVS mode.
func (h *host) virtualDataplanes(tool *iptables.Tool, rules *iptables.Dataplane) ([]proxier.Dataplane, error) {
	kernel, err := h.open(tool.Family)
	if err != nil {
		return nil, err
	}
	moved := make(chan struct{}, 1)
	h.moved = append(h.moved, moved)
	bound := make(chan struct{}, 1)
	h.bound = append(h.bound, bound)
	d := mode.New(
		mode.Kernels{Sets: ipset.Netlink{}, Rules: tool, Tables: tablesOf{tool}, Servers: kernel, Devices: h.addresses, Observe: tool.Observe},
		mode.Config{
			Family: tool.Family, Rules: rules, Moved: moved,
			Servers: ipvs.Config{Options: h.options(), Ownership: h.ownership(), DrainTimeout: h.config.IPVS.DrainTimeout},
		})
	h.servers[tool.Family] = d.Servers
	h.polls[tool.Family] = []proxier.Sentry{
		&proxier.Poll{Name: d.Sets.Name(), Glance: d.Sets.Glance, Forget: d.Sets.Forget, Share: pollShare, CPUTime: cpuTime},
		&proxier.Poll{Name: d.Servers.Name(), Glance: d.Servers.GlanceServices, Forget: d.Servers.Forget, Share: pollShare, CPUTime: cpuTime},
		&proxier.Poll{Name: d.Servers.Name(), Glance: d.Servers.Glance, Forget: d.Servers.Forget, Share: pollShareSlow, CPUTime: cpuTime},
		&proxier.Poll{Name: d.Addresses.Name(), Glance: d.Addresses.Glance, Forget: d.Addresses.Forget, Share: pollShareSlow, CPUTime: cpuTime, Nudge: bound},
	}
	return d.InOrder(), nil
}

// options shape virtual servers, but for the node's addresses.
func (h *host) options() ipvs.Options {
	o := ipvs.Options{Scheduler: h.config.IPVS.Scheduler}
	if h.schedulers != nil {
		o.Available = map[string]bool{}
		for _, s := range h.schedulers {
			o.Available[s] = true
		}
	}
	return o
}

func (h *host) ownership() ipvs.Ownership {
	c := h.config.IPVS
	return ipvs.Ownership{NodePorts: ipvs.PortRange(c.NodePorts), RemoveForeign: c.RemoveForeign, Exclude: c.ExcludeCIDRs}
}

// setTimeouts sets those of IPVS mode, once for each configuration: nobody else does.
func (h *host) setTimeouts(tools []*iptables.Tool) error {
	if h.config.Mode != config.ModeIPVS {
		return nil
	}
	c := h.config.IPVS
	for _, tool := range tools {
		kernel, err := h.open(tool.Family)
		if err != nil {
			return err
		}
		if _, err := kernel.SetTimeouts(ipvs.Timeouts{TCP: c.TCPTimeout, TCPFin: c.TCPFinTimeout, UDP: c.UDPTimeout}); err != nil {
			return fmt.Errorf("ipvs.tcpTimeout, tcpFinTimeout, udpTimeout: %w", err)
		}
	}
	return nil
}
