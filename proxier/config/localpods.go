package config

import (
	"fmt"
	"net/netip"
	"strings"

	proxyconfig "k8s.io/kube-proxy/config/v1alpha1"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// localPods reads how this node's pods are told from other clients.
func (v *validator) localPods(from *proxyconfig.KubeProxyConfiguration, c *Config) {
	const bridge, prefix, cidr = "detectLocal.bridgeInterface", "detectLocal.interfaceNamePrefix", "clusterCIDR"
	c.LocalPodsMode = proxier.LocalPodsMode(from.DetectLocalMode)
	used := ""
	switch c.LocalPodsMode {
	case proxier.ByClusterCIDR:
		used = cidr
		c.ClusterCIDRs = v.clusterCIDRs(from.ClusterCIDR)
	case proxier.ByNodeCIDR:
	case proxier.ByBridgeInterface:
		used, c.PodInterface = bridge, from.DetectLocal.BridgeInterface
		v.podInterface(bridge, c, "an interface's name", maxInterfaceName)
	case proxier.ByInterfacePrefix:
		used, c.PodInterface = prefix, from.DetectLocal.InterfaceNamePrefix
		v.podInterface(prefix, c, "the beginning of interfaces' names", maxInterfacePrefix)
	default:
		v.invalid("detectLocalMode", from.DetectLocalMode, fmt.Sprintf("must be %s, %s, %s or %s",
			proxier.ByClusterCIDR, proxier.ByNodeCIDR, proxier.ByBridgeInterface, proxier.ByInterfacePrefix))
		return
	}
	for _, path := range []string{cidr, bridge, prefix} {
		if v.written[path] && path != used {
			v.warn(path, fmt.Sprintf("has no effect with detectLocalMode %s", c.LocalPodsMode))
		}
	}
}

const (
	// maxInterfaceName is the longest name Linux gives an interface (IFNAMSIZ
	// without its terminating zero).
	maxInterfaceName = 15
	// maxInterfacePrefix leaves room for the "+" that iptables has behind a prefix.
	maxInterfacePrefix = maxInterfaceName - 1
)

// podInterface checks the interface, or the interfaces, that the mode goes by.
func (v *validator) podInterface(path string, c *Config, what string, longest int) {
	switch name := c.PodInterface; {
	case name == "":
		v.invalid(path, name, fmt.Sprintf("must not be empty with detectLocalMode %s", c.LocalPodsMode))
	case len(name) > longest || strings.ContainsFunc(name, notInInterfaceName):
		v.invalid(path, name, fmt.Sprintf("must be %s: at most %d printable characters without spaces, '/', ':', '+' and quotes", what, longest))
	}
}

// notInInterfaceName are characters the kernel refuses in interface names, and
// those that mean something else to iptables.
func notInInterfaceName(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune(`/:+"'\`, r)
}

func (v *validator) clusterCIDRs(list string) []netip.Prefix {
	if strings.TrimSpace(list) == "" {
		return nil
	}
	const allowed = "must be one CIDR, or one of each family separated by a comma, such as 10.244.0.0/16,fd00:10:244::/56"
	parts := strings.Split(list, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	prefixes := v.prefixes("clusterCIDR", parts, allowed)
	seen := map[proxier.Family]bool{}
	for _, p := range prefixes {
		family := proxier.FamilyOf(p.Addr())
		if seen[family] {
			v.invalid("clusterCIDR", list, "has more than one "+string(family)+" range: "+allowed)
			break
		}
		seen[family] = true
	}
	return prefixes
}
