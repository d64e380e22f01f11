package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set when a release is linked: -ldflags "-X main.version=v1.2.3".
var version string

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Long:    "Print the version, how it was built, and with which kube-proxy it is compatible.",
		Example: "  kube-proxier version",
		Args:    cobra.NoArgs,
		Run:     func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), versionText()) },
	}
}

// versionText is one line.
func versionText() string {
	name, revision := buildVersion()
	if revision != "" {
		revision = " commit " + revision
	}
	return fmt.Sprintf("kube-proxier %s%s (%s %s/%s), flags and configuration of kube-proxy 1.36",
		name, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// buildVersion says what was built. A build that is no release names its
// commit, where that is known.
func buildVersion() (name, revision string) {
	name = version
	if info, ok := debug.ReadBuildInfo(); ok {
		if name == "" {
			name = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	if name == "" || name == "(devel)" {
		name = "development version"
	}
	return name, revision
}
