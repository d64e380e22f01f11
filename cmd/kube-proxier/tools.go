package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/sysctl"
)

// findTools finds the iptables tools of this host, IPv4 first. A family that
// has none is left out, as is IPv6 where it is turned off, and the reason
// returned; one family is enough.
func findTools(ctx context.Context) (tools []*iptables.Tool, without []error, err error) {
	for _, family := range proxier.Families {
		tool, err := findTool(ctx, family)
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

func findTool(ctx context.Context, family proxier.Family) (*iptables.Tool, error) {
	if family == proxier.IPv6 {
		if err := sysctl.CheckIPv6(sysctl.Root); err != nil {
			return nil, err
		}
	}
	return iptables.FindTool(ctx, family)
}
