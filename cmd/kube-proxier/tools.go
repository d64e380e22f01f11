package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

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

// findServing is findTools, without the families of which no rule could be
// written, as over IPv6 on kernels without its targets: each pass would fail, and the
// node be unhealthy for what no Service of it may even use. Where that is so of
// all, none is left out, and the passes say why.
func findServing(ctx context.Context) (tools []*iptables.Tool, without []error, err error) {
	found, without, err := findTools(ctx)
	for _, tool := range found {
		if lacks := essentials(ctx, tool); lacks != "" {
			without = append(without, fmt.Errorf("%s is not served: the kernel or %s has no %s", tool.Family, tool, lacks))
			continue
		}
		tools = append(tools, tool)
	}
	if len(tools) == 0 {
		return found, without, err
	}
	return tools, without, err
}

// essentials are what the tool or the kernel lacks of what all rules need, in any
// mode; empty where nothing is known to be missing.
func essentials(ctx context.Context, tool *iptables.Tool) string {
	needs := slices.DeleteFunc(iptables.Needs(tool.Family, false), func(n iptables.Need) bool { return !n.Essential })
	missing, err := tool.Missing(ctx, needs)
	if err != nil {
		return ""
	}
	return strings.Join(names(missing), ", ")
}

func names(needs []iptables.Need) []string {
	var all []string
	for _, n := range needs {
		all = append(all, n.Name)
	}
	return all
}
