package proxier

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// ServiceProxyNameLabel on a Service says that another proxy serves it.
const ServiceProxyNameLabel = "service.kubernetes.io/service-proxy-name"

// defaultAffinity is the API's default of sessionAffinityConfig.
const defaultAffinity = 3 * time.Hour

// maxPorts bounds what one Service may ask for; the API has no bound of its
// own, but an object of that size would not fit into etcd.
const maxPorts = 16384

// served reports whether the Service is ours to serve at all.
func served(s *corev1.Service) bool {
	if s == nil || s.Spec.Type == corev1.ServiceTypeExternalName {
		return false
	}
	if _, other := s.Labels[ServiceProxyNameLabel]; other {
		return false
	}
	return s.Spec.ClusterIP != "" && s.Spec.ClusterIP != corev1.ClusterIPNone
}

// serviceReader reads one Service for one family.
type serviceReader struct {
	service  *corev1.Service
	family   Family
	options  Options
	problems []Problem
}

// servicePorts are the ports of a Service as one family sees them, in the
// order of the object; none when it has no ClusterIP of that family.
func servicePorts(service *corev1.Service, family Family, options Options) ([]*ServicePort, []Problem) {
	if !served(service) {
		return nil, nil
	}
	r := serviceReader{service: service, family: family, options: options}
	if !r.named() {
		return nil, r.problems
	}
	clusterIP, ok := r.clusterIP()
	if !ok {
		return nil, r.problems
	}
	common := r.common(clusterIP)
	var ports []*ServicePort
	seen := map[ServicePortName]bool{}
	for i := range service.Spec.Ports {
		if i == maxPorts {
			r.problem("spec.ports", fmt.Sprint(len(service.Spec.Ports)), "has more than %d ports: the rest is not served", maxPorts)
			break
		}
		port, ok := r.port(common, i)
		if !ok {
			continue
		}
		if seen[port.Name] {
			r.problem(fmt.Sprintf("spec.ports[%d].name", i), port.Name.Port, "stands twice for protocol %s: the first one is served", port.Name.Protocol)
			continue
		}
		seen[port.Name] = true
		ports = append(ports, port)
	}
	ports = r.withinBudget(ports)
	return ports, r.problems
}

func (r *serviceReader) problem(field, value, reason string, args ...any) {
	r.problems = append(r.problems, Problem{
		Kind: "Service", Namespace: r.service.Namespace, Name: r.service.Name,
		Field: field, Value: value, Reason: fmt.Sprintf(reason, args...),
	})
}

// named refuses names that would make the text of a ServicePortName stand for
// two. The API server lets no such name in, a file may.
func (r *serviceReader) named() bool {
	for _, f := range [][2]string{{"metadata.namespace", r.service.Namespace}, {"metadata.name", r.service.Name}} {
		field, name := f[0], f[1]
		if strings.ContainsAny(name, "/:") {
			r.problem(field, name, "must not contain / or : (lower case letters, digits, - and . are allowed): the Service is not served")
			return false
		}
	}
	return true
}

// clusterIP finds the family's ClusterIP: by ipFamilies, or for an object from
// before dual stack by the family of its only address.
func (r *serviceReader) clusterIP() (netip.Addr, bool) {
	spec := &r.service.Spec
	value, field := spec.ClusterIP, "spec.clusterIP"
	if len(spec.IPFamilies) > 0 {
		i := slices.Index(spec.IPFamilies, corev1.IPFamily(r.family))
		switch {
		case i < 0:
			return netip.Addr{}, false
		case i < len(spec.ClusterIPs):
			value, field = spec.ClusterIPs[i], fmt.Sprintf("spec.clusterIPs[%d]", i)
		case i > 0 || len(spec.ClusterIPs) > 0:
			return netip.Addr{}, false
		}
	}
	addr, ok := parseAddr(value)
	if !ok {
		r.problem(field, value, "is not an IP address: the Service is not served over %s", r.family)
		return netip.Addr{}, false
	}
	if FamilyOf(addr) != r.family {
		if len(spec.IPFamilies) > 0 {
			r.problem(field, value, "is not an %s address, as spec.ipFamilies says: the Service is not served over %s", r.family, r.family)
		}
		return netip.Addr{}, false
	}
	return addr, r.usable(field, addr)
}

// usable refuses addresses that would take over traffic of the node itself.
func (r *serviceReader) usable(field string, addr netip.Addr) bool {
	if addr.IsUnspecified() || addr.IsLoopback() || addr.IsMulticast() || addr.IsLinkLocalUnicast() {
		r.problem(field, addr.String(), "must not be unspecified, loopback, multicast or link-local: it is not served")
		return false
	}
	return true
}

// common is what all ports of the Service share.
func (r *serviceReader) common(clusterIP netip.Addr) ServicePort {
	s := r.service
	p := ServicePort{
		Name:      ServicePortName{NamespacedName: types.NamespacedName{Namespace: s.Namespace, Name: s.Name}},
		Created:   s.CreationTimestamp.Time,
		ClusterIP: clusterIP,

		LoadBalancerIPs: r.loadBalancerIPs(),
		SourceRanges:    r.sourceRanges(),
		Affinity:        r.affinity(),
		Scheduler:       r.scheduler(),
		InternalLocal:   ptr.Deref(s.Spec.InternalTrafficPolicy, corev1.ServiceInternalTrafficPolicyCluster) == corev1.ServiceInternalTrafficPolicyLocal,
		ExternalLocal:   externalLocal(s),
	}
	if r.options.ExternalIPs {
		p.ExternalIPs = r.addrs("spec.externalIPs[%d]", s.Spec.ExternalIPs)
	}
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer && p.ExternalLocal {
		switch port := s.Spec.HealthCheckNodePort; {
		case port == 0:
			r.problem("spec.healthCheckNodePort", "0", "must be set for externalTrafficPolicy Local: there is no health check")
		case port < 0 || port > 65535:
			r.problem("spec.healthCheckNodePort", fmt.Sprint(port), "is not a port number (1 to 65535): there is no health check")
		default:
			p.HealthCheckNodePort = uint16(port)
		}
	}
	return p
}

// externalLocal reports whether externalTrafficPolicy Local counts, which it
// only does for Services that can be reached from outside.
func externalLocal(s *corev1.Service) bool {
	if s.Spec.ExternalTrafficPolicy != corev1.ServiceExternalTrafficPolicyLocal {
		return false
	}
	switch s.Spec.Type {
	case corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort:
		return true
	default:
		return len(s.Spec.ExternalIPs) > 0
	}
}

func (r *serviceReader) loadBalancerIPs() []netip.Addr {
	var texts []string
	for _, ingress := range r.service.Status.LoadBalancer.Ingress {
		texts = append(texts, servedIP(ingress))
	}
	return r.addrs("status.loadBalancer.ingress[%d].ip", texts)
}

// servedIP is the address at which nodes serve; empty where there is only a name, and
// with ipMode Proxy, where the balancer wants to see the traffic (KEP-1860).
func servedIP(ingress corev1.LoadBalancerIngress) string {
	if ptr.Deref(ingress.IPMode, corev1.LoadBalancerIPModeVIP) != corev1.LoadBalancerIPModeVIP {
		return ""
	}
	return ingress.IP
}

// claimsAddresses reports whether a Service asks for external or load balancer
// addresses that would be served.
func claimsAddresses(s *corev1.Service, externalIPs bool) bool {
	if !served(s) {
		return false
	}
	return externalIPs && len(s.Spec.ExternalIPs) > 0 ||
		slices.ContainsFunc(s.Status.LoadBalancer.Ingress, func(i corev1.LoadBalancerIngress) bool { return servedIP(i) != "" })
}

// addrs are the addresses of the family, without repetition.
func (r *serviceReader) addrs(field string, texts []string) []netip.Addr {
	var addrs []netip.Addr
	seen := map[netip.Addr]bool{} // there may be many
	for i, text := range texts {
		if text == "" {
			continue
		}
		addr, ok := parseAddr(text)
		if !ok {
			r.problem(fmt.Sprintf(field, i), text, "is not an IP address: it is not served")
			continue
		}
		if FamilyOf(addr) == r.family && r.usable(fmt.Sprintf(field, i), addr) && !seen[addr] {
			seen[addr] = true
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// sourceRanges are nil when nobody is kept out: no range of this family, or
// one that contains every address.
func (r *serviceReader) sourceRanges() []netip.Prefix {
	var ranges []netip.Prefix
	seen := map[netip.Prefix]bool{}
	for i, text := range r.service.Spec.LoadBalancerSourceRanges {
		prefix, ok := parsePrefix(strings.TrimSpace(text))
		if !ok {
			r.problem(fmt.Sprintf("spec.loadBalancerSourceRanges[%d]", i), text, "is not a CIDR such as 192.0.2.0/24: it is left out")
			continue
		}
		if FamilyOf(prefix.Addr()) != r.family {
			continue
		}
		if prefix.Bits() == 0 {
			return nil
		}
		if !seen[prefix] {
			seen[prefix] = true
			ranges = append(ranges, prefix)
		}
	}
	return ranges
}

// affinity is the API's timeout; the API fills it in, files may not.
func (r *serviceReader) affinity() time.Duration {
	s := r.service
	if s.Spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		return 0
	}
	c := s.Spec.SessionAffinityConfig
	if c == nil || c.ClientIP == nil || c.ClientIP.TimeoutSeconds == nil {
		return defaultAffinity
	}
	seconds := *c.ClientIP.TimeoutSeconds
	if seconds < 1 || seconds > 86400 {
		r.problem("spec.sessionAffinityConfig.clientIP.timeoutSeconds", fmt.Sprint(seconds), "must be 1 to 86400: %d is used", int(defaultAffinity.Seconds()))
		return defaultAffinity
	}
	return time.Duration(seconds) * time.Second
}

// scheduler is the annotation's, if there is such a scheduler.
func (r *serviceReader) scheduler() string {
	name := r.service.Annotations[SchedulerAnnotation]
	if name != "" && !slices.Contains(Schedulers, name) {
		r.problem("metadata.annotations["+SchedulerAnnotation+"]", name, "must be one of %s: the node's default is used", strings.Join(Schedulers, ", "))
		return ""
	}
	return name
}

// port reads port i of the object.
func (r *serviceReader) port(common ServicePort, i int) (*ServicePort, bool) {
	from := &r.service.Spec.Ports[i]
	field := func(name string) string { return fmt.Sprintf("spec.ports[%d].%s", i, name) }
	protocol := from.Protocol
	switch protocol {
	case "":
		protocol = corev1.ProtocolTCP
	case corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP:
	default:
		r.problem(field("protocol"), string(from.Protocol), "must be TCP, UDP or SCTP: the port is not served")
		return nil, false
	}
	if from.Port < 1 || from.Port > 65535 {
		r.problem(field("port"), fmt.Sprint(from.Port), "is not a port number (1 to 65535): the port is not served")
		return nil, false
	}
	p := common
	p.Name.Port, p.Name.Protocol, p.Port = from.Name, protocol, uint16(from.Port)
	if from.NodePort < 0 || from.NodePort > 65535 {
		r.problem(field("nodePort"), fmt.Sprint(from.NodePort), "is not a port number (1 to 65535): it is not served")
	} else {
		p.NodePort = uint16(from.NodePort)
	}
	return &p, true
}
