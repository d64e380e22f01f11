package config

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	proxyconfig "k8s.io/kube-proxy/config/v1alpha1"
	"sigs.k8s.io/yaml"
)

// Flags are kube-proxy's command line flags, and ours. They are registered once and read
// after parsing; reading changes nothing, so that a file can be loaded again.
type Flags struct {
	// File is the path of --config; empty for none.
	File string
	// Cleanup, InitOnly and WriteConfigTo ask for something else than running.
	Cleanup, InitOnly bool
	WriteConfigTo     string
	// KubeconfigBeside lets --kubeconfig count with --config, too. It is for commands
	// that people run on a node, with a file that was written for a pod.
	KubeconfigBeside bool

	set                      *pflag.FlagSet
	fields                   map[string]string // flag -> path of the field it sets
	values                   *proxyconfig.KubeProxyConfiguration
	own                      *ownConfiguration
	ours                     []string // the flags registered here
	master                   string
	healthzPort, metricsPort int32
	unused                   string // for flags that are accepted for old scripts' sake
}

// NormalizeFlag makes "_" and "-" the same in flags, as kube-proxy does; for
// pflag.FlagSet.SetNormalizeFunc.
func NormalizeFlag(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
}

// beside are the flags that count with --config, too. Those of logging count
// where they are set.
func (f *Flags) beside() []string {
	names := []string{
		"config", "write-config-to", "cleanup", "init-only", "master", "hostname-override",
		"v", "vmodule", "logging-format", "log-flush-frequency",
	}
	if f.KubeconfigBeside {
		names = append(names, "kubeconfig")
	}
	return names
}

// Load reads the file of --config or, without it, the flags, and validates the
// result for a host of that name. An error that is of type Errors lists all
// values that cannot be used. The warnings count even then.
func (f *Flags) Load(hostname string) (*Config, []Warning, error) {
	if f.File == "" {
		return f.fromFlags(hostname)
	}
	file, err := os.ReadFile(f.File)
	if err != nil {
		return nil, nil, fmt.Errorf("--config: %w", err)
	}
	c, warnings, err := load(file, f, hostname)
	if err != nil {
		return nil, warnings, fmt.Errorf("--config %s: %w", f.File, err)
	}
	return c, warnings, nil
}

// Load validates a configuration file for a host of that name. An error that
// is of type Errors lists all values that cannot be used. The warnings count
// even then.
func Load(file []byte, hostname string) (*Config, []Warning, error) {
	return load(file, NewFlags(pflag.NewFlagSet("", pflag.ContinueOnError)), hostname)
}

// Default is the configuration of a file in which nothing is set.
func Default() (*Config, error) {
	text, err := yaml.Marshal(typeMeta(proxyconfig.SchemeGroupVersion, kindKubeProxy))
	if err != nil {
		return nil, err
	}
	c, _, err := Load(text, "localhost")
	return c, err
}

func load(file []byte, f *Flags, hostname string) (*Config, []Warning, error) {
	parsed, err := parseFile(file)
	if err != nil {
		return nil, nil, err
	}
	raw := parsed.kubeProxy
	v := &validator{warnings: append(parsed.warnings, f.ignored()...), written: writtenFields(raw), flags: map[string]string{}}
	parsed.own.written(v.written)
	setDefaults(raw)
	parsed.own.setDefaults()
	overrideLogging(&raw.Logging, f.values.Logging, f.set.Changed)
	if f.values.HostnameOverride != "" {
		raw.HostnameOverride = f.values.HostnameOverride
		v.flags["hostnameOverride"] = "hostname-override"
	}
	if f.KubeconfigBeside && f.set.Changed("kubeconfig") {
		raw.ClientConnection.Kubeconfig = f.values.ClientConnection.Kubeconfig
		v.flags["clientConnection.kubeconfig"] = "kubeconfig"
	}
	return v.result(v.config(raw, parsed.own, f.master, hostname))
}

func (f *Flags) fromFlags(hostname string) (*Config, []Warning, error) {
	v := &validator{written: map[string]bool{}, flags: map[string]string{}}
	// Not Visit, which knows only what this very set has parsed: a command
	// parses its parents' flags with a set of its own.
	f.set.VisitAll(func(flag *pflag.Flag) {
		if path, ok := f.fields[flag.Name]; ok && flag.Changed {
			v.written[path], v.flags[path] = true, flag.Name
		}
	})
	raw := f.values.DeepCopy()
	f.applyEmpty(raw, v)
	f.applyPorts(raw, v)
	v.warnings = append(v.warnings, f.withoutField()...)
	return v.result(v.config(raw, f.own.deepCopy(), f.master, hostname))
}

func (v *validator) result(c *Config) (*Config, []Warning, error) {
	if len(v.errors) > 0 {
		return nil, v.warnings, v.errors
	}
	return c, v.warnings, nil
}

// applyEmpty lets an empty value mean the default, where kube-proxy does.
func (f *Flags) applyEmpty(raw *proxyconfig.KubeProxyConfiguration, v *validator) {
	defaults := defaultConfiguration()
	setDefault(&raw.Mode, defaults.Mode)
	setDefault(&raw.DetectLocalMode, defaults.DetectLocalMode)
	for path, field := range map[string]struct {
		value *string
		or    string
	}{
		"bindAddress":        {&raw.BindAddress, defaults.BindAddress},
		"healthzBindAddress": {&raw.HealthzBindAddress, defaults.HealthzBindAddress},
		"metricsBindAddress": {&raw.MetricsBindAddress, defaults.MetricsBindAddress},
	} {
		if *field.value == "" {
			*field.value = field.or
			delete(v.written, path)
		}
	}
}

// applyPorts reads the deprecated flags: a port of 0 turns serving off, another
// one is used where the address has none.
func (f *Flags) applyPorts(raw *proxyconfig.KubeProxyConfiguration, v *validator) {
	apply := func(flag, path string, address *string, port int32) {
		if !f.set.Changed(flag) {
			return
		}
		ip, withoutPort := parseIP(*address)
		switch {
		case port == 0:
			*address, v.flags[path] = "", flag
			delete(v.written, path)
		case withoutPort:
			*address, v.written[path] = net.JoinHostPort(ip.String(), strconv.Itoa(int(port))), true
		default:
			v.warnings = append(v.warnings, Warning{"--" + flag, fmt.Sprintf("has no effect: the address, %s, has a port", *address)})
		}
	}
	apply("healthz-port", "healthzBindAddress", &raw.HealthzBindAddress, f.healthzPort)
	apply("metrics-port", "metricsBindAddress", &raw.MetricsBindAddress, f.metricsPort)
}

// withoutField names the flags that were set and mean nothing here.
func (f *Flags) withoutField() []Warning {
	var warnings []Warning
	for _, name := range []string{"boot-id-file", "machine-id-file"} {
		if f.set.Changed(name) {
			warnings = append(warnings, Warning{"--" + name, "has no effect: kube-proxier does not identify the machine"})
		}
	}
	return warnings
}

// ignored names the flags that were set and do not count because of --config.
func (f *Flags) ignored() []Warning {
	var warnings []Warning
	beside := f.beside()
	f.set.VisitAll(func(flag *pflag.Flag) {
		if flag.Changed && slices.Contains(f.ours, flag.Name) && !slices.Contains(beside, flag.Name) {
			warnings = append(warnings, Warning{"--" + flag.Name, "is ignored: with --config the file alone counts"})
		}
	})
	return warnings
}

// defaultConfiguration is what flags start from.
func defaultConfiguration() *proxyconfig.KubeProxyConfiguration {
	c := &proxyconfig.KubeProxyConfiguration{}
	setDefaults(c)
	return c
}
