package ipvstests

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/source"
)

// nodeManifests are the nodes of the test network.
const nodeManifests = testenv.Node1Manifest + `apiVersion: v1
kind: Node
metadata: {name: node2}
status:
  addresses:
  - {type: InternalIP, address: 172.18.0.12}
  - {type: InternalIP, address: "fd00:172:18::12"}
---
`

// A service is shop/NAME, with port 80 for each protocol, and endpoints that
// listen on 8080.
type service struct {
	name string
	// number is the last part of its addresses: 10.96.0.N, 203.0.113.N and
	// port 30000+N, and the same for IPv6.
	number int
	// protocols; TCP and UDP if there are none.
	protocols []string
	// annotations are lines of YAML; spec is further lines of the spec.
	annotations, spec string
	endpoints         []endpoint
	// external are further external IPs.
	external []string
	// weights is the annotation of the EndpointSlices.
	weights string
}

type endpoint struct {
	addr netip.Addr
	node string
}

// manifests writes the Service and its EndpointSlices. Each Service has all
// kinds of addresses.
func (s service) manifests() string {
	protocols := s.protocols
	if protocols == nil {
		protocols = []string{"TCP", "UDP"}
	}
	also := ""
	for _, addr := range s.external {
		also += fmt.Sprintf(", %q", addr)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: v1
kind: Service
metadata:
  namespace: shop
  name: %[1]s
  annotations:
    of: test
%[3]sspec:
  type: LoadBalancer
  clusterIP: 10.96.0.%[2]d
  clusterIPs: [10.96.0.%[2]d, "fd00:10:96::%[2]d"]
  ipFamilies: [IPv4, IPv6]
  externalIPs: [203.0.113.1%02[2]d, "2001:db8:113::1%02[2]d"%[5]s]
%[4]s  ports:
`, s.name, s.number, s.annotations, s.spec, also)
	ports := ""
	for _, p := range protocols {
		fmt.Fprintf(&b, "  - {name: %[1]s, protocol: %[2]s, port: 80, targetPort: 8080, nodePort: %[3]d}\n", strings.ToLower(p), p, 30000+s.number)
		ports += fmt.Sprintf("- {name: %s, protocol: %s, port: 8080}\n", strings.ToLower(p), p)
	}
	fmt.Fprintf(&b, `status:
  loadBalancer:
    ingress: [{ip: 203.0.113.%[1]d}, {ip: "2001:db8:113::%[1]d"}]
---
`, s.number)
	for _, family := range proxier.Families {
		fmt.Fprintf(&b, `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  namespace: shop
  name: %[1]s-%[2]s
  labels: {kubernetes.io/service-name: %[1]s}
  annotations: {%[5]s: %[6]q}
addressType: %[3]s
ports:
%[4]sendpoints:
`, s.name, strings.ToLower(string(family)), family, ports, proxier.WeightsAnnotation, s.weights)
		none := "  []\n"
		for _, e := range s.endpoints {
			if proxier.FamilyOf(e.addr) == family {
				fmt.Fprintf(&b, "- {addresses: [%q], nodeName: %s}\n", e.addr, e.node)
				none = ""
			}
		}
		b.WriteString(none + "---\n")
	}
	return b.String()
}

// fill brings a store from the Services it had to these.
func fill(t *testing.T, store *proxier.Store, before, services []service) {
	t.Helper()
	text := nodeManifests
	for _, s := range services {
		text += s.manifests()
	}
	m := source.Manifests{Path: source.Stdin, In: strings.NewReader(text), NodeName: "node1"}
	objects, problems, err := m.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
	for _, s := range before {
		if !slices.ContainsFunc(services, func(n service) bool { return n.name == s.name }) {
			store.DeleteService(types.NamespacedName{Namespace: "shop", Name: s.name})
		}
	}
	source.Fill(store, objects)
	store.SetSynced()
}
