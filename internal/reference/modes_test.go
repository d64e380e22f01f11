package reference

import (
	"github.com/kube-proxier/kube-proxier/internal/scenarios"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/tracer"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A mode is a way to carry traffic on a kind of kernel.
type mode struct {
	name string
	// proxyMode is the mode's name in the configuration.
	proxyMode string
	bpf       bool
}

var modes = []mode{
	{"iptables", "iptables", true},
	{"iptables without xt_bpf", "iptables", false},
	{"ipvs", "ipvs", true},
	{"ipvs without xt_bpf", "ipvs", false},
}

// tracer follows packets through all that the program makes of the scenario.
func (m mode) tracer(s *scenarios.Scenario, family proxier.Family) (*tracer.Tracer, error) {
	features := iptables.AllFeatures()
	features.BPF = m.bpf
	if m.proxyMode == "ipvs" {
		return s.IPVS(nil, s.State(family), features).Tracer(s)
	}
	return tracer.New(s.IPTables(family, features), tracer.Host{Addresses: s.Addresses()})
}
