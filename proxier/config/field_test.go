package config

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	proxyconfig "k8s.io/kube-proxy/config/v1alpha1"
	"sigs.k8s.io/yaml"
)

// samples holds, for every field of KubeProxyConfiguration, a value that is
// not the default, as YAML.
var samples = map[string]string{
	"featureGates":                        "{AllowServiceExternalIPs: false}",
	"clientConnection.kubeconfig":         "/etc/kubeconfig",
	"clientConnection.acceptContentTypes": "application/json",
	"clientConnection.contentType":        "application/json",
	"clientConnection.qps":                "7",
	"clientConnection.burst":              "7",
	"logging.format":                      "json",
	"logging.flushFrequency":              "7s",
	"logging.verbosity":                   "7",
	"logging.vmodule":                     "[{filePattern: api, verbosity: 7}]",
	"logging.options.text.splitStream":    "true",
	"logging.options.text.infoBufferSize": "1Ki",
	"logging.options.json.splitStream":    "true",
	"logging.options.json.infoBufferSize": "1Ki",
	"hostnameOverride":                    "other",
	"bindAddress":                         "192.0.2.7",
	"healthzBindAddress":                  "192.0.2.7:7",
	"metricsBindAddress":                  "192.0.2.7:7",
	"bindAddressHardFail":                 "true",
	"enableProfiling":                     "true",
	"showHiddenMetricsForVersion":         "'1.35'",
	"mode":                                "nftables",
	"iptables.masqueradeBit":              "7",
	"iptables.masqueradeAll":              "true",
	"iptables.localhostNodePorts":         "false",
	"iptables.syncPeriod":                 "7s",
	"iptables.minSyncPeriod":              "7s",
	"ipvs.syncPeriod":                     "7s",
	"ipvs.minSyncPeriod":                  "7s",
	"ipvs.scheduler":                      "lc",
	"ipvs.excludeCIDRs":                   "[192.0.2.0/24]",
	"ipvs.strictARP":                      "true",
	"ipvs.tcpTimeout":                     "7s",
	"ipvs.tcpFinTimeout":                  "7s",
	"ipvs.udpTimeout":                     "7s",
	"nftables.masqueradeBit":              "7",
	"nftables.masqueradeAll":              "true",
	"nftables.syncPeriod":                 "7s",
	"nftables.minSyncPeriod":              "7s",
	"winkernel.networkName":               "x",
	"winkernel.sourceVip":                 "192.0.2.7",
	"winkernel.enableDSR":                 "true",
	"winkernel.rootHnsEndpointName":       "x",
	"winkernel.forwardHealthCheckVip":     "true",
	"detectLocalMode":                     "NodeCIDR",
	"detectLocal.bridgeInterface":         "cni0",
	"detectLocal.interfaceNamePrefix":     "veth",
	"clusterCIDR":                         "10.244.0.0/16",
	"nodePortAddresses":                   "[192.0.2.0/24]",
	"oomScoreAdj":                         "-7",
	"conntrack.maxPerCore":                "7",
	"conntrack.min":                       "7",
	"conntrack.tcpEstablishedTimeout":     "7s",
	"conntrack.tcpCloseWaitTimeout":       "7s",
	"conntrack.tcpBeLiberal":              "true",
	"conntrack.udpTimeout":                "7s",
	"conntrack.udpStreamTimeout":          "7s",
	"configSyncPeriod":                    "7m",
	"portRange":                           "1-7",
	"windowsRunAsService":                 "true",
}

// fileWith is a file that sets one field.
func fileWith(path, value string) string {
	var b strings.Builder
	b.WriteString("apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n")
	indent := ""
	for path != "" {
		name, rest, deeper := strings.Cut(path, ".")
		b.WriteString(indent + name + ":")
		if !deeper {
			b.WriteString(" " + value)
		}
		b.WriteString("\n")
		indent, path = indent+"  ", rest
	}
	return b.String()
}

var compareConfigs = cmp.Options{
	cmpopts.IgnoreUnexported(Config{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

// TestEveryFieldHasAnEffectOrAWarning walks the API type, so that a field of a
// newer version is not forgotten.
func TestEveryFieldHasAnEffectOrAWarning(t *testing.T) {
	standard, _, err := Load([]byte(fileWith("", "")), "node")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	fields(&proxyconfig.KubeProxyConfiguration{}, func(path string, _ reflect.Value) {
		known[path] = true
		t.Run(path, func(t *testing.T) {
			sample, ok := samples[path]
			if !ok {
				t.Fatal("has no sample: read the field into Config, or say in withoutEffect why it changes nothing, and add one")
			}
			c, warnings, err := Load([]byte(fileWith(path, sample)), "node")
			_, without := whyWithoutEffect(path, ModeIPTables)
			switch {
			case err != nil:
				if !strings.Contains(err.Error(), path+": ") {
					t.Errorf("refused without being named: %v", err)
				}
			case len(warnings) == 0 && cmp.Equal(standard, c, compareConfigs):
				t.Error("is silently ignored")
			case len(warnings) > 0 && !strings.HasPrefix(warnings[0].String(), path):
				t.Errorf("the warning does not name it: %s", warnings[0])
			case without && len(warnings) == 0:
				t.Error("stands in withoutEffect, but nobody is warned")
			}
		})
	})
	for path := range samples {
		if !known[path] {
			t.Errorf("%s is no field of KubeProxyConfiguration", path)
		}
	}
	ours := map[string]bool{}
	(&ownConfiguration{IPVS: ownIPVS{&metav1.Duration{}, "1-2", true}}).written(ours)
	for path := range withoutEffect(ModeIPTables) {
		matches := known[path] || ours[path]
		for field := range known {
			matches = matches || strings.HasSuffix(path, ".") && strings.HasPrefix(field, path)
		}
		if !matches {
			t.Errorf("withoutEffect names %s, which is no field", path)
		}
	}
}

// Nor does one with all defaults written out.
func TestExplicitDefaultsAreUnset(t *testing.T) {
	standard, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	file, err := standard.YAML()
	if err != nil {
		t.Fatal(err)
	}
	got, warnings, err := Load(file, "localhost")
	if err != nil || len(warnings) > 0 {
		t.Fatalf("error %v, warnings %v", err, warnings)
	}
	if diff := cmp.Diff(standard, got, compareConfigs); diff != "" {
		t.Error(diff)
	}
	again, err := got.YAML()
	if diff := cmp.Diff(string(file), string(again)); err != nil || diff != "" {
		t.Errorf("%v, %s", err, diff)
	}
}

// A file full of explicit zeros, as kubeadm writes it, asks for nothing.
func TestExplicitZerosAreUnset(t *testing.T) {
	zeros, err := yaml.Marshal(&proxyconfig.KubeProxyConfiguration{})
	if err != nil {
		t.Fatal(err)
	}
	file := fileWith("", "") + string(zeros)
	got, warnings, err := Load([]byte(file), "node")
	if err != nil || len(warnings) > 0 {
		t.Fatalf("error %v, warnings %v", err, warnings)
	}
	standard, _, _ := Load([]byte(fileWith("", "")), "node")
	if diff := cmp.Diff(standard, got, compareConfigs); diff != "" {
		t.Error(diff)
	}
}
