package clustergen

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// A Crowd is a small cluster in which everything meets: a handful of Services
// that want each other's addresses and ports, all policies, all conditions of
// endpoints, on a node that is configured in some way.
type Crowd struct {
	// Config are fields of a KubeProxyConfiguration.
	Config map[string]any
	Node   *corev1.Node
	// Others are further nodes, Devices the addresses of Node's devices where they are
	// not those of its object.
	Others   []*corev1.Node
	Devices  []string
	Services []*corev1.Service
	Slices   []*discoveryv1.EndpointSlice
}

// NewCrowd is the crowd of a seed. Names are such that an API server takes them.
func NewCrowd(seed uint64) *Crowd {
	g := crowdMaker{Random: Random{r: rand.New(rand.NewPCG(seed, 2))}}
	c := &Crowd{Config: g.config(), Node: g.node()}
	if g.chance(20) {
		c.Others = []*corev1.Node{nodeAt("node2", node2Addresses...)}
		g.elsewhere = node2Addresses
	}
	if g.chance(20) {
		c.Devices = g.devices(c.Node)
	}
	for i := range 1 + g.r.IntN(6) {
		s := g.service(i)
		c.Services = append(c.Services, s)
		c.Slices = append(c.Slices, g.slices(s)...)
	}
	return c
}

// node2Addresses are those of the other node, where there is one.
var node2Addresses = []string{"172.18.0.12", "fd00:172:18::12"} //nolint:gochecknoglobals // a constant list

type crowdMaker struct {
	Random

	// elsewhere are addresses of other nodes.
	elsewhere []string
}

// maybe is one of the values, or nil in as many percent of cases.
func maybe[T any](g *crowdMaker, percent int, values ...T) *T {
	if g.chance(percent) {
		return nil
	}
	return ptr.To(pick(g.r, values...))
}

func (g *crowdMaker) config() map[string]any {
	c := map[string]any{}
	switch g.r.IntN(6) {
	case 0:
		c["detectLocalMode"] = "NodeCIDR"
	case 1:
		c["detectLocalMode"], c["detectLocal"] = "BridgeInterface", map[string]any{"bridgeInterface": "veth0"}
	case 2:
		c["detectLocalMode"], c["detectLocal"] = "InterfaceNamePrefix", map[string]any{"interfaceNamePrefix": "veth"}
	default:
		c["clusterCIDR"] = pick(g.r, "10.244.0.0/16,fd00:10:244::/56", "fd00:10:244::/56,10.244.0.0/16", "10.244.0.0/16", "fd00:10:244::/56", "")
	}
	iptables := map[string]any{}
	if g.chance(25) {
		iptables["masqueradeAll"] = true
	}
	if g.chance(25) {
		iptables["localhostNodePorts"] = g.chance(50)
	}
	if len(iptables) > 0 {
		c["iptables"] = iptables
	}
	if g.chance(40) {
		c["nodePortAddresses"] = pick(g.r, []string{"primary"}, []string{"172.18.0.0/24"}, []string{"172.18.0.11/32", "fd00:172:18::/64"},
			[]string{"127.0.0.0/8"}, []string{"64.0.0.0/2", "fd00:172:18::11/128"}, []string{"172.18.0.0/24", "0.0.0.0/0"}, []string{"192.0.2.255/32", "::/0"})
	}
	if g.chance(15) {
		c["featureGates"] = map[string]any{"AllowServiceExternalIPs": false}
	}
	if g.chance(15) {
		c["bindAddress"] = pick(g.r, "172.18.1.11", "fd00:172:18::11")
	}
	return c
}

func (g *crowdMaker) node() *corev1.Node {
	n := nodeAt(NodeName, "172.18.0.11", "fd00:172:18::11", "172.18.1.11")
	if zone := maybe(g, 20, "zone-a", "zone-a", "zone-b", ""); zone != nil {
		n.Labels = map[string]string{corev1.LabelTopologyZone: *zone}
	}
	n.Spec.PodCIDRs = pick(g.r, []string{"10.244.1.0/24", "fd00:10:244:1::/64"}, []string{"10.244.1.0/24"}, []string{"fd00:10:244:1::/64", "10.244.1.0/24"}, nil)
	if g.chance(20) { // a balancer that announces its address from the node
		n.Status.Addresses = append(n.Status.Addresses, externalAddress)
	}
	return n
}

// externalAddress is one that Services claim, too.
var externalAddress = corev1.NodeAddress{Type: corev1.NodeExternalIP, Address: "203.0.113.1"} //nolint:gochecknoglobals // a constant

func nodeAt(name string, internal ...string) *corev1.Node {
	n := &corev1.Node{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
	}
	for _, a := range internal {
		n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a})
	}
	return n
}

// devices are those of a node in a cloud, which translates the address in the object
// on the way, where a balancer has put another one.
func (g *crowdMaker) devices(n *corev1.Node) []string {
	var list []string
	for _, a := range n.Status.Addresses {
		if a != externalAddress {
			list = append(list, a.Address)
		}
	}
	if len(list) == len(n.Status.Addresses) {
		n.Status.Addresses = append(n.Status.Addresses, externalAddress)
	}
	return append(list, "203.0.113.2")
}

func (g *crowdMaker) service(i int) *corev1.Service {
	s := &corev1.Service{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pick(g.r, "shop", "site"), Name: fmt.Sprintf("web%d", i),
			CreationTimestamp: metav1.Unix(1700000000+int64(g.r.IntN(3)), 0),
		},
	}
	if g.chance(4) {
		s.Labels = map[string]string{"service.kubernetes.io/service-proxy-name": pick(g.r, "", "other")}
	}
	g.addresses(i, s)
	spec := &s.Spec
	spec.Type = pick(g.r, corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeLoadBalancer)
	if g.chance(3) {
		spec.Type = corev1.ServiceTypeExternalName
	}
	spec.ExternalTrafficPolicy = pick(g.r, "", corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal)
	spec.InternalTrafficPolicy = maybe(g, 30, corev1.ServiceInternalTrafficPolicyCluster, corev1.ServiceInternalTrafficPolicyLocal)
	if g.chance(25) {
		spec.SessionAffinity = corev1.ServiceAffinityClientIP
	}
	if g.chance(30) {
		spec.TrafficDistribution = ptr.To(pick(g.r, "PreferClose", "PreferSameZone", "PreferSameNode")) // only the hints count
	}
	for p := range 1 + g.r.IntN(3) {
		port := corev1.ServicePort{
			Name: fmt.Sprintf("p%d", p), Port: pick[int32](g.r, 80, 80, 443, 30080),
			Protocol: pick(g.r, corev1.ProtocolTCP, corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP),
		}
		if p == 0 && g.chance(20) {
			port.Name = ""
		}
		if spec.Type != corev1.ServiceTypeClusterIP && !g.chance(20) {
			port.NodePort = pick[int32](g.r, 30080, 30081, 30082)
		}
		spec.Ports = append(spec.Ports, port)
	}
	if spec.Type == corev1.ServiceTypeLoadBalancer {
		spec.HealthCheckNodePort = int32(32000 + i)
	}
	return s
}

// addresses are those of both families, some of them others' or impossible.
func (g *crowdMaker) addresses(i int, s *corev1.Service) {
	spec := &s.Spec
	if g.chance(10) {
		i = 0 // as in a mix of two clusters' objects
	}
	v4, v6 := fmt.Sprintf("10.96.0.%d", i+1), fmt.Sprintf("fd00:10:96::%x", i+1)
	switch g.r.IntN(8) {
	case 0:
		spec.ClusterIP = pick(g.r, v4, v6) // from before dual stack
	case 1:
		spec.IPFamilies, spec.ClusterIP, spec.ClusterIPs = []corev1.IPFamily{corev1.IPv6Protocol, corev1.IPv4Protocol}, v6, []string{v6, v4}
	case 2:
		spec.IPFamilies, spec.ClusterIP, spec.ClusterIPs = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}, v4, []string{v4}
	default:
		spec.IPFamilies, spec.ClusterIP, spec.ClusterIPs = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}, v4, []string{v4, v6}
	}
	if g.chance(4) {
		spec.ClusterIP, spec.ClusterIPs, spec.IPFamilies = corev1.ClusterIPNone, []string{corev1.ClusterIPNone}, nil
	}
	public := []string{"203.0.113.1", "203.0.113.2", "2001:db8:113::1", "2001:db8:113::2"}
	if g.chance(40) {
		for range 1 + g.r.IntN(2) {
			others := append(slices.Concat(public, g.elsewhere, g.elsewhere), "172.18.0.11", "fd00:172:18::11", "10.96.0.1", "fd00:10:96::1", "127.0.0.1", "fe80::1", "203.000.113.001")
			spec.ExternalIPs = append(spec.ExternalIPs, pick(g.r, append(others, public...)...))
		}
	}
	if g.chance(50) {
		for range 1 + g.r.IntN(2) {
			ingress := corev1.LoadBalancerIngress{IP: pick(g.r, append(public, g.elsewhere...)...), IPMode: maybe(g, 50, corev1.LoadBalancerIPModeVIP, corev1.LoadBalancerIPModeVIP, corev1.LoadBalancerIPModeProxy)}
			if g.chance(5) {
				ingress = corev1.LoadBalancerIngress{Hostname: "balancer.example"}
			}
			s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, ingress)
		}
	}
	if g.chance(30) {
		for range 1 + g.r.IntN(3) {
			spec.LoadBalancerSourceRanges = append(spec.LoadBalancerSourceRanges, pick(g.r, "192.0.2.0/24", "2001:db8:2::/48",
				" 10.244.0.0/16 ", "fd00:10:244::/56", "172.18.0.11/24", "fd00:172:18::/64", "203.0.113.1/32", "0.0.0.0/0", "::/0", "nobody"))
		}
	}
}

// slices of the Service, both families. What a pod is, where it runs and what it
// is hinted for, does not depend on the slice that says so: slices that contradict
// each other in that leave open what is true.
func (g *crowdMaker) slices(s *corev1.Service) []*discoveryv1.EndpointSlice {
	var list []*discoveryv1.EndpointSlice
	pods := g.pods()
	for _, family := range []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6} {
		for n := range g.r.IntN(4) {
			slice := &discoveryv1.EndpointSlice{
				TypeMeta: metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSlice"},
				ObjectMeta: metav1.ObjectMeta{
					Namespace: s.Namespace, Name: fmt.Sprintf("%s-%s-%d", s.Name, strings.ToLower(string(family)), n),
					Labels: map[string]string{discoveryv1.LabelServiceName: s.Name},
				},
				AddressType: family,
				Ports:       g.slicePorts(s),
			}
			if g.chance(4) {
				slice.Labels[corev1.IsHeadlessService] = ""
			}
			for range g.r.IntN(6) {
				slice.Endpoints = append(slice.Endpoints, g.endpoint(pick(g.r, pods...), family))
			}
			list = append(list, slice)
		}
	}
	return list
}

func (g *crowdMaker) slicePorts(s *corev1.Service) []discoveryv1.EndpointPort {
	var list []discoveryv1.EndpointPort
	for _, p := range s.Spec.Ports {
		switch g.r.IntN(12) {
		case 0: // the pods do not have it
		case 1:
			list = append(list, discoveryv1.EndpointPort{Name: ptr.To(p.Name + "x"), Port: &p.Port, Protocol: &p.Protocol})
		default:
			number := pick[int32](g.r, 8080, 8080, p.Port, 8081)
			list = append(list, discoveryv1.EndpointPort{Name: ptr.To(p.Name), Port: &number, Protocol: &p.Protocol})
		}
	}
	return list
}

// A crowdPod is a pod by its number: on node1 to node3, two on each; the first
// ones are in the host network.
type crowdPod struct {
	node, number int
	name         *string
	hints        *discoveryv1.EndpointHints
}

func (g *crowdMaker) pods() []crowdPod {
	var list []crowdPod
	everyHint := g.chance(60)
	hinted := g.r.IntN(4)
	for node := 1; node <= 3; node++ {
		for number := range 3 {
			pod := crowdPod{node: node, number: number, name: ptr.To(fmt.Sprintf("node%d", node))}
			if g.chance(5) {
				pod.name = maybe(g, 50, "Node1")
			}
			if hinted > 0 && (everyHint || g.chance(80)) {
				pod.hints = g.hints(hinted)
			}
			list = append(list, pod)
		}
	}
	return list
}

// hints of kind 1 are for zones, of kind 2 for nodes, of kind 3 for both.
func (g *crowdMaker) hints(kind int) *discoveryv1.EndpointHints {
	h := &discoveryv1.EndpointHints{}
	if kind&1 != 0 {
		for range 1 + g.r.IntN(2) {
			h.ForZones = append(h.ForZones, discoveryv1.ForZone{Name: pick(g.r, "zone-a", "zone-b", "zone-c")})
		}
	}
	if kind&2 != 0 {
		h.ForNodes = append(h.ForNodes, discoveryv1.ForNode{Name: pick(g.r, "node1", "node2", "node3")})
	}
	return h
}

func (g *crowdMaker) endpoint(pod crowdPod, family discoveryv1.AddressType) discoveryv1.Endpoint {
	addr := fmt.Sprintf("10.244.%d.%d", pod.node, 20+pod.number)
	if family == discoveryv1.AddressTypeIPv6 {
		addr = fmt.Sprintf("fd00:10:244:%d::%d", pod.node, 20+pod.number)
	}
	if pod.number == 0 { // in the host network
		addr = fmt.Sprintf("172.18.0.1%d", pod.node)
		if family == discoveryv1.AddressTypeIPv6 {
			addr = fmt.Sprintf("fd00:172:18::1%d", pod.node)
		}
	}
	yes := func(percent int) *bool { return maybe(g, 15, g.chance(percent)) }
	return discoveryv1.Endpoint{
		Addresses:  []string{addr},
		Conditions: discoveryv1.EndpointConditions{Ready: yes(60), Serving: yes(75), Terminating: yes(35)},
		NodeName:   pod.name, Hints: pod.hints,
	}
}
