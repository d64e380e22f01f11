package preflight

import (
	"context"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
)

// families are those of the tools. IPv6's are not looked at where it is not served.
func families(ctx context.Context, c *config.Config, noIPv6 error) []Family {
	virtual := c != nil && c.Mode == config.ModeIPVS
	var out []Family
	for _, family := range proxier.Families {
		f := Family{Family: family}
		if family == proxier.IPv6 && noIPv6 != nil {
			f.Err = noIPv6
			out = append(out, f)
			continue
		}
		tool, err := iptables.FindTool(ctx, family)
		if err != nil {
			f.Err = err
			out = append(out, f)
			continue
		}
		f.Tool = tool.String()
		f.Missing, f.TrialErr = tool.Missing(ctx, iptables.Needs(family, virtual))
		f.Rules = foreign(ctx, tool)
		if other, err := tool.OtherVariant(); err == nil {
			f.Other, f.OtherChains = other.String(), ownChains(ctx, other)
		}
		out = append(out, f)
	}
	return out
}

// foreign are the rules that are not ours; none where they cannot be read. Whoever
// gets in the way has chains in the filter table, so nat, which may hold a hundred
// thousand rules, is not read.
func foreign(ctx context.Context, tool *iptables.Tool) iptables.Ruleset {
	rules, err := tool.Read(ctx, iptables.Filter)
	if err != nil {
		return iptables.Ruleset{}
	}
	return iptables.Foreign(rules)
}

// ownChains are the names of a Service proxy's chains.
func ownChains(ctx context.Context, tool *iptables.Tool) []string {
	have, err := tool.Observe(ctx)
	if err != nil {
		return nil
	}
	var names []string
	for _, table := range have.Own.Tables {
		for _, chain := range table.Chains {
			if iptables.OwnedChain(table.Name, chain.Name) {
				names = append(names, chain.Name)
			}
		}
	}
	return names
}
