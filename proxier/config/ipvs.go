package config

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	proxyconfig "k8s.io/kube-proxy/config/v1alpha1"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// IPVS is what counts in ModeIPVS; ExcludeCIDRs, DrainTimeout and NodePorts are
// set in any mode, the others are zero there.
type IPVS struct {
	// Scheduler is for Services that name none, in the kernel's words; "rr" if
	// none was named.
	Scheduler string
	// ExcludeCIDRs are where virtual servers of others are left alone whatever
	// RemoveForeign says.
	ExcludeCIDRs []netip.Prefix
	// StrictARP keeps the node from answering ARP for Service addresses.
	StrictARP bool
	// TCPTimeout, TCPFinTimeout and UDPTimeout are after how long without a
	// packet the kernel forgets a connection; 0 leaves the node's value.
	TCPTimeout, TCPFinTimeout, UDPTimeout time.Duration
	// DrainTimeout bounds how long the connections to a removed endpoint may run
	// on, and those of IPVS mode in another mode after it; 0 ends them at once.
	DrainTimeout time.Duration
	// NodePorts is the cluster's range of node ports (kube-apiserver's
	// --service-node-port-range).
	NodePorts PortRange
	// RemoveForeign deletes virtual servers of others, as kube-proxy does.
	RemoveForeign bool
}

// A PortRange holds its first and last port and those between them.
type PortRange struct{ First, Last uint16 }

// String is such as "30000-32767".
func (r PortRange) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

// parsePortRange is the inverse of PortRange.String.
func parsePortRange(s string) (PortRange, bool) {
	first, last, ok := strings.Cut(s, "-")
	a, errA := strconv.ParseUint(first, 10, 16)
	b, errB := strconv.ParseUint(last, 10, 16)
	if !ok || errA != nil || errB != nil || a == 0 || a > b {
		return PortRange{}, false
	}
	return PortRange{uint16(a), uint16(b)}, true
}

// ipvs validates what counts in IPVS mode. What is left of it has to be told
// from the virtual servers of others in any mode.
func (v *validator) ipvs(from proxyconfig.KubeProxyIPVSConfiguration, own ownIPVS, c *Config) {
	c.IPVS.ExcludeCIDRs = v.prefixes("ipvs.excludeCIDRs", from.ExcludeCIDRs, "must be CIDRs, such as 192.0.2.0/24")
	var ok bool
	if c.IPVS.NodePorts, ok = parsePortRange(own.NodePortRange); !ok {
		v.invalid("ipvs.nodePortRange", own.NodePortRange, "must be two ports, from 1 to 65535, such as 30000-32767")
	}
	c.IPVS.DrainTimeout = v.notNegative("ipvs.drainTimeout", *own.DrainTimeout)
	if c.Mode != ModeIPVS {
		return
	}
	c.IPVS.Scheduler, c.IPVS.StrictARP, c.IPVS.RemoveForeign = from.Scheduler, from.StrictARP, own.RemoveForeign
	c.IPVS.TCPTimeout = v.kernelSeconds("ipvs.tcpTimeout", from.TCPTimeout)
	c.IPVS.TCPFinTimeout = v.kernelSeconds("ipvs.tcpFinTimeout", from.TCPFinTimeout)
	c.IPVS.UDPTimeout = v.kernelSeconds("ipvs.udpTimeout", from.UDPTimeout)
	if c.IPVS.Scheduler == "" {
		c.IPVS.Scheduler = "rr"
	}
	if !slices.Contains(proxier.Schedulers, c.IPVS.Scheduler) {
		v.invalid("ipvs.scheduler", from.Scheduler, "must be one of "+strings.Join(proxier.Schedulers, ", "))
	}
}

// maxKernelSeconds is what a kernel with the least ticks, 100 per second, takes at
// most: it counts them in an int.
const maxKernelSeconds = math.MaxInt32 / 100

// kernelSeconds are durations that the kernel keeps in seconds: less than one
// would become 0, which means something else.
func (v *validator) kernelSeconds(path string, d metav1.Duration) time.Duration {
	switch {
	case d.Duration < 0 || d.Duration > 0 && d.Duration < time.Second:
		v.invalid(path, d.Duration, "must be 1s or more, or 0 to leave the node's value")
	case d.Duration > maxKernelSeconds*time.Second:
		v.invalid(path, d.Duration, fmt.Sprintf("must be %ds, 248 days, or less: no kernel takes more", maxKernelSeconds))
	}
	return d.Duration
}
