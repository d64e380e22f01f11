package config

import (
	"fmt"
	"slices"
	"strings"

	logsapi "k8s.io/component-base/logs/api/v1"
	proxyconfig "k8s.io/kube-proxy/config/v1alpha1"
)

// maxVerbosity is where levels stop having a meaning; klog's are 32 bit.
const maxVerbosity = 1<<31 - 1

func (v *validator) logging(from *proxyconfig.KubeProxyConfiguration) Logging {
	l := from.Logging
	switch l.Format {
	case "text":
	case "json":
		if len(l.VModule) > 0 {
			v.invalid("logging.vmodule", vmodule(l.VModule), "works with logging.format text only")
		}
	default:
		v.invalid("logging.format", l.Format, "must be text or json")
	}
	if l.Verbosity > maxVerbosity {
		v.invalid("logging.verbosity", l.Verbosity, fmt.Sprintf("must be from 0 to %d", maxVerbosity))
	}
	for _, item := range l.VModule {
		if item.FilePattern == "" || strings.ContainsAny(item.FilePattern, "=,") {
			v.invalid("logging.vmodule", item.FilePattern, "must be a file's name without .go, or a pattern, without comma and =")
		}
	}
	return Logging{
		Format: l.Format, Verbosity: int(l.Verbosity), VModule: vmodule(l.VModule),
		FlushFrequency: v.positive("logging.flushFrequency", l.FlushFrequency.Duration),
	}
}

// vmodule is the list in klog's form.
func vmodule(items logsapi.VModuleConfiguration) string {
	var parts []string
	for _, item := range items {
		parts = append(parts, fmt.Sprintf("%s=%d", item.FilePattern, item.Verbosity))
	}
	return strings.Join(parts, ",")
}

// overrideLogging lets logging flags that were set win over the file's fields.
// Entries of --vmodule come before the file's: the first that matches counts.
func overrideLogging(file *logsapi.LoggingConfiguration, flags logsapi.LoggingConfiguration, changed func(flag string) bool) {
	if changed("v") {
		file.Verbosity = flags.Verbosity
	}
	if changed("vmodule") {
		file.VModule = append(slices.Clone(flags.VModule), file.VModule...)
	}
	if changed("logging-format") {
		file.Format = flags.Format
	}
	if changed("log-flush-frequency") {
		file.FlushFrequency = flags.FlushFrequency
	}
}
