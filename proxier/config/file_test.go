package config

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const header = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"

func lines(warnings []Warning) []string {
	var out []string
	for _, w := range warnings {
		out = append(out, w.String())
	}
	return out
}

func TestLoad(t *testing.T) {
	const own = "\n---\napiVersion: kube-proxier.io/v1alpha1\nkind: KubeProxierConfiguration\n"
	tests := []struct {
		name, file string
		warning    string // part of the only warning
		err        string // part of the error
		serves     string // where health and metrics are, where the row is about that
	}{
		{name: "only the header", file: header},
		{name: "JSON", file: `{"apiVersion":"kubeproxy.config.k8s.io/v1alpha1","kind":"KubeProxyConfiguration"}`},
		{name: "with our document", file: header + own},
		{name: "our document first", file: strings.TrimPrefix(own, "\n---\n") + "---\n" + header},
		{name: "comments and empty documents", file: "# nothing\n---\n---\n" + header + "---\n# end\n"},
		{name: "unknown field", file: header + "nonsense: 1\n", warning: `unknown field "nonsense"`},
		{name: "field in the wrong case", file: header + "clustercidr: 10.0.0.0/8\n", warning: `unknown field "clustercidr"`},
		{name: "duplicate field", file: header + "mode: iptables\nmode: iptables\n", warning: `key "mode" already set`},
		{name: "empty", file: "", err: "there is no document of kind KubeProxyConfiguration"},
		{name: "only our document", file: own, err: "there is no document of kind KubeProxyConfiguration"},
		{name: "two documents", file: header + "---\n" + header, err: "document 2: a second document of kind KubeProxyConfiguration"},
		{name: "two of ours", file: header + own + own, err: "document 3: a second document of kind KubeProxierConfiguration"},
		{name: "our document with a field", file: header + own + "mood: good\n", err: `unknown field "mood"`},
		{name: "our document with all fields", file: header + "mode: ipvs" + own + "ipvs: {drainTimeout: 0s, nodePortRange: 1-65535, removeForeign: true}\nmetrics: {serviceTraffic: true, maxServices: 7, trafficPeriod: 1m}\n"},
		{name: "our document, unknown field below", file: header + own + "ipvs: {drain: 1s}\n", err: `unknown field "drain"`},
		{name: "our document, duplicate field", file: header + own + "ipvs: {}\nipvs: {}\n", err: `key "ipvs" already set`},
		{name: "our document in another mode", file: header + own + "ipvs: {removeForeign: true}\n", warning: "ipvs.removeForeign: is for another mode than iptables"},
		{name: "iptables' period in mode ipvs", file: header + "mode: ipvs\niptables: {syncPeriod: 7s}\n", warning: "iptables.syncPeriod: is for another mode than ipvs"},
		{name: "another version", file: "apiVersion: kubeproxy.config.k8s.io/v9\nkind: KubeProxyConfiguration\n", err: `apiVersion "kubeproxy.config.k8s.io/v9"`},
		{name: "another kind", file: "apiVersion: v1\nkind: Pod\n", err: `apiVersion "v1", kind "Pod": must be kubeproxy.config.k8s.io/v1alpha1 KubeProxyConfiguration or`},
		{name: "no kind", file: "mode: iptables\n", err: `kind ""`},
		{name: "a list", file: "[1, 2]\n", err: "apiVersion and kind cannot be read"},
		{name: "tabs", file: header + "iptables:\n\tmasqueradeBit: 14\n", err: "this is not YAML"},
		{name: "serves over IPv4", file: header, serves: "0.0.0.0:10256 127.0.0.1:10249"},
		{name: "serves over IPv4 where that is the node's", file: header + "bindAddress: 192.0.2.7\n", serves: "0.0.0.0:10256 127.0.0.1:10249"},
		{name: "serves over IPv6 for ::", file: header + "bindAddress: \"::\"\n", serves: "[::]:10256 [::1]:10249"},
		{name: "serves over IPv6 where that is the node's", file: header + "bindAddress: 2001:db8::7\n", serves: "[::]:10256 [::1]:10249"},
		{name: "serves where it is told in spite of ::", file: header + "bindAddress: \"::\"\nmetricsBindAddress: 127.0.0.1:7\n", serves: "[::]:10256 127.0.0.1:7"},
		{name: "unquoted ::", file: header + "bindAddress: ::\n", err: "this is not YAML"},
		{name: "binary", file: "\x7fELF\x00\x01", err: "this is not YAML"},
		{name: "wrong type", file: header + "oomScoreAdj: many\n", err: "kind KubeProxyConfiguration"},
		{name: "not a duration", file: header + "configSyncPeriod: soon\n", err: `"soon"`},
		{name: "too large", file: header + strings.Repeat("#", maxFileSize), err: "at most 4194304 are read"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, warnings, err := Load([]byte(test.file), "node")
			if test.err == "" && (err != nil || c == nil) {
				t.Fatalf("got error %v", err)
			}
			if test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Fatalf("got error %v, want one with %q", err, test.err)
			}
			if got := lines(warnings); test.warning == "" && len(got) > 0 ||
				test.warning != "" && (len(got) != 1 || !strings.Contains(got[0], test.warning)) {
				t.Errorf("got warnings %q, want %q", got, test.warning)
			}
			if test.serves != "" {
				if got := fmt.Sprint(c.HealthzAddress, " ", c.MetricsAddress); got != test.serves {
					t.Errorf("health and metrics are at %s, want %s", got, test.serves)
				}
			}
		})
	}
}

func TestLoadKubeadmFile(t *testing.T) {
	file, err := os.ReadFile("testdata/kubeadm.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, warnings, err := Load(file, "Node-A ")
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) > 0 {
		t.Errorf("a cluster's standard file gives warnings: %q", lines(warnings))
	}
	if c.NodeName != "node-a" || c.Client.Kubeconfig != "/var/lib/kube-proxy/kubeconfig.conf" ||
		fmt.Sprint(c.ClusterCIDRs) != "[10.244.0.0/16 fd00:10:244::/56]" {
		t.Errorf("got %+v", c)
	}
}

// What YAML writes is read back to the same; a file says nothing that is lost.
func TestYAMLRoundTrip(t *testing.T) {
	file := header + "clusterCIDR: 10.0.0.0/8\nnodePortAddresses: [primary]\nhealthzBindAddress: 192.0.2.7\n" +
		"iptables: {masqueradeBit: 3, syncPeriod: 1m}\nlogging: {verbosity: 4, vmodule: [{filePattern: x, verbosity: 9}]}\n"
	want, _, err := Load([]byte(file), "node")
	if err != nil {
		t.Fatal(err)
	}
	if lost, err := want.LostInFile(); err != nil || len(lost) > 0 {
		t.Errorf("lost: %q, %v", lines(lost), err)
	}
	written, err := want.YAML()
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := Load(written, "node")
	if err != nil {
		t.Fatalf("%v in\n%s", err, written)
	}
	if diff := cmp.Diff(want, got, compareConfigs); diff != "" {
		t.Error(diff)
	}
}

// FuzzLoad: no file makes Load panic, and a file that loads has a Config that
// is written and read back to the same.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(header))
	for path, sample := range samples {
		f.Add([]byte(fileWith(path, sample)))
	}
	f.Add([]byte(header + "a: &a [*a]\n"))
	f.Add([]byte(header + "clusterCIDR: '1.2.3.4/33,::/0'\nnodePortAddresses: [primary, x]\n---\nkind: x\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		c, warnings, err := Load(file, "node")
		for _, line := range lines(warnings) {
			if strings.ContainsAny(line, "\n\x00") {
				t.Errorf("warning of several lines: %q", line)
			}
		}
		if err != nil {
			return
		}
		if !slices.Contains([]string{ModeIPTables, ModeIPVS}, c.Mode) || c.NodeName == "" || c.SyncPeriod <= 0 ||
			c.MinSyncPeriod < 0 || c.MasqueradeBit < 0 || c.MasqueradeBit > 31 || !c.MetricsAddress.IsValid() {
			t.Errorf("invalid Config was accepted: %+v", c)
		}
		written, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, _, err := Load(written, "node")
		if err != nil {
			t.Fatalf("what was written is not read: %v\n%s", err, written)
		}
		if diff := cmp.Diff(c, again, compareConfigs); diff != "" {
			t.Error(diff)
		}
	})
}
