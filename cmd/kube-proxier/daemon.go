package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
)

// A daemon is the program without a command.
type daemon struct {
	*program
	manifests       string
	dryRun, version bool
}

func (d *daemon) addFlags(set *pflag.FlagSet) {
	addManifestsFlag(set, &d.manifests, "", "instead of from an API server, and watch it for changes")
	set.BoolVar(&d.dryRun, "dry-run", false, "Print each change instead of making it, e.g. --dry-run.")
	set.BoolVar(&d.version, "version", false, "Print the version and exit, e.g. --version.")
}

func (d *daemon) command(cmd *cobra.Command, _ []string) error {
	if d.version {
		fmt.Fprintln(cmd.OutOrStdout(), versionText())
		return nil
	}
	if d.flags.Cleanup {
		return d.cleanUp(cmd, d.dryRun)
	}
	c, warnings, err := d.load()
	if err != nil {
		for _, w := range warnings {
			cmd.PrintErrln("warning:", w)
		}
		return err
	}
	if err := d.setUpLogging(c.Logging, cmd.ErrOrStderr()); err != nil {
		return err
	}
	defer klog.Flush()
	logger := klog.FromContext(cmd.Context())
	for _, w := range warnings {
		logger.Info("Configuration", "warning", w.String())
	}
	switch {
	case d.flags.WriteConfigTo != "":
		return writeConfig(c, d.flags.WriteConfigTo)
	case d.flags.InitOnly:
		logger.Info("--init-only: there is nothing to prepare; the daemon itself sets what it needs")
		return nil
	}
	return d.run(cmd.Context(), c, cmd.InOrStdin(), cmd.OutOrStdout())
}

func writeConfig(c *config.Config, path string) error {
	text, err := c.YAML()
	if err == nil {
		err = os.WriteFile(path, text, 0o644)
	}
	if err != nil {
		return fmt.Errorf("--write-config-to: %w", err)
	}
	return nil
}

// run serves until ctx ends. The rules stay in force then.
func (d *daemon) run(ctx context.Context, c *config.Config, in io.Reader, out io.Writer) error {
	logger := klog.FromContext(ctx)
	objects, err := newSource(c, d.manifests, in)
	if err != nil {
		return err
	}
	tools, without, err := findTools(ctx)
	if err != nil {
		return err
	}
	for _, err := range without {
		logger.Info("One IP family is left out", "reason", err)
	}
	here, err := newHost(ctx, c)
	if err != nil {
		return err
	}
	var recorder events.EventRecorder
	if objects.client != nil && !d.dryRun {
		if recorder, err = startEvents(ctx, objects.client); err != nil {
			return err
		}
	}
	store := proxier.NewStore()
	reportLeftovers(ctx, tools)
	var healthy *healthService
	var measured *metricsService
	if !d.dryRun {
		healthy = newHealthService(logger, c, store, recorder, objects.client == nil)
		measured = newMetricsService(logger, c, store, healthy)
	}
	group, running := errgroup.WithContext(ctx)
	reporter := func() proxier.Reporter { return newReporter(logger, recorder, c.NodeName) }
	reconcilers, err := d.newReconcilers(running, here, tools, store, reporter, out)
	if err != nil {
		return err
	}
	if err := here.prepare(running, tools, d.dryRun); err != nil {
		return err
	}
	if d.dryRun {
		printNodeParameters(out, c)
	} else if err := setNodeParameters(logger, c); err != nil && recorder != nil {
		recorder.Eventf(nodeReference(c.NodeName), nil, corev1.EventTypeWarning, "KernelParametersNotSet", "StartKubeProxy", "%.900v", err)
	}
	for _, r := range reconcilers {
		healthy.watch(r)
		measured.watch(r)
		group.Go(func() error { return r.Run(running) })
	}
	logger.Info("Starting", "version", versionText(), "node", c.NodeName, "mode", c.Mode, "tools", fmt.Sprint(tools), "dryRun", d.dryRun)
	group.Go(func() error { return healthy.run(running) })
	group.Go(func() error { return measured.run(running) })
	group.Go(func() error { return objects.fill(running, store) })
	group.Go(func() error { objects.announceWait(running, store); return nil })
	err = group.Wait()
	if ctx.Err() != nil {
		logger.Info("Ending; the rules stay in force")
		return nil //nolint:nilerr // what failed because it was told to end
	}
	return err
}

// newReconcilers makes one for each family.
func (d *daemon) newReconcilers(ctx context.Context, here *host, tools []*iptables.Tool, store *proxier.Store,
	reporter func() proxier.Reporter, out io.Writer,
) ([]*proxier.Reconciler, error) {
	c := here.config
	var printing sync.Mutex
	var reconcilers []*proxier.Reconciler
	for _, tool := range tools {
		dataplanes, err := here.dataplanes(ctx, tool)
		if err != nil {
			return nil, err
		}
		r := &proxier.Reconciler{
			Store:      store,
			Options:    c.Options(tool.Family),
			Dataplanes: dataplanes,
			Followers:  here.followers(tool),
			Reporter:   reporter(),
			Pacer:      proxier.Pacer{MinInterval: c.MinSyncPeriod, MaxBackoff: c.SyncPeriod, Resync: c.SyncPeriod},
		}
		if d.dryRun {
			r.DryRun = func(dataplane string, plan proxier.Plan) {
				if _, ok := plan.(otherTurn); ok {
					return
				}
				printing.Lock()
				defer printing.Unlock()
				printPlan(out, tool.Family, dataplane, plan)
			}
		}
		reconcilers = append(reconcilers, r)
	}
	return reconcilers, nil
}

// newReporter tells of one family's passes: in the log and, where there is a
// recorder, in events.
func newReporter(logger klog.Logger, recorder events.EventRecorder, node string) proxier.Reporter {
	log := &logReporter{logger: logger}
	if recorder == nil {
		return log
	}
	return reporters{log, &eventReporter{recorder: recorder, node: node}}
}

// printPlan prints what would be sent to the kernel.
func printPlan(out io.Writer, family proxier.Family, dataplane string, plan proxier.Plan) {
	if plan.Empty() {
		fmt.Fprintf(out, "# %s %s: nothing to do\n", family, dataplane)
		return
	}
	fmt.Fprintf(out, "# %s %s: %s\n%s", family, dataplane, counts(dataplane, plan.Summary()), plan)
}

// counts says what a plan does, in the words of its dataplane.
func counts(dataplane string, s proxier.Summary) string {
	switch {
	case s.Flows > 0 && s.More:
		return fmt.Sprintf("delete %d tracked connections, and more in the next pass", s.Flows)
	case s.Flows > 0:
		return fmt.Sprintf("delete %d tracked connections", s.Flows)
	}
	switch dataplane {
	case "sysctl":
		return "set parameters"
	case "ipset":
		return fmt.Sprintf("create %d sets, write %d entries, delete %d sets", s.Chains, s.Rules, s.Deleted)
	case "ipvs":
		return fmt.Sprintf("write %d virtual servers and %d real servers, delete %d", s.Chains, s.Rules, s.Deleted)
	case "addresses":
		return fmt.Sprintf("add %d addresses, delete %d", s.Rules, s.Deleted)
	case "ipset leftovers", "ipvs leftovers":
		return "delete what is left"
	}
	return fmt.Sprintf("write %d chains with %d rules, delete %d chains", s.Chains, s.Rules, s.Deleted)
}
