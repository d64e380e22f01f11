package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/klog/v2"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
	"github.com/kube-proxier/kube-proxier/sysctl"
)

// initOnly does what a container without full privileges is not able to do: it
// sets kernel parameters, and has the kernel load modules by trying them. The
// API server is not needed. Of rules there is the one at most without which a
// parameter must not be set. What the mode cannot do without is an error; limits
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
		missing, err := tool.Missing(ctx, iptables.Needs(tool.Family, c.Mode == config.ModeIPVS))
		logger.Info("Tried iptables", "tool", tool, "features", tool.Probe(ctx), "missing", names(missing), "err", err)
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
		err := d.setModeParameters(ctx, here, tool, out)
		switch {
		case err == nil:
		case c.Mode == config.ModeIPTables: // all else is served without it
			logger.Error(err, "Node ports on 127.0.0.1 will not be served", "family", tool.Family)
		default:
			failed = append(failed, fmt.Errorf("%s: %w", tool.Family, err))
		}
	}
	return errors.Join(failed...)
}

// setModeParameters sets the parameters that the mode needs over one family.
func (d *daemon) setModeParameters(ctx context.Context, here *host, tool *iptables.Tool, out io.Writer) error {
	c := here.config
	plan, err := here.parameters(tool.Family).Plan(ctx, proxier.Build(nil, proxier.NewStore().Snapshot(), c.Options(tool.Family)))
	if err != nil {
		return err
	}
	// In iptables mode there is route_localnet alone, which lets the network in
	// where nothing keeps it out.
	if c.Mode == config.ModeIPTables && !plan.Empty() {
		if err := d.guardLoopback(ctx, tool, out); err != nil {
			return fmt.Errorf("keeping the network from loopback addresses: %w", err)
		}
	}
	if d.dryRun {
		printPlan(out, tool.Family, "sysctl", plan)
		return nil
	}
	klog.FromContext(ctx).Info("Parameters of the mode", "mode", c.Mode, "family", tool.Family, "set", linesOf(plan.String()))
	_, err = plan.Apply(ctx)
	return err
}

// guardLoopback writes the one rule that has to be there before the daemon's.
func (d *daemon) guardLoopback(ctx context.Context, tool *iptables.Tool, out io.Writer) error {
	have, err := tool.Observe(ctx)
	if err != nil {
		return err
	}
	for _, call := range iptables.GuardLoopback(have).Calls {
		if d.dryRun {
			fmt.Fprintf(out, "# %s iptables: keep the network from loopback addresses\n%s", tool.Family, call)
			continue
		}
		klog.FromContext(ctx).Info("Keeping the network from loopback addresses", "tool", tool, "write", linesOf(call))
		if err := tool.Restore(ctx, call); err != nil {
			return err
		}
	}
	return nil
}

func linesOf(text string) []string { return strings.Split(strings.TrimSpace(text), "\n") }

// parameters are those of the kernel that the mode needs over a family.
func (h *host) parameters(family proxier.Family) *sysctl.Dataplane {
	switch {
	case h.config.Mode == config.ModeIPVS:
		return sysctl.New(h.sysctls, sysctl.IPVS(family, h.kernel, h.config.IPVS.StrictARP))
	case family == proxier.IPv4:
		return sysctl.New(h.sysctls, sysctl.RouteLocalnet())
	}
	return sysctl.New(h.sysctls, nil)
}
