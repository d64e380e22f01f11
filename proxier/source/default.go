package source

import (
	corev1 "k8s.io/api/core/v1"
	utilnet "k8s.io/utils/net"
	"k8s.io/utils/ptr"
)

// defaultService does the part of an API server's defaulting that a proxy can
// see (https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/).
func defaultService(spec *corev1.ServiceSpec) {
	if spec.Type == "" {
		spec.Type = corev1.ServiceTypeClusterIP
	}
	for i := range spec.Ports {
		if spec.Ports[i].Protocol == "" {
			spec.Ports[i].Protocol = corev1.ProtocolTCP
		}
	}
	defaultAffinity(spec)
	if spec.Type == corev1.ServiceTypeExternalName {
		return
	}
	if spec.InternalTrafficPolicy == nil {
		spec.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyCluster)
	}
	external := spec.Type == corev1.ServiceTypeNodePort || spec.Type == corev1.ServiceTypeLoadBalancer || len(spec.ExternalIPs) > 0
	if external && spec.ExternalTrafficPolicy == "" {
		spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
	}
}

// defaultAffinity is none, or three hours for ClientIP.
func defaultAffinity(spec *corev1.ServiceSpec) {
	switch spec.SessionAffinity {
	case "":
		spec.SessionAffinity = corev1.ServiceAffinityNone
	case corev1.ServiceAffinityClientIP:
		c := spec.SessionAffinityConfig
		if c == nil {
			c = &corev1.SessionAffinityConfig{}
		}
		if c.ClientIP == nil {
			c.ClientIP = &corev1.ClientIPConfig{}
		}
		if c.ClientIP.TimeoutSeconds == nil {
			c.ClientIP.TimeoutSeconds = ptr.To(corev1.DefaultClientIPServiceAffinitySeconds)
		}
		spec.SessionAffinityConfig = c
	}
}

// familyOf tells the family of an address, read as leniently as the core does.
func familyOf(address string) (corev1.IPFamily, bool) {
	ip := utilnet.ParseIPSloppy(address)
	switch {
	case ip == nil:
		return "", false
	case ip.To4() != nil:
		return corev1.IPv4Protocol, true
	default:
		return corev1.IPv6Protocol, true
	}
}
