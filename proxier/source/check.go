package source

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// A checker reads one object and does the checks of an API server on which a
// proxy relies: names, and what must be there at all. Values that the core
// reads leniently, such as addresses, it checks itself.
type checker struct {
	content *content
	// path is where the object stands in its document; empty for all of it.
	path string
	// object is a Problem that names the object.
	object proxier.Problem
}

func (c *checker) problem(field, value, reason string, args ...any) {
	p := c.object
	p.Field, p.Value, p.Reason = join(c.path, field), value, fmt.Sprintf(reason, args...)
	c.content.add(p)
}

// keep adds an object that is in order.
func (c *checker) keep(object metav1.Object) {
	c.content.items = append(c.content.items, item{c.object.Kind, object, c.object.Where})
}

// decode fills object and checks its name; false means it is left out.
func (c *checker) decode(raw []byte, object metav1.Object, validName func(string) []string) bool {
	if err := utiljson.Unmarshal(raw, object); err != nil {
		field, reason := typeError(err)
		c.problem(field, "", "%s: the object is left out", reason)
		return false
	}
	namespace := c.object.Namespace
	object.SetNamespace(namespace)
	switch name := object.GetName(); {
	case name == "":
		c.problem("metadata.name", "", "is missing: the object is left out")
		return false
	case len(validName(name)) > 0:
		c.problem("metadata.name", name, "must be a DNS name of lower case letters, digits and '-': the object is left out")
		return false
	}
	if namespace != "" && len(validation.IsDNS1123Label(namespace)) > 0 {
		c.problem("metadata.namespace", namespace, "must be lower case letters, digits and '-', at most 63: the object is left out")
		return false
	}
	return true
}

func (c *checker) service(raw []byte) {
	s := &corev1.Service{}
	if !c.decode(raw, s, validation.IsDNS1123Label) || !c.clusterIPs(&s.Spec) {
		return
	}
	if _, other := s.Labels[proxier.ServiceProxyNameLabel]; other || s.Spec.ClusterIP == corev1.ClusterIPNone {
		return // an API server would not send it to a proxy
	}
	defaultService(&s.Spec)
	s.Spec.Ports = keepPorts(s.Spec.Ports, func(i int, p corev1.ServicePort) bool {
		return c.portName(fmt.Sprintf("spec.ports[%d].name", i), p.Name)
	})
	stripService(s)
	c.keep(s)
}

// clusterIPs fills clusterIP and clusterIPs from each other and derives the
// families; false means that the Service has nowhere to be served.
func (c *checker) clusterIPs(spec *corev1.ServiceSpec) bool {
	if spec.Type == corev1.ServiceTypeExternalName {
		return true
	}
	switch {
	case spec.ClusterIP == "" && len(spec.ClusterIPs) == 0:
		c.problem("spec.clusterIP", "", "is missing, and there is no API server to allocate one: the Service is not served")
		return false
	case len(spec.ClusterIPs) == 0:
		spec.ClusterIPs = []string{spec.ClusterIP}
	case spec.ClusterIP == "":
		spec.ClusterIP = spec.ClusterIPs[0]
	case spec.ClusterIP != spec.ClusterIPs[0]:
		c.problem("spec.clusterIPs[0]", spec.ClusterIPs[0], "must be the same as spec.clusterIP (%q): the Service is not served", spec.ClusterIP)
		return false
	}
	if spec.ClusterIP == corev1.ClusterIPNone {
		return true
	}
	families := make([]corev1.IPFamily, 0, len(spec.ClusterIPs))
	for i, ip := range spec.ClusterIPs {
		family, ok := familyOf(ip)
		if !ok {
			c.problem(fmt.Sprintf("spec.clusterIPs[%d]", i), ip, "is not an IP address: the Service is not served")
			return false
		}
		families = append(families, family)
	}
	if len(families) > 2 || len(families) == 2 && families[0] == families[1] {
		c.problem("spec.clusterIPs", fmt.Sprint(spec.ClusterIPs), "must be at most one address of each family: the Service is not served")
		return false
	}
	if len(spec.IPFamilies) == 0 {
		spec.IPFamilies = families
	}
	return true
}

func (c *checker) endpointSlice(raw []byte) {
	s := &discoveryv1.EndpointSlice{}
	if !c.decode(raw, s, validation.IsDNS1123Subdomain) {
		return
	}
	if _, headless := s.Labels[corev1.IsHeadlessService]; headless {
		return // an API server would not send it to a proxy
	}
	const label = "metadata.labels[" + discoveryv1.LabelServiceName + "]"
	switch service := s.Labels[discoveryv1.LabelServiceName]; {
	case service == "":
		c.problem(label, "", "is missing: the slice belongs to no Service and is not used")
		return
	case len(validation.IsDNS1123Label(service)) > 0:
		c.problem(label, service, "is not the name of a Service: the slice is not used")
		return
	}
	switch s.AddressType {
	case discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6, discoveryv1.AddressTypeFQDN:
	default:
		c.problem("addressType", string(s.AddressType), "must be IPv4, IPv6 or FQDN: the slice is not used")
		return
	}
	defaultEndpointSlice(s)
	s.Ports = keepPorts(s.Ports, func(i int, p discoveryv1.EndpointPort) bool {
		return c.portName(fmt.Sprintf("ports[%d].name", i), *p.Name) && c.protocol(fmt.Sprintf("ports[%d].protocol", i), *p.Protocol)
	})
	stripEndpointSlice(s)
	c.keep(s)
}

func (c *checker) node(raw []byte) {
	n := &corev1.Node{}
	if c.decode(raw, n, validation.IsDNS1123Subdomain) {
		stripNode(n)
		c.keep(n)
	}
}

// portName checks what a port may be called; no name is fine.
func (c *checker) portName(field, name string) bool {
	if name == "" || len(validation.IsDNS1123Label(name)) == 0 {
		return true
	}
	c.problem(field, name, "must be lower case letters, digits and '-', at most 63: the port is left out")
	return false
}

func (c *checker) protocol(field string, protocol corev1.Protocol) bool {
	switch protocol {
	case corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP:
		return true
	}
	c.problem(field, string(protocol), "must be TCP, UDP or SCTP: the port is left out")
	return false
}

func keepPorts[P any](ports []P, ok func(int, P) bool) []P {
	kept := ports[:0]
	for i, p := range ports {
		if ok(i, p) {
			kept = append(kept, p)
		}
	}
	return kept
}

// defaultEndpointSlice does an API server's defaulting. The conditions are
// left as they are: what an absent one means is for its reader to say.
func defaultEndpointSlice(s *discoveryv1.EndpointSlice) {
	for i := range s.Ports {
		p := &s.Ports[i]
		p.Name = ptr.To(ptr.Deref(p.Name, ""))
		if ptr.Deref(p.Protocol, "") == "" {
			p.Protocol = ptr.To(corev1.ProtocolTCP)
		}
	}
}
