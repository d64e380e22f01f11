package kerneltest

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/source"
)

// service writes the manifests of shop/NAME: one port, 80 to 8080.
type service struct {
	name     string
	protocol string // "TCP" or "UDP"
	ips      [2]string
	spec     string // further lines of the spec, indented by two
	// endpoints are addresses of either family.
	endpoints []netip.Addr
}

func (s service) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: v1
kind: Service
metadata: {namespace: shop, name: %[1]s}
spec:
  clusterIP: %[2]q
  clusterIPs: [%[2]q, %[3]q]
  ipFamilies: [IPv4, IPv6]
  ports: [{protocol: %[4]s, port: 80, targetPort: 8080}]
%[5]s---
`, s.name, s.ips[0], s.ips[1], s.protocol, s.spec)
	for _, family := range proxier.Families {
		fmt.Fprintf(&b, `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: shop, name: %[1]s-%[2]s, labels: {kubernetes.io/service-name: %[1]s}}
addressType: %[3]s
ports: [{name: "", protocol: %[4]s, port: 8080}]
endpoints:
`, s.name, strings.ToLower(string(family)), family, s.protocol)
		none := true
		for _, addr := range s.endpoints {
			if proxier.FamilyOf(addr) == family {
				fmt.Fprintf(&b, "- {addresses: [%q], nodeName: node1}\n", addr)
				none = false
			}
		}
		if none {
			b.WriteString("  []\n")
		}
		b.WriteString("---\n")
	}
	return b.String()
}

func addrsOf(texts ...string) []netip.Addr {
	list := make([]netip.Addr, 0, len(texts))
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

// scene is a stage with the rules of some objects in force, by one dataplane
// for each family that stays.
type scene struct {
	*stage
	kernels    map[proxier.Family]*kernel
	dataplanes map[proxier.Family]*iptables.Dataplane
}

func newScene(t *testing.T, variant testenv.Variant, p places, clientTargets []netip.Addr) *scene {
	t.Helper()
	s := &scene{stage: newStage(t, p, clientTargets), dataplanes: map[proxier.Family]*iptables.Dataplane{}}
	s.kernels = newKernels(t, s.node1.Host, variant)
	for family, k := range s.kernels {
		s.dataplanes[family] = iptables.NewDataplane(k, k.config(t, 14))
	}
	return s
}

// serve puts the rules of the objects in force.
func (s *scene) serve(t *testing.T, objects *source.Objects) {
	t.Helper()
	for _, family := range proxier.Families {
		serve(t, s.dataplanes[family], stateOf(t, objects, family))
	}
}

// listen starts servers on port 8080 of the addresses.
func (s *scene) listen(t *testing.T, protocol string, addrs []netip.Addr) {
	t.Helper()
	for _, addr := range addrs {
		if _, err := listen(t.Context(), s.hosts[addr], protocol, netip.AddrPortFrom(addr, 8080)); err != nil {
			t.Fatal(err)
		}
	}
}

// ask sends one packet from an address to a place and says which endpoint
// answered.
func (s *scene) ask(t *testing.T, protocol string, from netip.Addr, to netip.AddrPort) netip.Addr {
	t.Helper()
	reply, err := s.hosts[from].Dial(t.Context(), protocol, to, testenv.DialOptions{Source: netip.AddrPortFrom(from, 0)})
	if err != nil {
		t.Fatalf("from %s: %v", from, err)
	}
	return reply.Local.Addr()
}
