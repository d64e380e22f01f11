package e2e

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// manifests are objects in files instead of in the API server: where there are
// many, or where other tests must not see them.
type manifests struct {
	t   *testing.T
	dir string
}

func newManifests(t *testing.T) *manifests { return &manifests{t: t, dir: t.TempDir()} }

// flags have the program read them.
func (m *manifests) flags(s *stage) []string {
	return []string{"--manifests=" + m.dir, "--hostname-override=" + s.nodeName, "--cluster-cidr=" + clusterCIDR}
}

// write replaces a file at once.
func (m *manifests) write(name string, objects ...any) {
	m.t.Helper()
	var text bytes.Buffer
	for _, o := range objects {
		switch o := o.(type) {
		case *corev1.Service:
			o.APIVersion, o.Kind = "v1", "Service"
		case *discoveryv1.EndpointSlice:
			o.APIVersion, o.Kind = "discovery.k8s.io/v1", "EndpointSlice"
		}
		if err := json.NewEncoder(&text).Encode(o); err != nil {
			m.t.Fatal(err)
		}
	}
	path := filepath.Join(m.dir, name)
	if err := os.WriteFile(path+".new", text.Bytes(), 0o600); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		m.t.Fatal(err)
	}
}

// writeSteady writes a Service that no test touches, with all kinds of
// frontends, and returns dials to them.
func (m *manifests) writeSteady(s *stage) []testenv.Probe {
	service := &corev1.Service{}
	service.Namespace, service.Name = "manifests", "steady"
	service.Spec = corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, ClusterIP: "10.96.200.1", ClusterIPs: []string{"10.96.200.1", "fd00:10:96::c801"},
		IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol},
		Ports: []corev1.ServicePort{
			{Name: "tcp", Protocol: corev1.ProtocolTCP, Port: 80, NodePort: 32001},
			{Name: "udp", Protocol: corev1.ProtocolUDP, Port: 80, NodePort: 32001},
		},
	}
	v4, v6 := freshVIPs()
	service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: v4.String()}, {IP: v6.String()}}
	objects := []any{service}
	for _, family := range families {
		slice := s.slice("steady", "first", family, backends([]*testenv.Host{s.remote}))
		slice.Namespace = service.Namespace
		objects = append(objects, slice)
	}
	m.write("steady.json", objects...)
	internal, external := from(clusterIPs(service), s.caller), from(nodePorts(service, s.node1), s.Client())
	return append(append(internal, external...), from(balancerIPs(service), s.Client())...)
}

// writeMany writes as many other Services, of which all differ in endpoints, and
// half in their names, from those of another generation.
func (m *manifests) writeMany(services, generation int) {
	var objects []any
	for i := range services {
		if i%2 == 1 {
			i += generation % 2 * services
		}
		service := clustergen.Service(i)
		service.Spec.ClusterIP = netip.AddrFrom4([4]byte{10, 97, byte(i >> 8), byte(i)}).String()
		service.Spec.ClusterIPs[0] = service.Spec.ClusterIP
		objects = append(objects, service)
		for _, family := range proxier.Families {
			slice := clustergen.Slice(i, family, 3, generation)
			slice.Name = strings.ToLower(slice.Name)
			objects = append(objects, slice)
		}
	}
	m.write("many.json", objects...)
}
