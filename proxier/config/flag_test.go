package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

func parse(t *testing.T, args ...string) *Flags {
	t.Helper()
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	set.SetNormalizeFunc(NormalizeFlag)
	set.SetOutput(t.Output())
	f := NewFlags(set)
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return f
}

// flagSamples holds a value for every flag that sets a field.
var flagSamples = map[string]string{
	"vmodule": "api=7", "feature-gates": "AllowServiceExternalIPs=false",
	"ipvs-drain-timeout": "7s", "ipvs-node-port-range": "7-8", "ipvs-remove-foreign": "true",
	"ipvs-exclude-cidrs": "192.0.2.0/24", "nodeport-addresses": "192.0.2.0/24",
}

func TestEveryFlagHasAnEffectOrAWarning(t *testing.T) {
	standard, warnings, err := parse(t).Load("node")
	if err != nil || len(warnings) > 0 {
		t.Fatalf("no flags: error %v, warnings %v", err, warnings)
	}
	for flag, path := range parse(t).fields {
		t.Run(flag, func(t *testing.T) {
			sample, ok := flagSamples[flag]
			if !ok {
				if sample, ok = samples[path]; !ok {
					t.Fatalf("the field %s does not exist", path)
				}
			}
			c, warnings, err := parse(t, "--"+flag+"="+strings.Trim(sample, "'")).Load("node")
			switch {
			case err != nil:
				if !strings.Contains(err.Error(), "--"+flag+": ") {
					t.Errorf("refused without being named: %v", err)
				}
			case len(warnings) == 0 && cmp.Equal(standard, c, compareConfigs):
				t.Error("is silently ignored")
			case len(warnings) > 0 && warnings[0].Field != "--"+flag:
				t.Errorf("the warning does not name it: %s", warnings[0])
			}
		})
	}
}

func TestEveryFlagHasAnExample(t *testing.T) {
	parse(t).set.VisitAll(func(flag *pflag.Flag) {
		if example := "e.g. --" + flag.Name; !strings.Contains(flag.Usage, example) && flag.Name != "v" {
			t.Errorf("--%s: its help has no %q", flag.Name, example)
		}
	})
}

// The names are those of kube-proxy --help, version 1.36.
func TestKubeProxyFlagsAreKnown(t *testing.T) {
	set := parse(t).set
	for name := range strings.FieldsSeq(`
		bind-address bind-address-hard-fail cleanup cluster-cidr config config-sync-period
		conntrack-max-per-core conntrack-min conntrack-tcp-be-liberal conntrack-tcp-timeout-close-wait
		conntrack-tcp-timeout-established conntrack-udp-timeout conntrack-udp-timeout-stream detect-local-mode
		feature-gates healthz-bind-address healthz-port hostname-override init-only iptables-localhost-nodeports
		iptables-masquerade-bit iptables-min-sync-period iptables-sync-period ipvs-exclude-cidrs
		ipvs-min-sync-period ipvs-scheduler ipvs-strict-arp ipvs-sync-period ipvs-tcp-timeout ipvs-tcpfin-timeout
		ipvs-udp-timeout kube-api-burst kube-api-content-type kube-api-qps kubeconfig log-flush-frequency
		log-json-info-buffer-size log-json-split-stream log-text-info-buffer-size log-text-split-stream
		logging-format masquerade-all master metrics-bind-address metrics-port nodeport-addresses oom-score-adj
		pod-bridge-interface pod-interface-name-prefix profiling proxy-mode show-hidden-metrics-for-version
		v vmodule write-config-to boot_id_file machine_id_file`) {
		if set.Lookup(name) == nil {
			t.Errorf("--%s is not known", name)
		}
	}
}

func TestFlags(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want func(*Config) bool
	}{
		{"defaults", nil, func(c *Config) bool {
			return c.NodeName == "host" && c.Mode == "iptables" && c.MasqueradeBit == 14 && c.LocalhostNodePorts && c.ExternalIPs &&
				c.SyncPeriod == 30*time.Second && c.MinSyncPeriod == time.Second && c.Client.QPS == 5 && c.Client.Burst == 10 &&
				c.HealthzAddress.String() == "0.0.0.0:10256" && c.MetricsAddress.String() == "127.0.0.1:10249" &&
				c.OOMScoreAdj == -999 && c.ConfigSyncPeriod == 15*time.Minute && c.LocalPodsMode == "ClusterCIDR" &&
				c.Conntrack == Conntrack{MaxPerCore: 32768, Min: 131072, TCPEstablishedTimeout: 24 * time.Hour, TCPCloseWaitTimeout: time.Hour}
		}},
		{"hostname is trimmed and lower-cased", []string{"--hostname-override= Node-A "}, func(c *Config) bool { return c.NodeName == "node-a" }},
		{"underscores", []string{"--hostname_override=a"}, func(c *Config) bool { return c.NodeName == "a" }},
		{"zero minimum", []string{"--iptables-min-sync-period=0"}, func(c *Config) bool { return c.MinSyncPeriod == 0 }},
		{"two cluster CIDRs", []string{"--cluster-cidr=10.0.0.0/8, fd00::/8"}, func(c *Config) bool { return len(c.ClusterCIDRs) == 2 }},
		{"empty cluster CIDR", []string{"--cluster-cidr="}, func(c *Config) bool { return len(c.ClusterCIDRs) == 0 }},
		{"empty addresses mean the default", []string{"--bind-address=", "--healthz-bind-address=", "--metrics-bind-address="}, func(c *Config) bool {
			return c.BindAddress.IsUnspecified() && c.HealthzAddress.Port() == 10256 && c.MetricsAddress.Port() == 10249
		}},
		{"the flag, other than the field, has no say where is served", []string{"--bind-address=::"}, func(c *Config) bool {
			return c.BindAddress.String() == "::" && c.HealthzAddress.String() == "0.0.0.0:10256" && c.MetricsAddress.String() == "127.0.0.1:10249"
		}},
		{"a port is appended", []string{"--healthz-bind-address=::1"}, func(c *Config) bool { return c.HealthzAddress.String() == "[::1]:10256" }},
		{"the deprecated port is appended", []string{"--metrics-bind-address=::1", "--metrics-port=7"}, func(c *Config) bool { return c.MetricsAddress.String() == "[::1]:7" }},
		{"the deprecated port loses against one in the address", []string{"--metrics-bind-address=127.0.0.1:8", "--metrics-port=7"}, func(c *Config) bool { return c.MetricsAddress.Port() == 8 }},
		{"health off", []string{"--healthz-port=0"}, func(c *Config) bool { return !c.HealthzAddress.IsValid() }},
		{"gates add up", []string{"--feature-gates=NFTablesProxyMode=true", "--feature-gates=AllowServiceExternalIPs=false"}, func(c *Config) bool { return !c.ExternalIPs }},
		{"mode ipvs", []string{"--proxy-mode=ipvs"}, func(c *Config) bool {
			return c.Mode == ModeIPVS && c.SyncPeriod == 30*time.Second && c.MinSyncPeriod == time.Second && !c.LocalhostNodePorts &&
				cmp.Equal(c.IPVS, IPVS{Scheduler: "rr", DrainTimeout: 5 * time.Minute, NodePorts: PortRange{30000, 32767}})
		}},
		{"what mode ipvs is told", []string{
			"--proxy-mode=ipvs", "--ipvs-scheduler=mh", "--ipvs-exclude-cidrs=192.0.2.0/24", "--ipvs-strict-arp", "--ipvs-tcp-timeout=1s",
			"--ipvs-tcpfin-timeout=2s", "--ipvs-udp-timeout=3s", "--ipvs-sync-period=4s", "--ipvs-min-sync-period=0s",
			"--ipvs-drain-timeout=0s", "--ipvs-node-port-range=1-2", "--ipvs-remove-foreign", "--iptables-masquerade-bit=5", "--masquerade-all",
		}, func(c *Config) bool {
			return c.SyncPeriod == 4*time.Second && c.MinSyncPeriod == 0 && c.MasqueradeBit == 5 && c.MasqueradeAll && cmp.Equal(c.IPVS, IPVS{
				Scheduler: "mh", ExcludeCIDRs: c.IPVS.ExcludeCIDRs, StrictARP: true, TCPTimeout: time.Second, TCPFinTimeout: 2 * time.Second,
				UDPTimeout: 3 * time.Second, NodePorts: PortRange{1, 2}, RemoveForeign: true,
			}, compareConfigs) && len(c.IPVS.ExcludeCIDRs) == 1
		}},
		{"primary", []string{"--nodeport-addresses=primary"}, func(c *Config) bool { return c.NodePortPrimary && c.NodePortAddresses == nil }},
		{"master", []string{"--master=https://x"}, func(c *Config) bool { return c.Client.Master == "https://x" }},
		{"bridge", []string{"--detect-local-mode=BridgeInterface", "--pod-bridge-interface=cni0"}, func(c *Config) bool { return c.PodInterface == "cni0" }},
		{"the longest bridge", []string{"--detect-local-mode=BridgeInterface", "--pod-bridge-interface=abcdefghijklmno"}, func(c *Config) bool { return len(c.PodInterface) == 15 }},
		{"the longest prefix", []string{"--detect-local-mode=InterfaceNamePrefix", "--pod-interface-name-prefix=abcdefghijklmn"}, func(c *Config) bool { return len(c.PodInterface) == 14 }},
		{"logging", []string{"-v=4", "--vmodule=a=5,b=6", "--log-flush-frequency=1s"}, func(c *Config) bool {
			return c.Logging == Logging{Format: "text", Verbosity: 4, VModule: "a=5,b=6", FlushFrequency: time.Second}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, _, err := parse(t, test.args...).Load("HOST")
			if err != nil {
				t.Fatal(err)
			}
			if !test.want(c) {
				t.Errorf("got %+v", c)
			}
		})
	}
}

func TestFileReplacesFlags(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	file := header + "hostnameOverride: from-file\nclusterCIDR: 10.0.0.0/8\n" +
		"logging: {verbosity: 2, flushFrequency: 9s, vmodule: [{filePattern: file, verbosity: 2}]}\n"
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	f := parse(t, "--config="+path, "--hostname-override=from-flag", "--cluster-cidr=192.0.2.0/24", "--masquerade-all",
		"-v=5", "--vmodule=flag=5", "--master=https://flag", "--healthz-port=0")
	c, warnings, err := f.Load("host")
	if err != nil {
		t.Fatal(err)
	}
	if c.NodeName != "from-flag" || c.ClusterCIDRs[0].String() != "10.0.0.0/8" || c.MasqueradeAll || c.Client.Master != "https://flag" ||
		c.Logging != (Logging{Format: "text", Verbosity: 5, VModule: "flag=5,file=2", FlushFrequency: 9 * time.Second}) {
		t.Errorf("got %+v", c)
	}
	const ignored = ": is ignored: with --config the file alone counts"
	if got, want := lines(warnings), []string{"--cluster-cidr" + ignored, "--healthz-port" + ignored, "--masquerade-all" + ignored}; !slices.Equal(got, want) {
		t.Errorf("got warnings %q, want %q", got, want)
	}
	c, _, err = parse(t, "--config="+path).Load("host")
	if err != nil || c.NodeName != "from-file" {
		t.Errorf("without an override: %+v, %v", c, err)
	}
	if err := os.WriteFile(path, []byte(file+"mode: nftables\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err = f.Load("host"); err == nil || !strings.Contains(err.Error(), `mode: "nftables"`) {
		t.Errorf("the changed file is not read: %v", err)
	}
	_, _, err = parse(t, "--config=/does/not/exist").Load("host")
	if err == nil || !strings.Contains(err.Error(), "--config: open /does/not/exist") {
		t.Errorf("a file that does not exist: %v", err)
	}
}

// Whoever looks at a node with a file that was written for a pod says how else to
// reach the API server; the daemon takes kube-proxy's order.
func TestKubeconfigBesideAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(header+"clientConnection: {kubeconfig: of-the-file, qps: 7}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		beside  bool
		args    []string
		want    string
		warning []string
	}{
		"the daemon":           {false, []string{"--kubeconfig=of-the-flag"}, "of-the-file", []string{"--kubeconfig: is ignored: with --config the file alone counts"}},
		"who looks":            {true, []string{"--kubeconfig=of-the-flag"}, "of-the-flag", nil},
		"who looks as the pod": {true, nil, "of-the-file", nil},
		"who looks in a pod without a kubeconfig": {true, []string{"--kubeconfig="}, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := parse(t, append(test.args, "--config="+path)...)
			f.KubeconfigBeside = test.beside
			c, warnings, err := f.Load("host")
			if err != nil {
				t.Fatal(err)
			}
			if c.Client.Kubeconfig != test.want || c.Client.QPS != 7 {
				t.Errorf("got %+v, want kubeconfig %q and the file's QPS", c.Client, test.want)
			}
			if got := lines(warnings); !slices.Equal(got, test.warning) {
				t.Errorf("got warnings %q, want %q", got, test.warning)
			}
		})
	}
}
