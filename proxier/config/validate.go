package config

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	proxyconfig "k8s.io/kube-proxy/config/v1alpha1"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// validator reads a defaulted KubeProxyConfiguration into a Config and gathers
// whatever is wrong with it.
type validator struct {
	// written are the fields the operator set, by their paths.
	written map[string]bool
	// flags are the flags that set fields, by the fields' paths.
	flags    map[string]string
	warnings []Warning
	errors   Errors
}

// name is what the operator wrote: the flag, or the path in the file.
func (v *validator) name(path string) string {
	if flag, ok := v.flags[path]; ok {
		return "--" + flag
	}
	return path
}

// invalid notes that a field's value cannot be used.
func (v *validator) invalid(path string, value any, allowed string) {
	v.invalidAt(v.name(path), value, allowed)
}

func (v *validator) invalidAt(name string, value any, allowed string) {
	v.errors = append(v.errors, Invalid{Field: name, Value: fmt.Sprint(value), Allowed: allowed})
}

func (v *validator) warn(path, reason string) {
	v.warnings = append(v.warnings, Warning{v.name(path), reason})
}

// config validates everything, so that all errors are found at once. The
// result is meaningful only where there are none.
func (v *validator) config(from *proxyconfig.KubeProxyConfiguration, own *ownConfiguration, master, hostname string) *Config {
	c := &Config{effective: from, effectiveOwn: own}
	v.warnWithoutEffect(string(from.Mode))
	c.NodeName, c.NodeNameGiven = v.nodeName(from.HostnameOverride, hostname), from.HostnameOverride != ""
	c.Mode = v.mode(string(from.Mode))
	c.Client = v.client(from, master)
	c.Logging = v.logging(from)
	v.addresses(from, c)
	v.iptables(from, c)
	v.ipvs(from.IPVS, own.IPVS, c)
	v.syncPeriods(from, c)
	v.localPods(from, c)
	v.nodePorts(from, c)
	v.featureGates(from.FeatureGates, c)
	c.Traffic = v.traffic(own.Metrics)
	c.OOMScoreAdj = v.within("oomScoreAdj", *from.OOMScoreAdj, -1000, 1000)
	c.Conntrack = v.conntrack(from.Conntrack)
	c.ConfigSyncPeriod = v.positive("configSyncPeriod", from.ConfigSyncPeriod)
	return c
}

// nodeName is the override, or else the host's name, in the form Node objects
// have it.
func (v *validator) nodeName(override, hostname string) string {
	name := override
	if name == "" {
		name = hostname
	}
	name = strings.ToLower(strings.TrimSpace(name))
	if name == "" {
		v.invalid("hostnameOverride", override, "must not be blank: it is the name of this node's Node object")
	}
	return name
}

// modes are the possible values of mode, in words.
const modes = ModeIPTables + " or " + ModeIPVS

func (v *validator) mode(mode string) string {
	switch mode {
	case ModeIPTables, ModeIPVS:
	case "nftables":
		v.invalid("mode", mode, "is not supported yet: must be "+modes)
	default:
		v.invalid("mode", mode, "is not known: must be "+modes)
	}
	return mode
}

func (v *validator) client(from *proxyconfig.KubeProxyConfiguration, master string) Client {
	c := from.ClientConnection
	if c.Burst < 0 {
		v.invalid("clientConnection.burst", c.Burst, "must be 0 or more")
	}
	return Client{
		Kubeconfig: c.Kubeconfig, Master: master,
		AcceptContentTypes: c.AcceptContentTypes, ContentType: c.ContentType,
		QPS: c.QPS, Burst: int(c.Burst),
	}
}

func (v *validator) iptables(from *proxyconfig.KubeProxyConfiguration, c *Config) {
	i := from.IPTables
	c.MasqueradeBit = v.within("iptables.masqueradeBit", *i.MasqueradeBit, 0, 31)
	c.MasqueradeAll = i.MasqueradeAll
	c.LocalhostNodePorts = *i.LocalhostNodePorts && c.Mode != ModeIPVS
}

// syncPeriods reads those of the mode.
func (v *validator) syncPeriods(from *proxyconfig.KubeProxyConfiguration, c *Config) {
	section, period, shortest := "iptables", from.IPTables.SyncPeriod, from.IPTables.MinSyncPeriod
	if c.Mode == ModeIPVS {
		section, period, shortest = "ipvs", from.IPVS.SyncPeriod, from.IPVS.MinSyncPeriod
	}
	c.SyncPeriod = v.positive(section+".syncPeriod", period)
	c.MinSyncPeriod = v.notNegative(section+".minSyncPeriod", shortest)
	if c.MinSyncPeriod > c.SyncPeriod && c.SyncPeriod > 0 {
		v.invalid(section+".minSyncPeriod", c.MinSyncPeriod,
			fmt.Sprintf("must not be more than %s.syncPeriod, which is %s", section, c.SyncPeriod))
	}
}

func (v *validator) conntrack(from proxyconfig.KubeProxyConntrackConfiguration) Conntrack {
	const noLimit = 1<<31 - 1
	return Conntrack{
		MaxPerCore:            v.within("conntrack.maxPerCore", *from.MaxPerCore, 0, noLimit),
		Min:                   v.within("conntrack.min", *from.Min, 0, noLimit),
		TCPEstablishedTimeout: v.kernelSeconds("conntrack.tcpEstablishedTimeout", *from.TCPEstablishedTimeout),
		TCPCloseWaitTimeout:   v.kernelSeconds("conntrack.tcpCloseWaitTimeout", *from.TCPCloseWaitTimeout),
		TCPBeLiberal:          from.TCPBeLiberal,
		UDPTimeout:            v.kernelSeconds("conntrack.udpTimeout", from.UDPTimeout),
		UDPStreamTimeout:      v.kernelSeconds("conntrack.udpStreamTimeout", from.UDPStreamTimeout),
	}
}

func (v *validator) traffic(own ownMetrics) Traffic {
	for _, path := range []string{"metrics.maxServices", "metrics.trafficPeriod"} {
		if v.written[path] && !own.ServiceTraffic {
			v.warn(path, "has no effect without metrics.serviceTraffic")
		}
	}
	return Traffic{
		Counted:     own.ServiceTraffic,
		MaxServices: v.within("metrics.maxServices", own.MaxServices, 1, 100_000),
		Period:      v.atLeastASecond("metrics.trafficPeriod", own.TrafficPeriod),
	}
}

func (v *validator) atLeastASecond(path string, d metav1.Duration) time.Duration {
	if d.Duration < time.Second {
		v.invalid(path, d.Duration, "must be 1s or more, such as 15s")
	}
	return d.Duration
}

func (v *validator) within(path string, value, low, high int32) int {
	if value < low || value > high {
		v.invalid(path, value, fmt.Sprintf("must be from %d to %d", low, high))
	}
	return int(value)
}

func (v *validator) positive(path string, d metav1.Duration) time.Duration {
	if d.Duration <= 0 {
		v.invalid(path, d.Duration, "must be more than 0, such as 30s")
	}
	return d.Duration
}

func (v *validator) notNegative(path string, d metav1.Duration) time.Duration {
	if d.Duration < 0 {
		v.invalid(path, d.Duration, "must be 0 or more, such as 1s")
	}
	return d.Duration
}

// prefixes reads CIDRs of one field.
func (v *validator) prefixes(path string, cidrs []string, allowed string) []netip.Prefix {
	prefixes, invalid := proxier.ParsePrefixes(cidrs)
	for _, s := range invalid {
		v.invalid(path, s, allowed)
	}
	return prefixes
}
