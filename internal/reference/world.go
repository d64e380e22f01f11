package reference

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	proxyconfig "k8s.io/kube-proxy/config/v1alpha1"
	netutils "k8s.io/utils/net"
	"k8s.io/utils/ptr"

	"github.com/kube-proxier/kube-proxier/iptables/tracer"
)

// A World is all that the fate of a packet depends on.
type World struct {
	// Config is as in the file; fields that are not set have their defaults.
	Config proxyconfig.KubeProxyConfiguration
	// NodeName is this node's name, Node its object.
	NodeName string
	Node     *corev1.Node
	// Others are the other nodes.
	Others []*corev1.Node
	// Addresses are those of the node's devices.
	Addresses []netip.Addr
	Services  []*corev1.Service
	Slices    []*discoveryv1.EndpointSlice
}

// ipvs tells the mode: it is iptables otherwise.
func (w *World) ipvs() bool { return w.Config.Mode == "ipvs" }

// isNode reports whether an address is on a device of the node.
func (w *World) isNode(a netip.Addr) bool { return a.IsLoopback() || slices.Contains(w.Addresses, a) }

// sentByNode reports whether a process of the node sends the packet, with an
// address of the node.
func (w *World) sentByNode(p tracer.Packet) bool { return w.isNode(p.Src) }

// podsKnown reports whether pods of this node can be told from others, sentByPod
// whether one of them sends the packet.
func (w *World) podsKnown(v4 bool) bool {
	switch w.Config.DetectLocalMode {
	case "BridgeInterface", "InterfaceNamePrefix":
		return true
	default:
		_, ok := firstOf(v4, w.podRanges())
		return ok
	}
}

func (w *World) sentByPod(p tracer.Packet) bool {
	switch w.Config.DetectLocalMode {
	case "BridgeInterface":
		return p.InInterface == w.Config.DetectLocal.BridgeInterface
	case "InterfaceNamePrefix":
		return p.InInterface != "" && strings.HasPrefix(p.InInterface, w.Config.DetectLocal.InterfaceNamePrefix)
	default:
		pods, ok := firstOf(p.Dst.Is4(), w.podRanges())
		return ok && pods.Contains(p.Src)
	}
}

func (w *World) podRanges() []string {
	if w.Config.DetectLocalMode == "NodeCIDR" {
		return w.Node.Spec.PodCIDRs
	}
	return strings.Split(w.Config.ClusterCIDR, ",")
}

// primary is the address the node has for one family: the operator's, the first
// internal, or the first external one.
func (w *World) primary(v4 bool) (netip.Addr, bool) {
	candidates := []string{w.Config.BindAddress}
	for _, kind := range []corev1.NodeAddressType{corev1.NodeInternalIP, corev1.NodeExternalIP} {
		for _, a := range w.Node.Status.Addresses {
			if a.Type == kind {
				candidates = append(candidates, a.Address)
			}
		}
	}
	for _, text := range candidates {
		if a, ok := address(text); ok && a.Is4() == v4 && !a.IsUnspecified() {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// hasNodePorts reports whether node ports are served at an address.
func (w *World) hasNodePorts(a netip.Addr) bool {
	if !w.isNode(a) {
		return false
	}
	if a.IsLoopback() && (a.Is6() || w.ipvs() || !ptr.Deref(w.Config.IPTables.LocalhostNodePorts, true)) {
		return false
	}
	var within []netip.Prefix
	for _, text := range w.Config.NodePortAddresses {
		if text == "primary" {
			if a.IsLoopback() {
				return false
			}
			if ip, ok := w.primary(a.Is4()); ok && !ip.IsLoopback() {
				within = append(within, netip.PrefixFrom(ip, ip.BitLen()))
			}
			continue
		}
		if p, ok := cidr(text); ok && p.Addr().Is4() == a.Is4() {
			within = append(within, p)
		}
	}
	return len(within) == 0 || slices.ContainsFunc(within, func(p netip.Prefix) bool { return p.Contains(a) })
}

// address and cidr read like the API, to which 010.0.0.1 is 10.0.0.1.
func address(text string) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(netutils.ParseIPSloppy(text))
	return a.Unmap(), ok
}

func cidr(text string) (netip.Prefix, bool) {
	_, n, err := netutils.ParseCIDRSloppy(strings.TrimSpace(text))
	if err != nil {
		return netip.Prefix{}, false
	}
	a, _ := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	if a.Is4In6() {
		a, bits = a.Unmap(), bits-96
	}
	return netip.PrefixFrom(a, bits), true
}

// firstOf is the first of the ranges that is of the family.
func firstOf(v4 bool, ranges []string) (netip.Prefix, bool) {
	for _, text := range ranges {
		if p, ok := cidr(text); ok && p.Addr().Is4() == v4 {
			return p, true
		}
	}
	return netip.Prefix{}, false
}
