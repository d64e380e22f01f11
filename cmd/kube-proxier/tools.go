package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
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
