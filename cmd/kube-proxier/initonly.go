package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/klog/v2"

	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
	"github.com/kube-proxier/kube-proxier/sysctl"
)

// initOnly does what a container without full privileges is not able to do: it
// sets kernel parameters, and has the kernel load modules by trying them. The
// API server is not needed. What the mode cannot do without is an error; limits
// of conntrack that cannot be set are logged.
func (d *daemon) initOnly(ctx context.Context, c *config.Config, out io.Writer) error {
	logger := klog.FromContext(ctx)
	tools, without, err := findTools(ctx)
	if err != nil {
		return err
	}
	for _, err := range without {
		logger.Info("One IP family is left out", "reason", err)
	}
	for _, tool := range tools {
		logger.Info("Tried iptables", "tool", tool, "features", tool.Probe(ctx))
	}
	here, err := newHost(ctx, c)
	if err != nil {
		return err
	}
	defer here.close()
	if d.dryRun {
		printParameters(out, conntrackParameters(c))
	} else {
		_ = setParameters(logger, conntrackParameters(c)) // logged
	}
	var failed []error
	for _, tool := range tools {
		plan, err := here.parameters(tool.Family).Plan(ctx, proxier.Build(nil, proxier.NewStore().Snapshot(), c.Options(tool.Family)))
		switch {
		case err != nil:
		case d.dryRun:
			printPlan(out, tool.Family, "sysctl", plan)
		default:
			logger.Info("Parameters of the mode", "mode", c.Mode, "family", tool.Family, "set", strings.Split(strings.TrimSpace(plan.String()), "\n"))
			_, err = plan.Apply(ctx)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", tool.Family, err))
		}
	}
	return errors.Join(failed...)
}

// parameters are those of the kernel that the mode needs over a family.
func (h *host) parameters(family proxier.Family) *sysctl.Dataplane {
	switch {
	case h.config.Mode == config.ModeIPVS:
		return sysctl.New(sysctl.Root, sysctl.IPVS(family, h.kernel, h.config.IPVS.StrictARP))
	case family == proxier.IPv4:
		return sysctl.New(sysctl.Root, sysctl.RouteLocalnet())
	}
	return sysctl.New(sysctl.Root, nil)
}
