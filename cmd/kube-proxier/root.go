package main

import (
	"context"
	goflag "flag"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/kube-proxier/kube-proxier/proxier/config"
)

// A program is what all commands share: the daemon's flags.
type program struct {
	flags *config.Flags
	klog  *goflag.FlagSet
	// level is that of a log in JSON.
	level slog.LevelVar
}

func newRoot() *cobra.Command {
	p := &program{}
	run := daemon{program: p}
	root := &cobra.Command{
		Use:   "kube-proxier",
		Short: "Make Services reachable on this node",
		Long: `kube-proxier makes Services reachable on this Linux node, in place of kube-proxy.
It takes kube-proxy's flags and its configuration file as they are. Without a
command it runs until it is told to end; its rules then stay in force.

Exit status: 0 when all went well, 1 after an error. See "kube-proxier diff --help"
for that of diff.`,
		Example: `  # as a pod of a DaemonSet, with kube-proxy's ConfigMap
  kube-proxier --config=/var/lib/kube-proxy/config.conf --hostname-override=$(NODE_NAME)
  # without a cluster, from files that are watched for changes
  kube-proxier --manifests=/etc/kube-proxier/services
  # print each change instead of making it
  kube-proxier --kubeconfig=$HOME/.kube/config --dry-run`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          run.command,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetGlobalNormalizationFunc(config.NormalizeFlag)
	p.flags = config.NewFlags(root.PersistentFlags())
	p.klog = addKlogFlags(root.PersistentFlags())
	run.addFlags(root.Flags())
	root.AddCommand(newRender(p), newDiff(p), newCleanup(p), newCheck(p), newConfig(p), newVersion())
	return root
}

// load reads and validates the configuration for this host.
func (p *program) load(ctx context.Context) (*config.Config, []config.Warning, error) {
	hostname, err := os.Hostname()
	if err != nil {
		return nil, nil, fmt.Errorf("the host's name cannot be read: %w: set --hostname-override", err)
	}
	type loaded struct {
		config   *config.Config
		warnings []config.Warning
	}
	l, err := readUntil(ctx, "the configuration", func() (loaded, error) {
		c, warnings, err := p.flags.Load(hostname)
		return loaded{c, warnings}, err
	})
	return l.config, l.warnings, err
}

// loadOnce is load for commands that run once: warnings are printed.
func (p *program) loadOnce(cmd *cobra.Command) (*config.Config, error) {
	if err := p.onlyWithout(cmd); err != nil {
		return nil, err
	}
	c, warnings, err := p.load(cmd.Context())
	for _, w := range warnings {
		cmd.PrintErrln("warning:", w)
	}
	return c, err
}

// onlyWithout refuses flags that ask the daemon for something else than
// running, and mean nothing with a command.
func (p *program) onlyWithout(cmd *cobra.Command) error {
	for _, name := range []string{"cleanup", "init-only", "write-config-to"} {
		if cmd.Flags().Changed(name) {
			return fmt.Errorf("--%s: cannot be combined with the command %s", name, cmd.Name())
		}
	}
	return nil
}
