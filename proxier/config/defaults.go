package config

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	proxyconfig "k8s.io/kube-proxy/config/v1alpha1"
	utilnet "k8s.io/utils/net"
)

// setDefaults fills in what is unset, with kube-proxy's values. A zero in a
// file means unset, except for pointers.
func setDefaults(c *proxyconfig.KubeProxyConfiguration) {
	c.APIVersion, c.Kind = proxyconfig.SchemeGroupVersion.String(), kindKubeProxy
	setDefault(&c.ClientConnection.ContentType, "application/vnd.kubernetes.protobuf")
	setDefault(&c.ClientConnection.QPS, 5)
	setDefault(&c.ClientConnection.Burst, 10)
	setDefault(&c.Logging.Format, "text")
	setDuration(&c.Logging.FlushFrequency.Duration, 5*time.Second)
	setAddressDefaults(c)

	setDefault(&c.Mode, ModeIPTables)
	setPointer(&c.IPTables.MasqueradeBit, 14)
	setPointer(&c.IPTables.LocalhostNodePorts, true)
	setDuration(&c.IPTables.SyncPeriod, 30*time.Second)
	setDuration(&c.IPTables.MinSyncPeriod, time.Second)
	setDuration(&c.IPVS.SyncPeriod, 30*time.Second)
	setPointer(&c.NFTables.MasqueradeBit, 14)
	setDuration(&c.NFTables.SyncPeriod, 30*time.Second)
	setDuration(&c.NFTables.MinSyncPeriod, time.Second)

	setDefault(&c.DetectLocalMode, "ClusterCIDR")
	setPointer(&c.OOMScoreAdj, -999)
	setPointer(&c.Conntrack.MaxPerCore, 32*1024)
	setPointer(&c.Conntrack.Min, 128*1024)
	setPointer(&c.Conntrack.TCPEstablishedTimeout, metav1.Duration{Duration: 24 * time.Hour})
	setPointer(&c.Conntrack.TCPCloseWaitTimeout, metav1.Duration{Duration: time.Hour})
	setDuration(&c.ConfigSyncPeriod, 15*time.Minute)
}

// setAddressDefaults lets the family of bindAddress decide where is served.
func setAddressDefaults(c *proxyconfig.KubeProxyConfiguration) {
	setDefault(&c.BindAddress, "0.0.0.0")
	healthz, metrics := "0.0.0.0:10256", "127.0.0.1:10249"
	if utilnet.IsIPv6String(c.BindAddress) {
		healthz, metrics = "[::]:10256", "[::1]:10249"
	}
	setDefault(&c.HealthzBindAddress, healthz)
	setDefault(&c.MetricsBindAddress, metrics)
}

func setDefault[T comparable](field *T, value T) {
	var unset T
	if *field == unset {
		*field = value
	}
}

func setPointer[T any](field **T, value T) {
	if *field == nil {
		*field = &value
	}
}

func setDuration(field *metav1.Duration, value time.Duration) {
	setDefault(&field.Duration, value)
}
