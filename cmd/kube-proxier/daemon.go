package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

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
	c, warnings, err := d.load(cmd.Context())
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
		return writeConfig(logger, c, d.flags.WriteConfigTo)
	case d.flags.InitOnly:
		return d.initOnly(cmd.Context(), c, cmd.OutOrStdout())
	}
	err = d.run(cmd.Context(), c, warnings, cmd.InOrStdin(), cmd.OutOrStdout())
	if cmd.Context().Err() != nil {
		logger.Info("Ending; the rules stay in force")
		return nil // what failed because it was told to end, be it at the start
	}
	return err
}

func writeConfig(logger klog.Logger, c *config.Config, path string) error {
	text, err := c.YAML()
	if err != nil {
		return fmt.Errorf("--write-config-to: %w", err)
	}
	lost, err := c.LostInFile()
	if err != nil {
		return fmt.Errorf("--write-config-to: %w", err)
	}
	for _, w := range lost {
		logger.Info("Configuration", "warning", w.String())
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return fmt.Errorf("--write-config-to: %w", err)
	}
	return nil
}

// run serves until ctx ends. The rules stay in force then. The warnings about the
// configuration have been told.
func (d *daemon) run(ctx context.Context, c *config.Config, warned []config.Warning, in io.Reader, out io.Writer) error {
	logger := klog.FromContext(ctx)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	findings, err := lookAround(ctx, c, d.dryRun)
	if err != nil {
		return err
	}
	var connection kubeconfig
	if d.manifests == "" {
		connection = readKubeconfig(c.Client.Kubeconfig)
	}
	group, running := errgroup.WithContext(ctx)
	r, err := d.newResident(running, c, in, out)
	if err != nil {
		return err
	}
	r.healthy.found(findings)
	first, err := r.prepare(running, c)
	if err != nil {
		return err
	}
	if err := r.require(first); err != nil {
		first.discard()
		return err
	}
	logger.Info("Starting", "version", versionText(), "node", c.NodeName, "mode", c.Mode, "tools", fmt.Sprint(r.tools), "dryRun", d.dryRun)
	r.node.normal("Starting", "%s %s", eventSource, versionText())
	r.adopt(first)
	reloads := &reloader{
		resident: r, load: d.load, adjustLogging: d.adjustLogging, current: first, kubeconfig: connection,
		told: newReloadReport(r, reloadable(d.flags.File), warned),
	}
	group.Go(func() error { reloads.run(running, hangups); return nil })
	group.Go(func() error { return r.healthy.run(running) })
	for _, tool := range r.tools {
		group.Go(func() error { r.lookOut(running, tool); return nil })
	}
	group.Go(func() error { return r.measured.run(running) })
	group.Go(func() error { return r.objects.fill(running, r.store) })
	group.Go(func() error { r.objects.announceWait(running, r.store); return nil })
	return group.Wait()
}

// newReporter tells of one family's passes: in the log and, where there is a
// recorder, in events.
func newReporter(logger klog.Logger, recorder record.EventRecorder, node string) proxier.Reporter {
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
	case "ipset rest":
		return fmt.Sprintf("delete %d entries", s.Rules)
	case "ipset leftovers", "ipvs leftovers":
		return "delete what is left"
	}
	return fmt.Sprintf("write %d chains with %d rules, delete %d chains", s.Chains, s.Rules, s.Deleted)
}
