package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kube-proxier/kube-proxier/proxier/config"
)

func newConfig(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check and print configurations",
		Long: `Check a configuration, or print the default one. Neither root nor a cluster is
needed.`,
		Example: `  kube-proxier config validate --config=config.conf
  kube-proxier config print-defaults >config.conf`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return errors.New("which command? See kube-proxier config --help")
		},
	}
	cmd.AddCommand(newConfigValidate(p), newConfigDefaults())
	return cmd
}

func newConfigValidate(p *program) *cobra.Command {
	var strict, show bool
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Say what is wrong with a configuration",
		Long: `Read the file of --config or, without it, the flags, as the daemon would, and say
what is wrong: each value that cannot be used, and each that does not do what its
writer may expect. Whether this node is able to do what is asked for is for
"kube-proxier check" to say.

Exit status: 0 when the daemon would take the configuration, warnings or not; 1
when it would not, or with --strict after a warning.`,
		Example: `  kube-proxier config validate --config=config.conf
  kubectl -n kube-system get configmap kube-proxy -o jsonpath='{.data.config\.conf}' |
    kube-proxier config validate --config=/dev/stdin --strict
  kube-proxier config validate --proxy-mode=ipvs --ipvs-scheduler=lc --print`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.onlyWithout(cmd); err != nil {
				return err
			}
			c, warnings, err := p.load(cmd.Context())
			if err == nil && show {
				var lost []config.Warning
				lost, err = c.LostInFile()
				warnings = append(warnings, lost...)
			}
			for _, w := range warnings {
				cmd.PrintErrln("warning:", w)
			}
			if err != nil {
				return err
			}
			if strict && len(warnings) > 0 {
				return fmt.Errorf("--strict: %s, see above", plural(len(warnings), "warning"))
			}
			if show {
				return printConfig(cmd, c)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "The configuration is valid, with %s: mode %s, node %s.\n", plural(len(warnings), "warning"), c.Mode, c.NodeName)
			return nil
		},
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "Fail after a warning, too, e.g. --strict.")
	cmd.Flags().BoolVar(&show, "print", false, "Print the configuration with all defaults as a file, e.g. --print.")
	return cmd
}

func newConfigDefaults() *cobra.Command {
	return &cobra.Command{
		Use:   "print-defaults",
		Short: "Print the default configuration",
		Long: `Print a configuration file with the default of every field: kube-proxy's
document and, after it, ours. What each field does is in docs/config.md.`,
		Example: "  kube-proxier config print-defaults >config.conf",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Default()
			if err != nil {
				return err
			}
			return printConfig(cmd, c)
		},
	}
}

func printConfig(cmd *cobra.Command, c *config.Config) error {
	text, err := c.YAML()
	if err != nil {
		return err
	}
	_, err = cmd.OutOrStdout().Write(text)
	return err
}

// plural is such as "1 warning" or "2 warnings".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
