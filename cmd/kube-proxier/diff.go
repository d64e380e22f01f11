package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// A difference compares what should be with what is.
type difference struct {
	*program
	manifests string
	timeout   time.Duration
}

func newDiff(p *program) *cobra.Command {
	d := difference{program: p}
	failure := func(err error) error { // 1 is for a difference
		if err == nil {
			return nil
		}
		return exitError{2, err}
	}
	cmd := &cobra.Command{
		Use:   "diff",
		Short: "Compare the kernel with what it should have",
		Long: `Compare this node's rules with those it should have, and print the difference
like diff -u, one part for each chain: "-" is what the kernel has, "+" what it
should have. In mode ipvs the same for each virtual server, each set, and the
addresses on kube-ipvs0; in another mode for what that mode has left of them.
Nothing is changed. The daemon's flags count here, too, and --kubeconfig even
beside --config, whose own may be there in pods only. Reading the rules needs
root.

Exit status, as of kubectl diff: 0 for no difference, 1 for some, 2 after an error.`,
		Example: `  kube-proxier diff --kubeconfig=/etc/kubernetes/admin.conf --hostname-override=node-1
  kube-proxier diff --config=config.conf --kubeconfig=/etc/kubernetes/admin.conf --hostname-override=node-1
  kube-proxier diff -f services.yaml`,
		Args: func(cmd *cobra.Command, args []string) error { return failure(cobra.NoArgs(cmd, args)) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			some, err := d.command(cmd)
			if err == nil && some {
				return exitError{1, nil}
			}
			return failure(err)
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return failure(err) })
	addManifestsFlag(cmd.Flags(), &d.manifests, "f", "instead of from an API server")
	cmd.Flags().DurationVar(&d.timeout, "timeout", time.Minute, "How long to wait for the objects and the kernel, e.g. --timeout=10s.")
	return cmd
}

func (d *difference) command(cmd *cobra.Command) (some bool, err error) {
	d.flags.KubeconfigBeside = true
	c, err := d.loadOnce(cmd)
	if err != nil {
		return false, err
	}
	if err := d.setUpLogging(c.Logging, cmd.ErrOrStderr()); err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), d.timeout)
	defer cancel()
	objects, err := newSource(c, d.manifests, cmd.InOrStdin())
	if err != nil {
		return false, err
	}
	tools, without, err := findServing(ctx)
	if err != nil {
		return false, err
	}
	for _, err := range without {
		cmd.PrintErrln("warning:", err)
	}
	here, err := newHost(ctx, c)
	if err != nil {
		return false, err
	}
	store, err := objects.readOnce(ctx, c)
	if err != nil {
		return false, err
	}
	for _, tool := range tools {
		state := proxier.Build(nil, store.Snapshot(), c.Options(tool.Family))
		printProblems(cmd.ErrOrStderr(), state.Problems)
		dataplanes, err := here.dataplanes(ctx, tool)
		if err != nil {
			return false, fmt.Errorf("%s: %w", tool.Family, err)
		}
		differs, err := printDiff(ctx, cmd.OutOrStdout(), state, append(dataplanes, here.followers(tool)...))
		if err != nil {
			return false, fmt.Errorf("%s: %w", tool.Family, err)
		}
		some = some || differs
	}
	return some, nil
}

func printDiff(ctx context.Context, out io.Writer, state *proxier.State, dataplanes []proxier.Dataplane) (some bool, err error) {
	for _, dataplane := range dataplanes {
		plan, err := dataplane.Plan(ctx, state)
		if err != nil {
			return false, err
		}
		if plan.Empty() {
			continue
		}
		some = true
		if _, err := fmt.Fprintf(out, "# %s %s\n%s", state.Family, dataplane.Name(), plan.Diff()); err != nil {
			return false, err
		}
	}
	return some, nil
}
