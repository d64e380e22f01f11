package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
)

func newCleanup(p *program) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Remove all of kube-proxier's rules from this node",
		Long: `Remove the rules of kube-proxier, and those that kube-proxy's iptables mode has
left, from this node: both IP families, both variants of iptables. Services are
not reachable from this node afterwards. Rules of others, the kubelet's among
them, are not touched. What is removed is printed. Root is needed.

Exit status: 0 when nothing of ours is left (with --dry-run: when everything
could be read), 1 after an error or when something is left.`,
		Example: `  kube-proxier cleanup --dry-run
  kube-proxier cleanup`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.onlyWithout(cmd); err != nil {
				return err
			}
			return cleanUp(cmd, dryRun)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "Print what would be removed, and remove nothing, e.g. --dry-run.")
	return cmd
}

// cleanUp goes on after an error, so that as much as possible is removed.
func cleanUp(cmd *cobra.Command, dryRun bool) error {
	var problems []error
	var tools []*iptables.Tool
	for _, family := range proxier.Families {
		tool, err := iptables.FindTool(cmd.Context(), family)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", family, err))
			continue
		}
		tools = append(tools, tool)
		if other, err := tool.OtherVariant(); err == nil { // else there is nobody who could have used it
			tools = append(tools, other)
		}
	}
	if len(tools) > 0 {
		for _, err := range problems {
			cmd.PrintErrln("warning:", err)
		}
		problems = nil
	}
	for _, tool := range tools {
		if err := cleanUpTables(cmd.Context(), cmd.OutOrStdout(), tool, dryRun); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", tool, err))
		}
	}
	return errors.Join(problems...)
}

// cleanUpTables removes what is ours from the tables of one variant, and looks
// whether something is left.
func cleanUpTables(ctx context.Context, out io.Writer, tool *iptables.Tool, dryRun bool) error {
	have, err := tool.Observe(ctx)
	if err != nil {
		return err
	}
	patch := iptables.Cleanup(have)
	if len(patch.Calls) == 0 {
		fmt.Fprintf(out, "# %s: nothing of ours\n", tool)
		return nil
	}
	fmt.Fprintf(out, "# %s: delete %d chains\n%s", tool, patch.Deleted, patch.Unified())
	if dryRun {
		return nil
	}
	for _, call := range patch.Calls {
		if err := tool.Restore(ctx, call); err != nil {
			return err
		}
	}
	left, err := tool.Observe(ctx)
	if err != nil {
		return err
	}
	if names := chainNames(left.Own); len(names) > 0 {
		return fmt.Errorf("these chains of ours are left, because rules of others lead to them or somebody put them back: %s", strings.Join(names, ", "))
	}
	return nil
}

func chainNames(rules iptables.Ruleset) []string {
	var names []string
	for _, table := range rules.Tables {
		for _, c := range table.Chains {
			names = append(names, table.Name+" "+c.Name)
		}
	}
	return names
}
