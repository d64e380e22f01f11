package scenarios

import (
	"strings"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/source"
)

// Snapshot is what a store holds after it was filled with the objects.
func (s *Scenario) Snapshot() *proxier.Snapshot { return snapshot(s.Objects) }

func snapshot(objects *source.Objects) *proxier.Snapshot {
	store := proxier.NewStore()
	source.Fill(store, objects)
	store.SetSynced()
	return store.Snapshot()
}

// State is what the node has to serve over one family.
func (s *Scenario) State(family proxier.Family) *proxier.State {
	return proxier.Build(nil, s.Snapshot(), s.Config.Options(family))
}

// idle is the State of the same node without Services.
func (s *Scenario) idle(family proxier.Family) *proxier.State {
	return proxier.Build(nil, snapshot(&source.Objects{Node: s.Objects.Node}), s.Config.Options(family))
}

// IPTablesOptions are those of the scenario's configuration.
func (s *Scenario) IPTablesOptions(features iptables.Features) iptables.Options {
	return iptables.Options{Features: features, MasqueradeBit: s.Config.MasqueradeBit}
}

// IPTables are the rules for one family, complete.
func (s *Scenario) IPTables(family proxier.Family, features iptables.Features) iptables.Ruleset {
	return iptables.Compile(nil, s.State(family), s.IPTablesOptions(features)).Ruleset
}

// Golden is what the program makes of the scenario, by section; sections
// without content are not in it.
func (s *Scenario) Golden() map[string]string {
	golden := map[string]string{}
	put := func(section, text string) {
		if text != "" {
			golden[section] = text
		}
	}
	var problems strings.Builder
	for _, p := range s.Problems {
		problems.WriteString(p.String() + "\n")
	}
	put(sectionProblems, problems.String())
	for _, family := range proxier.Families {
		suffix := "." + strings.ToLower(strings.TrimPrefix(string(family), "IP"))
		put("state"+suffix, stateText(s.State(family)))
		put("iptables"+suffix, s.iptablesText(family))
		put("ipvs"+suffix, s.ipvsText(family))
	}
	return golden
}

// stateText is empty for a State that serves and refuses nothing.
func stateText(state *proxier.State) string {
	for range state.Targets {
		return state.String()
	}
	if len(state.Problems) > 0 {
		return state.String()
	}
	return ""
}

// iptablesText is the chains that are there, or are different, because of the
// scenario's Services.
func (s *Scenario) iptablesText(family proxier.Family) string {
	options := s.IPTablesOptions(iptables.AllFeatures())
	idle := iptables.Compile(nil, s.idle(family), options).Ruleset
	return without(s.IPTables(family, options.Features), idle).String()
}

// without is the chains that are not the same in other rules.
func without(rules, others iptables.Ruleset) iptables.Ruleset {
	var different iptables.Ruleset
	for _, table := range rules.Tables {
		base := others.Table(table.Name)
		var chains []*iptables.Chain
		for _, c := range table.Chains {
			if b := base.Chain(c.Name); b == nil || !b.Equal(c) {
				chains = append(chains, c)
			}
		}
		if len(chains) > 0 {
			different.Tables = append(different.Tables, iptables.Table{Name: table.Name, Chains: chains})
		}
	}
	return different
}
