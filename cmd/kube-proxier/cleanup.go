package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/device"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
)

func newCleanup(p *program) *cobra.Command {
	var dryRun, handback bool
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Remove all that is kube-proxier's from this node",
		Long: `Remove what kube-proxier, and kube-proxy's iptables and ipvs modes, have left on
this node, whatever the mode is now: rules of both IP families and both variants
of iptables, virtual servers of IPVS, the network device kube-ipvs0, and IP sets.
Services are not reachable from this node afterwards. What belongs to others, the
kubelet's rules among it, is not touched. What is removed is printed, and what of
ours is left because others use it is named. Root is needed. What cannot be read or
written holds nothing else back; a variant that the kernel does not know is passed
over with a warning.

Virtual servers are ours at an address of kube-ipvs0, or at one of the node's own
and a port of ipvs.nodePortRange; not in ipvs.excludeCIDRs. With mode ipvs and
ipvs.removeForeign all others are removed, too.

With --hand-back nothing stops being served. Rules are only written in a form that
kube-proxy's iptables mode is able to take over: it is held up by chains that it
does not know. Run it after kube-proxier has ended and before kube-proxy starts,
or when kube-proxy has been started without it.

Exit status: 0 when nothing of ours is left (with --dry-run: when everything
could be read), 1 after an error or when something is left.`,
		Example: `  kube-proxier cleanup --dry-run
  kube-proxier cleanup
  kube-proxier cleanup --hand-back
  kube-proxier cleanup --config=config.conf`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.onlyWithout(cmd); err != nil {
				return err
			}
			if handback {
				return handBack(cmd, dryRun)
			}
			return p.cleanUp(cmd, dryRun)
		},
	}
	cmd.Flags().BoolVar(&handback, "hand-back", false, "Keep all Services served, in a form that kube-proxy is able to take over, e.g. --hand-back.")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "Print what would be removed, and remove nothing, e.g. --dry-run.")
	return cmd
}

// cleanUp goes on after an error, so that as much as possible is removed.
func (p *program) cleanUp(cmd *cobra.Command, dryRun bool) error {
	tools, problems := allTools(cmd)
	for _, tool := range tools {
		if err := cleanUpTables(cmd.Context(), cmd.OutOrStdout(), tool, dryRun); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", tool, err))
		}
	}
	c, err := p.cleanUpConfig(cmd)
	if err != nil {
		return errors.Join(append(problems, err)...)
	}
	c.IPVS.DrainTimeout = 0 // nobody waits for connections to end
	here := &host{config: c, addresses: device.NewCached(device.Netlink{})}
	for _, family := range proxier.Families {
		if err := cleanUpVirtual(cmd.Context(), cmd.OutOrStdout(), here, family, tools, dryRun); err != nil {
			problems = append(problems, fmt.Errorf("IPVS over %s: %w", family, err))
		}
	}
	return errors.Join(problems...)
}

// allTools are those of both families and variants. One that is missing is an
// error only where there are no others. A variant that the kernel does not know has
// nothing of ours.
func allTools(cmd *cobra.Command) (tools []*iptables.Tool, problems []error) {
	for _, family := range proxier.Families {
		tool, err := iptables.FindTool(cmd.Context(), family)
		switch {
		case err == nil:
			tools = append(tools, tool)
		case errors.Is(err, iptables.ErrNoKernel):
			cmd.PrintErrln("warning:", err)
		default:
			problems = append(problems, fmt.Errorf("%s: %w", family, err))
			continue
		}
		other, err := tool.OtherVariant()
		if err != nil {
			continue // there is nobody who could have used it
		}
		if _, err := other.Read(cmd.Context(), iptables.Mangle); errors.Is(err, iptables.ErrNoKernel) {
			cmd.PrintErrln("warning:", err)
			continue
		}
		tools = append(tools, other)
	}
	if len(tools) > 0 {
		for _, err := range problems {
			cmd.PrintErrln("warning:", err)
		}
		problems = nil
	}
	return tools, problems
}

// handBack leaves what kube-proxy is able to take over, in the variant in use.
func handBack(cmd *cobra.Command, dryRun bool) error {
	tools, without, err := findTools(cmd.Context())
	if err != nil {
		return err
	}
	for _, err := range without {
		cmd.PrintErrln("warning:", err)
	}
	var problems []error
	for _, tool := range tools {
		if _, err := change(cmd.Context(), cmd.OutOrStdout(), tool, iptables.HandBack, dryRun); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", tool, err))
		}
	}
	return errors.Join(problems...)
}

// cleanUpConfig is the configuration, or the defaults where that is broken: to
// clean up may be the way out. The error is for who is told to end meanwhile.
func (p *program) cleanUpConfig(cmd *cobra.Command) (*config.Config, error) {
	c, _, err := p.load(cmd.Context())
	if err == nil || cmd.Context().Err() != nil {
		return c, err
	}
	cmd.PrintErrln("warning: the defaults of ipvs.nodePortRange and ipvs.excludeCIDRs count, since:", err)
	return &config.Config{Mode: config.ModeIPTables, IPVS: config.IPVS{NodePorts: config.PortRange(ipvs.DefaultNodePorts)}}, nil
}

// cleanUpVirtual removes what is ours of IPVS mode, and looks whether something
// is left.
func cleanUpVirtual(ctx context.Context, out io.Writer, here *host, family proxier.Family, tools []*iptables.Tool, dryRun bool) error {
	var rules tablesOf
	for _, tool := range tools {
		if tool.Family == family {
			rules = append(rules, tool)
		}
	}
	l := here.virtualLeftovers(family, rules)
	plan, err := l.Plan(ctx, nil)
	if err != nil {
		return err
	}
	if plan.Empty() {
		fmt.Fprintf(out, "# IPVS over %s: nothing to do\n", family)
	} else {
		fmt.Fprintf(out, "# IPVS over %s\n%s", family, plan.Diff())
	}
	if dryRun {
		for _, what := range plan.Findings().Kept {
			fmt.Fprintf(out, "# left, because others use it: %s\n", what)
		}
		return nil
	}
	if _, err := plan.Apply(ctx); err != nil {
		return err
	}
	if plan, err = l.Plan(ctx, nil); err != nil {
		return err
	}
	if !plan.Empty() {
		return fmt.Errorf("this is left, because somebody put it back:\n%s", plan.Diff())
	}
	if kept := plan.Findings().Kept; len(kept) > 0 {
		return fmt.Errorf("this is left, because others use it:\n%s", strings.Join(kept, "\n"))
	}
	return nil
}

// cleanUpTables removes what is ours from the tables of one variant, and looks
// whether something is left.
func cleanUpTables(ctx context.Context, out io.Writer, tool *iptables.Tool, dryRun bool) error {
	left, err := change(ctx, out, tool, iptables.Cleanup, dryRun)
	if dryRun {
		return err
	}
	if names := chainNames(left); len(names) > 0 {
		err = errors.Join(err, fmt.Errorf("these chains of ours are left, because rules of others lead to them or somebody put them back: %s", strings.Join(names, ", ")))
	}
	return err
}

// change changes the tables of one variant, and returns what they hold of ours then. A
// table that cannot be read or written holds no other one back, and is not among them.
func change(ctx context.Context, out io.Writer, tool *iptables.Tool,
	decide func(iptables.Observation) *iptables.Patch, dryRun bool,
) (left iptables.Ruleset, err error) {
	var problems []error
	var patches []tablePatch
	var written, deleted int
	var diff strings.Builder
	for _, table := range []string{iptables.NAT, iptables.Filter, iptables.Mangle} {
		kernel, err := tool.Read(ctx, table)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		have := iptables.Observe(kernel)
		patch := decide(have)
		if len(patch.Calls) == 0 {
			left.Tables = append(left.Tables, have.Own.Tables...)
			continue
		}
		patches = append(patches, tablePatch{table, patch})
		written, deleted = written+patch.Written, deleted+patch.Deleted
		diff.WriteString(patch.Unified())
	}
	switch {
	case len(patches) > 0:
		fmt.Fprintf(out, "# %s: write %d chains, delete %d\n%s", tool, written, deleted, diff.String())
	case len(problems) == 0:
		fmt.Fprintf(out, "# %s: nothing to do\n", tool)
	}
	if dryRun {
		return left, errors.Join(problems...)
	}
	for _, p := range patches {
		own, err := p.apply(ctx, tool)
		problems = append(problems, err)
		left.Tables = append(left.Tables, own.Tables...)
	}
	return left, errors.Join(problems...)
}

// A tablePatch is what is to be done to one table.
type tablePatch struct {
	table string
	*iptables.Patch
}

// apply returns what is there afterwards of ours.
func (p tablePatch) apply(ctx context.Context, tool *iptables.Tool) (iptables.Ruleset, error) {
	for _, call := range p.Calls {
		if err := tool.Restore(ctx, call); err != nil {
			return iptables.Ruleset{}, fmt.Errorf("table %s: %w", p.table, err)
		}
	}
	kernel, err := tool.Read(ctx, p.table)
	return iptables.Observe(kernel).Own, err
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
