package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// own is a file's end in mode ipvs, with one field of our document.
func own(field string) string { return "mode: ipvs\n" + ownDocument("ipvs: {"+field+"}") }

// ownDocument is our document, with one section.
func ownDocument(section string) string {
	return "---\napiVersion: kube-proxier.io/v1alpha1\nkind: KubeProxierConfiguration\n" + section
}

func TestInvalidValues(t *testing.T) {
	tests := []struct{ name, file, err string }{
		{"mode nftables", "mode: nftables", `mode: "nftables": is not supported yet: must be iptables or ipvs`},
		{"mode userspace", "mode: userspace", `mode: "userspace": is not known: must be iptables or ipvs`},
		{"blank hostname", `hostnameOverride: "  "`, `hostnameOverride: "  ": must not be blank`},
		{"bindAddress in brackets", `bindAddress: "[::]"`, `bindAddress: "[::]": must be an IP address without brackets`},
		{"healthz port 0", "healthzBindAddress: 0.0.0.0:0", `healthzBindAddress: "0.0.0.0:0": must be an IP address`},
		{"healthz port 65536", "healthzBindAddress: 0.0.0.0:65536", `healthzBindAddress: "0.0.0.0:65536"`},
		{"healthz a name", "healthzBindAddress: localhost:10256", `healthzBindAddress: "localhost:10256"`},
		{"metrics port -1", `metricsBindAddress: "[::]:-1"`, `metricsBindAddress: "[::]:-1"`},
		{"masqueradeBit -1", "iptables: {masqueradeBit: -1}", `iptables.masqueradeBit: "-1": must be from 0 to 31`},
		{"masqueradeBit 32", "iptables: {masqueradeBit: 32}", `iptables.masqueradeBit: "32": must be from 0 to 31`},
		{"syncPeriod negative", "iptables: {syncPeriod: -1s}", `iptables.syncPeriod: "-1s": must be more than 0`},
		{"minSyncPeriod negative", "iptables: {minSyncPeriod: -1s}", `iptables.minSyncPeriod: "-1s": must be 0 or more`},
		{"minSyncPeriod above syncPeriod", "iptables: {minSyncPeriod: 31s}", `iptables.minSyncPeriod: "31s": must not be more than iptables.syncPeriod, which is 30s`},
		{"ipvs scheduler", "mode: ipvs\nipvs: {scheduler: best}", `ipvs.scheduler: "best": must be one of rr, wrr, lc,`},
		{"ipvs excludeCIDRs", "mode: ipvs\nipvs: {excludeCIDRs: [192.0.2.1]}", `ipvs.excludeCIDRs: "192.0.2.1": must be CIDRs, such as`},
		{"ipvs tcpTimeout negative", "mode: ipvs\nipvs: {tcpTimeout: -1s}", `ipvs.tcpTimeout: "-1s": must be 1s or more, or 0`},
		{"ipvs tcpFinTimeout below a second", "mode: ipvs\nipvs: {tcpFinTimeout: 10ms}", `ipvs.tcpFinTimeout: "10ms": must be 1s or more`},
		{"ipvs udpTimeout negative", "mode: ipvs\nipvs: {udpTimeout: -1s}", `ipvs.udpTimeout: "-1s": must be 1s or more`},
		{"ipvs tcpTimeout above what kernels take", "mode: ipvs\nipvs: {tcpTimeout: 21474837s}", `ipvs.tcpTimeout: "5965h13m57s": must be 21474836s, 248 days, or less`},
		{"ipvs syncPeriod", "mode: ipvs\nipvs: {syncPeriod: -1s}", `ipvs.syncPeriod: "-1s": must be more than 0`},
		{"ipvs minSyncPeriod", "mode: ipvs\nipvs: {minSyncPeriod: 31s}", `ipvs.minSyncPeriod: "31s": must not be more than ipvs.syncPeriod, which is 30s`},
		{"drainTimeout", own("drainTimeout: -1s"), `ipvs.drainTimeout: "-1s": must be 0 or more`},
		{"nodePortRange of one port", own("nodePortRange: '30000'"), `ipvs.nodePortRange: "30000": must be two ports`},
		{"nodePortRange backwards", own("nodePortRange: 32767-30000"), `ipvs.nodePortRange: "32767-30000": must be two ports`},
		{"nodePortRange from 0", own("nodePortRange: 0-30000"), `ipvs.nodePortRange: "0-30000": must be two ports`},
		{"nodePortRange too far", own("nodePortRange: 30000-65536"), `ipvs.nodePortRange: "30000-65536": must be two ports`},
		{"maxServices", ownDocument("metrics: {maxServices: -1}"), `metrics.maxServices: "-1": must be from 1 to 100000`},
		{"maxServices too many", ownDocument("metrics: {maxServices: 100001}"), `metrics.maxServices: "100001": must be from 1 to 100000`},
		{"trafficPeriod", ownDocument("metrics: {trafficPeriod: 10ms}"), `metrics.trafficPeriod: "10ms": must be 1s or more`},
		{"burst", "clientConnection: {burst: -1}", `clientConnection.burst: "-1": must be 0 or more`},
		{"oomScoreAdj", "oomScoreAdj: -1001", `oomScoreAdj: "-1001": must be from -1000 to 1000`},
		{"configSyncPeriod", "configSyncPeriod: -1s", `configSyncPeriod: "-1s": must be more than 0`},
		{"conntrack min", "conntrack: {min: -1}", `conntrack.min: "-1": must be from 0`},
		{"conntrack timeout", "conntrack: {udpTimeout: -1s}", `conntrack.udpTimeout: "-1s": must be 1s or more, or 0`},
		{"conntrack timeout below a second", "conntrack: {tcpCloseWaitTimeout: 500ms}", `conntrack.tcpCloseWaitTimeout: "500ms": must be 1s or more, or 0`},
		{"conntrack timeout above what kernels take", "conntrack: {tcpEstablishedTimeout: 8760h}", `conntrack.tcpEstablishedTimeout: "8760h0m0s": must be 21474836s, 248 days, or less`},
		{"detectLocalMode", "detectLocalMode: Guess", `detectLocalMode: "Guess": must be ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix`},
		{"no bridge", "detectLocalMode: BridgeInterface", `detectLocal.bridgeInterface: "": must not be empty with detectLocalMode BridgeInterface`},
		{"no prefix", "detectLocalMode: InterfaceNamePrefix", `detectLocal.interfaceNamePrefix: "": must not be empty`},
		{"bridge of 16 characters", "{detectLocalMode: BridgeInterface, detectLocal: {bridgeInterface: abcdefghijklmnop}}", `detectLocal.bridgeInterface: "abcdefghijklmnop": must be an interface's name: at most 15 printable`},
		{"prefix of 15 characters", "{detectLocalMode: InterfaceNamePrefix, detectLocal: {interfaceNamePrefix: abcdefghijklmno}}", `detectLocal.interfaceNamePrefix: "abcdefghijklmno": must be the beginning of interfaces' names: at most 14 printable`},
		{"bridge that injects", `{detectLocalMode: BridgeInterface, detectLocal: {bridgeInterface: "a\n-A x"}}`, `must be an interface's name`},
		{"clusterCIDR bare IP", "clusterCIDR: 10.0.0.1", `clusterCIDR: "10.0.0.1": must be one CIDR`},
		{"clusterCIDR twice the family", "clusterCIDR: 10.0.0.0/8,192.0.2.0/24", `has more than one IPv4 range`},
		{"clusterCIDR three", "clusterCIDR: 'fd00::/8,10.0.0.0/8,fd01::/16'", `has more than one IPv6 range`},
		{"clusterCIDR empty part", "clusterCIDR: 10.0.0.0/8,", `clusterCIDR: "": must be one CIDR`},
		{"nodePortAddresses bare IP", "nodePortAddresses: [192.0.2.1]", `nodePortAddresses: "192.0.2.1": must be CIDRs`},
		{"nodePortAddresses mixed", "nodePortAddresses: [primary, 192.0.2.0/24]", `nodePortAddresses: "primary,192.0.2.0/24": primary must stand alone`},
		{"nodePortAddresses twice primary", "nodePortAddresses: [primary, primary]", `primary must stand alone`},
		{"locked gate", "featureGates: {NFTablesProxyMode: false}", `featureGates.NFTablesProxyMode: "false": is always on`},
		{"log format", "logging: {format: xml}", `logging.format: "xml": must be text or json`},
		{"vmodule with json", "logging: {format: json, vmodule: [{filePattern: a, verbosity: 1}]}", `logging.vmodule: "a=1": works with logging.format text only`},
		{"vmodule pattern", "logging: {vmodule: [{filePattern: 'a=2,b', verbosity: 1}]}", `logging.vmodule: "a=2,b": must be a file's name`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file := header + test.file + "\n"
			if strings.HasPrefix(test.file, "{") {
				file = "{apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration, " + test.file[1:]
			}
			_, _, err := Load([]byte(file), "node")
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Fatalf("got %v, want %q", err, test.err)
			}
			if !strings.HasPrefix(err.Error(), "the configuration has 1 error:\n") {
				t.Errorf("more than one error: %v", err)
			}
		})
	}
}

func TestAllErrorsAreInOneList(t *testing.T) {
	_, _, err := parse(t, "--proxy-mode=nftables", "--hostname-override= ", "--bind-address=x", "--metrics-port=0",
		"--iptables-masquerade-bit=99", "--cluster-cidr=x,10.0.0.0/8").Load("node")
	want := `the configuration has 6 errors:
  --hostname-override: " ": must not be blank: it is the name of this node's Node object
  --proxy-mode: "nftables": is not supported yet: must be iptables or ipvs
  --bind-address: "x": must be an IP address without brackets, such as 192.0.2.7 or ::
  --metrics-port: "0": must not be 0: metrics cannot be turned off
  --iptables-masquerade-bit: "99": must be from 0 to 31
  --cluster-cidr: "x": must be one CIDR, or one of each family separated by a comma, such as 10.244.0.0/16,fd00:10:244::/56`
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
}

func TestWarnings(t *testing.T) {
	tests := []struct{ name, file, warning string }{
		{"without effect", "ipvs: {scheduler: lc}", "ipvs.scheduler: is for another mode than iptables"},
		{"unused for the mode", "{detectLocalMode: NodeCIDR, clusterCIDR: 10.0.0.0/8}", "clusterCIDR: has no effect with detectLocalMode NodeCIDR"},
		{"a gate of another component", "featureGates: {Magic: true}", "featureGates.Magic: has no effect: it is no feature gate of the proxy"},
		{"traffic that is not counted", ownDocument("metrics: {maxServices: 7}"), "metrics.maxServices: has no effect without metrics.serviceTraffic"},
		{"a gate without effect", "featureGates: {ComponentFlagz: true}", "featureGates.ComponentFlagz: has no effect: what is served does not depend on it"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file := header + test.file + "\n"
			if strings.HasPrefix(test.file, "{") {
				file = "{apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration, " + test.file[1:]
			}
			_, warnings, err := Load([]byte(file), "node")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{test.warning}, lines(warnings)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	c, _, err := parse(t, "--hostname-override=n", "--bind-address=192.0.2.7", "--cluster-cidr=10.0.0.0/8", "--masquerade-all",
		"--nodeport-addresses=192.0.2.0/24", "--iptables-localhost-nodeports=false", "--feature-gates=AllowServiceExternalIPs=false").Load("host")
	if err != nil {
		t.Fatal(err)
	}
	o := c.Options("IPv6")
	if o.Family != "IPv6" || o.NodeName != "n" || o.BindAddress.String() != "192.0.2.7" || o.ClusterCIDRs[0].String() != "10.0.0.0/8" ||
		o.LocalPodsMode != "ClusterCIDR" || !o.MasqueradeAll || o.NodePortAddresses[0].String() != "192.0.2.0/24" || o.LocalhostNodePorts || o.ExternalIPs {
		t.Errorf("got %+v", o)
	}
}
