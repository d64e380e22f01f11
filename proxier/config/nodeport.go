package config

import (
	"strings"

	proxyconfig "k8s.io/kube-proxy/config/v1alpha1"
)

// nodePortPrimary is the word for the node's primary addresses.
const nodePortPrimary = "primary"

func (v *validator) nodePorts(from *proxyconfig.KubeProxyConfiguration, c *Config) {
	const path, allowed = "nodePortAddresses", "must be CIDRs, such as 192.0.2.0/24, or the single word " + nodePortPrimary
	written := from.NodePortAddresses
	if len(written) == 1 && written[0] == nodePortPrimary {
		c.NodePortPrimary = true
		return
	}
	for _, s := range written {
		if s == nodePortPrimary {
			v.invalid(path, strings.Join(written, ","), nodePortPrimary+" must stand alone: "+allowed)
			return
		}
	}
	c.NodePortAddresses = v.prefixes(path, written, allowed)
}
