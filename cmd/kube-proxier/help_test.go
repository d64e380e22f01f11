package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func TestEveryCommandAndFlagHasHelpWithAnExample(t *testing.T) {
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		if cmd.Short == "" || cmd.Long == "" || !strings.Contains(cmd.Example, "kube-proxier") {
			t.Errorf("%s: must have a short and a long help and an example", cmd.CommandPath())
		}
		cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) {
			if !flag.Hidden && flag.Name != "help" && !strings.Contains(flag.Usage, "e.g. -") {
				t.Errorf("%s --%s: its help has no example", cmd.CommandPath(), flag.Name)
			}
		})
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(newRoot())
}

// kube-proxy has the flags of klog, with underscores or dashes.
func TestKlogFlagsAreKnown(t *testing.T) {
	set := newRoot().PersistentFlags()
	for name := range strings.FieldsSeq(`add_dir_header alsologtostderr log_backtrace_at log_dir log_file log_file_max_size
		logtostderr one_output skip_headers skip_log_headers stderrthreshold`) {
		if set.Lookup(name) == nil {
			t.Errorf("--%s is not known", name)
		}
	}
}
