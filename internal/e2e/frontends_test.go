package e2e

import (
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// A frontend is where one port of a Service can be reached.
type frontend struct {
	proto string
	to    netip.AddrPort
}

// clusterIPs are the frontends of a Service's ports at its cluster IPs.
func clusterIPs(service *corev1.Service) []frontend {
	return at(parseAddrs(service.Spec.ClusterIPs), service, servicePort)
}

// nodePorts are the frontends at a node's own addresses.
func nodePorts(service *corev1.Service, node *testenv.Node) []frontend {
	return at(node.Addrs(), service, func(p corev1.ServicePort) int32 { return p.NodePort })
}

// balancerIPs are the frontends at a load balancer's addresses.
func balancerIPs(service *corev1.Service) []frontend {
	var ips []string
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		ips = append(ips, ingress.IP)
	}
	return at(parseAddrs(ips), service, servicePort)
}

// externalIPs are the frontends at a Service's external IPs.
func externalIPs(service *corev1.Service) []frontend {
	return at(parseAddrs(service.Spec.ExternalIPs), service, servicePort)
}

func servicePort(p corev1.ServicePort) int32 { return p.Port }

func at(addrs []netip.Addr, service *corev1.Service, number func(corev1.ServicePort) int32) []frontend {
	var all []frontend
	for _, addr := range addrs {
		for _, port := range service.Spec.Ports {
			all = append(all, frontend{
				proto: strings.ToLower(string(port.Protocol)),
				to:    netip.AddrPortFrom(addr, uint16(number(port))), //nolint:gosec // ports are below 65536
			})
		}
	}
	return all
}

func parseAddrs(texts []string) []netip.Addr {
	var addrs []netip.Addr
	for _, text := range texts {
		addrs = append(addrs, netip.MustParseAddr(text))
	}
	return addrs
}

// from are dials to all frontends from each of the hosts.
func from(frontends []frontend, hosts ...*testenv.Host) []testenv.Probe {
	var all []testenv.Probe
	for _, host := range hosts {
		for _, f := range frontends {
			all = append(all, testenv.Probe{From: host, Proto: f.proto, To: f.to})
		}
	}
	return all
}

// everybody are a pod, the node itself and a client outside.
func (s *stage) everybody() []*testenv.Host {
	return []*testenv.Host{s.caller, s.node1.Host, s.Client()}
}
