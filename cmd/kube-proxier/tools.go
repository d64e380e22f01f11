package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/kube-proxier/kube-proxier/conntrack"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
	"github.com/kube-proxier/kube-proxier/sysctl"
)

// findTools finds the iptables tools of this host, IPv4 first. A family that
// has none is left out, and the reason returned; one family is enough.
func findTools(ctx context.Context) (tools []*iptables.Tool, without []error, err error) {
	for _, family := range proxier.Families {
		tool, err := iptables.FindTool(ctx, family)
		if err != nil {
			without = append(without, fmt.Errorf("%s is not served: %w", family, err))
			continue
		}
		tools = append(tools, tool)
	}
	if len(tools) == 0 {
		return nil, nil, errors.Join(without...)
	}
	return tools, without, nil
}

// newDataplanes are those of one family, in the order in which they are synced.
func newDataplanes(ctx context.Context, tool *iptables.Tool, c *config.Config) []proxier.Dataplane {
	rules := iptables.NewDataplane(tool, iptables.Config{
		Options:  rulesOptions(c, tool.Probe(ctx)),
		MaxNames: tool.MaxNames(),
	})
	if tool.Family == proxier.IPv4 {
		return []proxier.Dataplane{rules, sysctl.New(sysctl.Root, sysctl.RouteLocalnet())}
	}
	return []proxier.Dataplane{rules}
}

// newFollowers are the dataplanes of one family that nothing waits for.
func newFollowers() []proxier.Dataplane {
	return []proxier.Dataplane{conntrack.NewDataplane(conntrack.Table{})}
}
