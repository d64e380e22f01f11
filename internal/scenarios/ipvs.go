package scenarios

import (
	"strings"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/tracer"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/mode"
	ipvstracer "github.com/kube-proxier/kube-proxier/ipvs/tracer"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// IPVS is what a node in IPVS mode holds for a State.
type IPVS struct {
	State    *proxier.State
	Rules    *iptables.Compiled
	Compiled *ipvs.Compiled
}

// IPVS is what the scenario's node holds in IPVS mode; prev may be nil, and only
// saves work.
func (s *Scenario) IPVS(prev *IPVS, state *proxier.State, features iptables.Features) *IPVS {
	if prev == nil {
		prev = &IPVS{}
	}
	options := s.IPTablesOptions(features)
	options.Virtual = mode.SetNames(state.Family)
	return &IPVS{
		State: state, Rules: iptables.Compile(prev.Rules, state, options),
		Compiled: ipvs.Compile(prev.Compiled, state, ipvs.Options{NodeAddresses: s.Addresses()}),
	}
}

// Tracer follows packets through all of it.
func (v *IPVS) Tracer(s *Scenario) (*tracer.Tracer, error) {
	host, err := ipvstracer.Host(v.State, v.Compiled, s.Addresses())
	if err != nil {
		return nil, err
	}
	return tracer.New(v.Rules.Ruleset, host)
}

// String is all of it: rules, sets, virtual servers and addresses.
func (v *IPVS) String() string { return v.text(v.Rules.Ruleset) }

func (v *IPVS) text(rules iptables.Ruleset) string {
	var b strings.Builder
	b.WriteString(rules.String())
	for _, set := range v.Compiled.Sets {
		if len(set.Entries) > 0 {
			b.WriteString(set.String())
		}
	}
	b.WriteString(ipvs.Text(v.Compiled.Servers))
	for _, a := range v.Compiled.Addresses {
		b.WriteString("address " + a.Addr.String() + "\n")
	}
	return b.String()
}

// ipvsText is what there is because of the scenario's Services.
func (s *Scenario) ipvsText(family proxier.Family) string {
	features := iptables.AllFeatures()
	idle, full := s.IPVS(nil, s.idle(family), features), s.IPVS(nil, s.State(family), features)
	return full.text(without(full.Rules.Ruleset, idle.Rules.Ruleset))
}
