package config

import (
	"encoding/json"
	"net/netip"
	"slices"
	"time"

	proxyconfig "k8s.io/kube-proxy/config/v1alpha1"
	"sigs.k8s.io/yaml"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// The modes: what carries the traffic.
const (
	// ModeIPTables sends packets to endpoints by rules.
	ModeIPTables = "iptables"
	// ModeIPVS does so by virtual servers, with rules beside them.
	ModeIPVS = "ipvs"
)

// A Config is a complete and valid configuration. It is not changed after it
// was made.
type Config struct {
	// NodeName is this node's name: trimmed and in lower case.
	NodeName string
	// NodeNameGiven tells whether the operator named the node; otherwise it is
	// called as the host is.
	NodeNameGiven bool
	// Mode is how Services are programmed: ModeIPTables or ModeIPVS.
	Mode string

	Client  Client
	Logging Logging

	// BindAddress, where not the wildcard, overrides the node's primary
	// address. Nothing is bound to it.
	BindAddress netip.Addr
	// HealthzAddress is where health is served; invalid for nowhere.
	HealthzAddress netip.AddrPort
	// MetricsAddress is where metrics are served.
	MetricsAddress netip.AddrPort
	// BindAddressHardFail ends the process when an address cannot be bound.
	BindAddressHardFail bool
	// Profiling serves pprof beside the metrics.
	Profiling bool
	// Traffic is what the metrics tell of single Services.
	Traffic Traffic

	// MasqueradeBit is the bit of the packet mark, 0 to 31, that asks for a
	// rewritten source.
	MasqueradeBit int
	// MasqueradeAll rewrites the source of all traffic to ClusterIPs.
	MasqueradeAll bool
	// LocalhostNodePorts serves node ports on 127.0.0.1; never in ModeIPVS.
	LocalhostNodePorts bool
	// SyncPeriod bounds the wait after failed passes, which grows from a second,
	// and is the shortest time between two comparisons with the kernel.
	SyncPeriod time.Duration
	// MinSyncPeriod is the shortest time between two passes.
	MinSyncPeriod time.Duration
	// IPVS is for ModeIPVS, and for removing what it has left.
	IPVS IPVS

	// LocalPodsMode is how traffic of this node's pods is recognised.
	LocalPodsMode proxier.LocalPodsMode
	// ClusterCIDRs are for proxier.ByClusterCIDR: none, or at most one of each
	// family.
	ClusterCIDRs []netip.Prefix
	// PodInterface is for the modes that go by interface: a name, or the
	// beginning of names.
	PodInterface string

	// NodePortAddresses are where node ports are served; empty for everywhere.
	NodePortAddresses []netip.Prefix
	// NodePortPrimary serves them on the node's primary addresses only.
	NodePortPrimary bool
	// ExternalIPs serves spec.externalIPs (feature gate AllowServiceExternalIPs).
	ExternalIPs bool

	// OOMScoreAdj is for /proc/self/oom_score_adj, -1000 to 1000.
	OOMScoreAdj int
	Conntrack   Conntrack
	// ConfigSyncPeriod has no effect: there are no caches to go through again.
	ConfigSyncPeriod time.Duration

	effective    *proxyconfig.KubeProxyConfiguration
	effectiveOwn *ownConfiguration
}

// Traffic is how what passes through Services is counted.
type Traffic struct {
	// Counted tells whether it is.
	Counted bool
	// MaxServices is how many Services are shown by name; the others are added up.
	MaxServices int
	// Period is the shortest time between two looks at the kernel's counters.
	Period time.Duration
}

// Client is how the API server is reached.
type Client struct {
	// Kubeconfig is a path. Empty, with Master empty too: the service account
	// of the pod is used.
	Kubeconfig string
	// Master is a URL and wins over the one in Kubeconfig.
	Master string
	// AcceptContentTypes and ContentType are media types.
	AcceptContentTypes, ContentType string
	// QPS is the number of requests per second; negative for no limit.
	QPS float32
	// Burst is how many requests may come at once.
	Burst int
}

// Conntrack is what nf_conntrack is set to. A zero leaves the node's value.
type Conntrack struct {
	MaxPerCore, Min                            int
	TCPEstablishedTimeout, TCPCloseWaitTimeout time.Duration
	TCPBeLiberal                               bool
	UDPTimeout, UDPStreamTimeout               time.Duration
}

// Logging is what is logged, and how.
type Logging struct {
	// Format is "text" or "json".
	Format string
	// Verbosity is the level up to which is logged, 0 for the least.
	Verbosity int
	// VModule overrides Verbosity for single files: "pattern=level,...".
	VModule string
	// FlushFrequency is how often a buffered log is written out.
	FlushFrequency time.Duration
}

// Options are the choices that decide what is served over one family.
func (c *Config) Options(family proxier.Family) proxier.Options {
	return proxier.Options{
		Family:             family,
		NodeName:           c.NodeName,
		BindAddress:        c.BindAddress,
		LocalPodsMode:      c.LocalPodsMode,
		ClusterCIDRs:       c.ClusterCIDRs,
		PodInterface:       c.PodInterface,
		MasqueradeAll:      c.MasqueradeAll,
		NodePortAddresses:  c.NodePortAddresses,
		NodePortPrimary:    c.NodePortPrimary,
		LocalhostNodePorts: c.LocalhostNodePorts,
		ExternalIPs:        c.ExternalIPs,
	}
}

// YAML is the configuration as a file, with all defaults written out. Load reads it
// back to the same Config, but for what LostInFile names.
func (c *Config) YAML() ([]byte, error) {
	text, err := yaml.Marshal(c.effective)
	if err != nil {
		return nil, err
	}
	own, err := yaml.Marshal(c.effectiveOwn)
	return slices.Concat(text, []byte("---\n"), own), err
}

// JSON is the configuration as Kubernetes' components show theirs at /configz:
// each document under the name of its API group, with all defaults.
func (c *Config) JSON() ([]byte, error) {
	return json.Marshal(map[string]any{proxyconfig.GroupName: c.effective, groupVersionKubeProxier.Group: c.effectiveOwn})
}
