package ipvs_test

import (
	"context"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/device"
	"github.com/kube-proxier/kube-proxier/ipvs/device/devicetest"
	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// Each address is told once, however many ports and addresses the Service has.
func TestAddressesOfOtherNodesAreToldOnce(t *testing.T) {
	store := clustergen.Uniform(2, 1)
	store.AwaitOtherNodes(true)
	addresses := []string{"172.18.0.12", "172.18.0.13", "203.0.113.7"}
	for i, address := range addresses[:2] {
		store.SetOtherNode(&corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: []string{"node2", "node3"}[i]},
			Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}}},
		})
	}
	store.OtherNodesKnown()
	claiming := store.Snapshot().Services[1].Service.DeepCopy()
	claiming.Spec.ExternalIPs = addresses
	claiming.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: addresses[1]}}
	claiming.Spec.Ports = append(claiming.Spec.Ports, corev1.ServicePort{Name: "more", Port: 8080, Protocol: corev1.ProtocolTCP})
	store.SetService(claiming)
	o := clustergen.Options(proxier.IPv4)
	o.ExternalIPs = true
	var got []string
	for _, p := range ipvs.Compile(nil, proxier.Build(nil, store.Snapshot(), o), options()).Problems {
		got = append(got, p.Name+" "+p.Field+" "+p.Value)
	}
	want := []string{
		"service-1 spec.externalIPs 172.18.0.12", "service-1 spec.externalIPs 172.18.0.13", "service-1 status.loadBalancer.ingress 172.18.0.13",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// A cloud gives a node an address that is on none of its devices. Bound to this node
// it would cut the node off from its own API server there.
func TestNoAddressOfTheNodeObjectIsBound(t *testing.T) {
	store := manifests(t, `
apiVersion: v1
kind: Node
metadata: {name: node1}
status:
  addresses:
  - {type: InternalIP, address: 10.0.0.1}
  - {type: ExternalIP, address: 198.51.100.7}
---
apiVersion: v1
kind: Service
metadata: {namespace: shop, name: web}
spec:
  clusterIP: 10.96.0.10
  externalIPs: [198.51.100.7]
  ports: [{port: 80}]
---
apiVersion: v1
kind: Service
metadata: {namespace: shop, name: odd}
spec:
  clusterIP: 198.51.100.7
  ports: [{port: 81}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: shop, name: web, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.244.1.21], nodeName: node1}]
`)
	internal := netip.MustParseAddr("10.0.0.1")
	options := proxier.Options{Family: proxier.IPv4, NodeName: "node1", ExternalIPs: true}
	state := proxier.Build(nil, store.Snapshot(), options)
	c := ipvs.Compile(nil, state, ipvs.Options{NodeAddresses: []netip.Addr{internal}})
	kernel := devicetest.New(device.NewHost("dummy", nil, []device.Addr{{Addr: internal, Device: "eth0"}}))
	plan, err := device.New(device.NewCached(kernel), proxier.IPv4, func(context.Context, *proxier.State) (want []device.Address, _ error) {
		for _, a := range c.Addresses {
			want = append(want, device.Address(a))
		}
		return want, nil
	}).Plan(t.Context(), state)
	if err != nil {
		t.Fatal(err)
	}
	if have, want := plan.String(), "ip address add 10.96.0.10/32 dev kube-ipvs0\n"; have != want {
		t.Errorf("the device gets %q, want %q", have, want)
	}
	i := slices.IndexFunc(c.Sets, func(s ipset.Set) bool { return s.Name == ipset.Bound })
	if have := c.Sets[i].Entries; len(have) != 1 || have[0].String() != "10.96.0.10" {
		t.Errorf("%s has %v, want 10.96.0.10 alone", ipset.Bound, have)
	}
	const told = `Service shop/web: spec.externalIPs "198.51.100.7": is an address of this node, by its Node object, ` +
		`the rest of which could not be reached from here if it was bound to kube-ipvs0: ` +
		`rules serve all external addresses and node ports of the Service, without IPVS's scheduler`
	if len(c.Problems) != 1 || c.Problems[0].String() != told {
		t.Errorf("told %v, want: %s", c.Problems, told)
	}
}
