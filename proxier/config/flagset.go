package config

import (
	"time"

	"github.com/spf13/pflag"
	logsapi "k8s.io/component-base/logs/api/v1"
	proxyconfig "k8s.io/kube-proxy/config/v1alpha1"
)

// NewFlags registers all flags of kube-proxy on Linux, and ours, with set.
func NewFlags(set *pflag.FlagSet) *Flags {
	f := &Flags{set: set, fields: map[string]string{}, values: defaultConfiguration(), own: &ownConfiguration{}}
	f.own.setDefaults()
	// The one default that flags and file do not share.
	f.values.IPVS.MinSyncPeriod.Duration = time.Second
	before := map[string]bool{}
	set.VisitAll(func(flag *pflag.Flag) { before[flag.Name] = true })
	f.addProcess()
	r := registrar{set, f.fields}
	r.addClient(f.values)
	r.addServing(f.values)
	r.addServices(f.values)
	r.addIPTables(&f.values.IPTables)
	r.addIPVS(&f.values.IPVS)
	r.addOwnIPVS(&f.own.IPVS)
	r.addConntrack(&f.values.Conntrack)
	r.addLogging(&f.values.Logging)
	set.VisitAll(func(flag *pflag.Flag) {
		if !before[flag.Name] {
			f.ours = append(f.ours, flag.Name)
		}
	})
	return f
}

// addProcess adds the flags that set no field.
func (f *Flags) addProcess() {
	f.set.StringVar(&f.File, "config", "", "Read the configuration from this `file` instead of from flags, e.g. --config=/var/lib/kube-proxy/config.conf.")
	f.set.StringVar(&f.WriteConfigTo, "write-config-to", "", "Write the configuration in force to this `file` and exit, e.g. --write-config-to=/tmp/config.yaml.")
	f.set.BoolVar(&f.Cleanup, "cleanup", false, "Remove everything of kube-proxier's and kube-proxy's from this node and exit, e.g. --cleanup.")
	f.set.BoolVar(&f.InitOnly, "init-only", false, "Do what needs full privileges and exit, e.g. --init-only in an init container.")
	f.set.StringVar(&f.master, "master", "", "`URL` of the API server; wins over the kubeconfig's, e.g. --master=https://192.0.2.1:6443.")
	f.set.Int32Var(&f.healthzPort, "healthz-port", 10256, "Port of the health address where that has none; 0 turns it off, e.g. --healthz-port=10256.")
	f.set.Int32Var(&f.metricsPort, "metrics-port", 10249, "Port of the metrics address where that has none, e.g. --metrics-port=10249.")
	f.set.StringVar(&f.unused, "boot-id-file", "", "No effect, e.g. --boot-id-file=/proc/sys/kernel/random/boot_id.")
	f.set.StringVar(&f.unused, "machine-id-file", "", "No effect, e.g. --machine-id-file=/etc/machine-id.")
	for name, why := range map[string]string{
		"healthz-port": "use --healthz-bind-address", "metrics-port": "use --metrics-bind-address",
		"boot-id-file": "it has no effect", "machine-id-file": "it has no effect",
	} {
		// Fails only for a flag that does not exist.
		_ = f.set.MarkDeprecated(name, why)
	}
}

// registrar adds flags that set fields: each has its name, the path of its
// field in the file, and the field, whose value is the default.
type registrar struct {
	set    *pflag.FlagSet
	fields map[string]string
}

func (r registrar) addClient(c *proxyconfig.KubeProxyConfiguration) {
	client := &c.ClientConnection
	r.string("kubeconfig", "clientConnection.kubeconfig", &client.Kubeconfig, "Reach the API server as this `file` says; without it and --master, as a pod does, e.g. --kubeconfig=/etc/kubernetes/kube-proxy.conf.")
	r.string("kube-api-content-type", "clientConnection.contentType", &client.ContentType, "Content `type` of requests to the API server, e.g. --kube-api-content-type=application/json.")
	r.set.Float32Var(&client.QPS, "kube-api-qps", client.QPS, "Requests per second to the API server, e.g. --kube-api-qps=20.")
	r.fields["kube-api-qps"] = "clientConnection.qps"
	r.int32("kube-api-burst", "clientConnection.burst", &client.Burst, "Requests to the API server at once, e.g. --kube-api-burst=40.")
	r.duration("config-sync-period", "configSyncPeriod", &c.ConfigSyncPeriod.Duration, "No effect: every change is acted upon at once, e.g. --config-sync-period=30m.")
	r.string("hostname-override", "hostnameOverride", &c.HostnameOverride, "`Name` of this node's Node object; the host's name by default, e.g. --hostname-override=node-1.")
}

func (r registrar) addServing(c *proxyconfig.KubeProxyConfiguration) {
	r.string("bind-address", "bindAddress", &c.BindAddress, "Primary `IP` of this node where not the wildcard; nothing is bound to it, e.g. --bind-address=192.0.2.7.")
	r.string("healthz-bind-address", "healthzBindAddress", &c.HealthzBindAddress, "Serve health on this `IP:port`, e.g. --healthz-bind-address=0.0.0.0:10256.")
	r.string("metrics-bind-address", "metricsBindAddress", &c.MetricsBindAddress, "Serve metrics on this `IP:port`, e.g. --metrics-bind-address=127.0.0.1:10249.")
	r.bool("bind-address-hard-fail", "bindAddressHardFail", &c.BindAddressHardFail, "End when an address cannot be bound, e.g. --bind-address-hard-fail.")
	r.bool("profiling", "enableProfiling", &c.EnableProfiling, "Serve pprof beside the metrics, e.g. --profiling.")
	r.string("show-hidden-metrics-for-version", "showHiddenMetricsForVersion", &c.ShowHiddenMetricsForVersion, "No effect: no metrics are hidden since a `version`, e.g. --show-hidden-metrics-for-version=1.35.")
	r.int32("oom-score-adj", "oomScoreAdj", c.OOMScoreAdj, "The process's oom-score-adj, -1000 to 1000, e.g. --oom-score-adj=-998.")
}

func (r registrar) addServices(c *proxyconfig.KubeProxyConfiguration) {
	r.value("proxy-mode", "mode", text[proxyconfig.ProxyMode]{&c.Mode}, "How Services are programmed: iptables or ipvs, e.g. --proxy-mode=ipvs.")
	r.value("detect-local-mode", "detectLocalMode", text[proxyconfig.LocalMode]{&c.DetectLocalMode}, "How this node's pods are told from other clients: ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix, e.g. --detect-local-mode=NodeCIDR.")
	r.string("cluster-cidr", "clusterCIDR", &c.ClusterCIDR, "`CIDRs` of the cluster's pods, one or one of each family, e.g. --cluster-cidr=10.244.0.0/16,fd00:10:244::/56.")
	r.string("pod-bridge-interface", "detectLocal.bridgeInterface", &c.DetectLocal.BridgeInterface, "The pods' bridge, for --detect-local-mode=BridgeInterface, e.g. --pod-bridge-interface=cni0.")
	r.string("pod-interface-name-prefix", "detectLocal.interfaceNamePrefix", &c.DetectLocal.InterfaceNamePrefix, "How pods' interfaces begin, for --detect-local-mode=InterfaceNamePrefix, e.g. --pod-interface-name-prefix=veth.")
	r.strings("nodeport-addresses", "nodePortAddresses", &c.NodePortAddresses, "Serve node ports on addresses within these `CIDRs` only, or on the primary ones, e.g. --nodeport-addresses=192.0.2.0/24 or --nodeport-addresses=primary.")
	r.value("feature-gates", "featureGates", (*gateList)(&c.FeatureGates), "Feature gates to turn on or off, e.g. --feature-gates=AllowServiceExternalIPs=false.")
}

func (r registrar) addIPTables(c *proxyconfig.KubeProxyIPTablesConfiguration) {
	r.int32("iptables-masquerade-bit", "iptables.masqueradeBit", c.MasqueradeBit, "Bit of the packet mark that asks for a rewritten source, 0 to 31, e.g. --iptables-masquerade-bit=14.")
	r.bool("masquerade-all", "iptables.masqueradeAll", &c.MasqueradeAll, "Rewrite the source of all traffic to ClusterIPs, e.g. --masquerade-all.")
	r.bool("iptables-localhost-nodeports", "iptables.localhostNodePorts", c.LocalhostNodePorts, "Serve node ports on 127.0.0.1, too, e.g. --iptables-localhost-nodeports=false.")
	r.duration("iptables-sync-period", "iptables.syncPeriod", &c.SyncPeriod.Duration, "Longest wait before a failed pass is tried again, and shortest time between two comparisons with the kernel, e.g. --iptables-sync-period=30s.")
	r.duration("iptables-min-sync-period", "iptables.minSyncPeriod", &c.MinSyncPeriod.Duration, "Shortest time between two passes, e.g. --iptables-min-sync-period=1s.")
}

func (r registrar) addIPVS(c *proxyconfig.KubeProxyIPVSConfiguration) {
	r.string("ipvs-scheduler", "ipvs.scheduler", &c.Scheduler, "`Name` of the IPVS scheduler, e.g. --ipvs-scheduler=lc.")
	r.strings("ipvs-exclude-cidrs", "ipvs.excludeCIDRs", &c.ExcludeCIDRs, "Leave virtual servers of others within these `CIDRs` alone, e.g. --ipvs-exclude-cidrs=192.0.2.0/24.")
	r.bool("ipvs-strict-arp", "ipvs.strictARP", &c.StrictARP, "Answer no ARP for addresses on kube-ipvs0, e.g. --ipvs-strict-arp.")
	r.duration("ipvs-tcp-timeout", "ipvs.tcpTimeout", &c.TCPTimeout.Duration, "IPVS timeout of idle TCP connections, e.g. --ipvs-tcp-timeout=15m.")
	r.duration("ipvs-tcpfin-timeout", "ipvs.tcpFinTimeout", &c.TCPFinTimeout.Duration, "IPVS timeout of TCP connections after a FIN, e.g. --ipvs-tcpfin-timeout=2m.")
	r.duration("ipvs-udp-timeout", "ipvs.udpTimeout", &c.UDPTimeout.Duration, "IPVS timeout of UDP flows, e.g. --ipvs-udp-timeout=5m.")
	r.duration("ipvs-sync-period", "ipvs.syncPeriod", &c.SyncPeriod.Duration, "Longest wait before a failed pass is tried again, and shortest time between two comparisons with the kernel, in mode ipvs, e.g. --ipvs-sync-period=30s.")
	r.duration("ipvs-min-sync-period", "ipvs.minSyncPeriod", &c.MinSyncPeriod.Duration, "Shortest time between two passes in mode ipvs, e.g. --ipvs-min-sync-period=1s.")
}

func (r registrar) addOwnIPVS(c *ownIPVS) {
	r.duration("ipvs-drain-timeout", "ipvs.drainTimeout", &c.DrainTimeout.Duration, "How long TCP and SCTP connections to a removed endpoint may run on, and those of IPVS mode after a change to another; 0 ends them at once, e.g. --ipvs-drain-timeout=5m.")
	r.string("ipvs-node-port-range", "ipvs.nodePortRange", &c.NodePortRange, "The cluster's `range` of node ports: virtual servers at the node's own addresses in it are ours, e.g. --ipvs-node-port-range=30000-32767.")
	r.bool("ipvs-remove-foreign", "ipvs.removeForeign", &c.RemoveForeign, "Delete the virtual servers of other programs, too, but for those in --ipvs-exclude-cidrs, as kube-proxy does, e.g. --ipvs-remove-foreign.")
}

func (r registrar) addConntrack(c *proxyconfig.KubeProxyConntrackConfiguration) {
	r.int32("conntrack-max-per-core", "conntrack.maxPerCore", c.MaxPerCore, "Connections to track for each CPU; 0 leaves the node's limit, e.g. --conntrack-max-per-core=32768.")
	r.int32("conntrack-min", "conntrack.min", c.Min, "Connections to track at least, e.g. --conntrack-min=131072.")
	r.duration("conntrack-tcp-timeout-established", "conntrack.tcpEstablishedTimeout", &c.TCPEstablishedTimeout.Duration, "Conntrack timeout of idle TCP connections; 0 leaves the node's, e.g. --conntrack-tcp-timeout-established=24h.")
	r.duration("conntrack-tcp-timeout-close-wait", "conntrack.tcpCloseWaitTimeout", &c.TCPCloseWaitTimeout.Duration, "Conntrack timeout of TCP connections in CLOSE_WAIT; 0 leaves the node's, e.g. --conntrack-tcp-timeout-close-wait=1h.")
	r.bool("conntrack-tcp-be-liberal", "conntrack.tcpBeLiberal", &c.TCPBeLiberal, "Take TCP packets out of the window as valid, e.g. --conntrack-tcp-be-liberal.")
	r.duration("conntrack-udp-timeout", "conntrack.udpTimeout", &c.UDPTimeout.Duration, "Conntrack timeout of unanswered UDP flows; 0 leaves the node's, e.g. --conntrack-udp-timeout=30s.")
	r.duration("conntrack-udp-timeout-stream", "conntrack.udpStreamTimeout", &c.UDPStreamTimeout.Duration, "Conntrack timeout of answered UDP flows; 0 leaves the node's, e.g. --conntrack-udp-timeout-stream=3m.")
}

func (r registrar) addLogging(c *logsapi.LoggingConfiguration) {
	r.set.VarP(logsapi.VerbosityLevelPflag(&c.Verbosity), "v", "v", "`Level` up to which is logged, e.g. -v=4.")
	r.fields["v"] = "logging.verbosity"
	r.value("vmodule", "logging.vmodule", logsapi.VModuleConfigurationPflag(&c.VModule), "Other levels for single files, e.g. --vmodule=reconciler=6,api=4.")
	r.string("logging-format", "logging.format", &c.Format, "Log as text or as json, e.g. --logging-format=json.")
	r.duration("log-flush-frequency", "logging.flushFrequency", &c.FlushFrequency.Duration.Duration, "How often a buffered log is written out, e.g. --log-flush-frequency=5s.")
	for format, options := range map[string]*logsapi.OutputRoutingOptions{
		"text": &c.Options.Text.OutputRoutingOptions, "json": &c.Options.JSON.OutputRoutingOptions,
	} {
		r.bool("log-"+format+"-split-stream", "logging.options."+format+".splitStream", &options.SplitStream, "No effect, e.g. --log-"+format+"-split-stream.")
		r.value("log-"+format+"-info-buffer-size", "logging.options."+format+".infoBufferSize", &options.InfoBufferSize, "No effect, e.g. --log-"+format+"-info-buffer-size=64Ki.")
	}
}
