package source

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// loadSpec reads one Service with this spec.
func loadSpec(t *testing.T, spec string) (*corev1.Service, []string) {
	t.Helper()
	in := "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {" + spec + "}\n"
	objects, problems, err := (&Manifests{Path: Stdin, In: strings.NewReader(in)}).Load()
	if err != nil {
		t.Fatal(err)
	}
	if len(objects.Services) == 0 {
		return nil, texts(problems)
	}
	return objects.Services[0], texts(problems)
}

func TestServiceDefaults(t *testing.T) {
	affinity := func(seconds int32) *corev1.SessionAffinityConfig {
		return &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &seconds}}
	}
	base := corev1.ServiceSpec{
		Type: corev1.ServiceTypeClusterIP, ClusterIP: "10.0.0.1", ClusterIPs: []string{"10.0.0.1"},
		IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}, SessionAffinity: corev1.ServiceAffinityNone,
		InternalTrafficPolicy: ptr.To(corev1.ServiceInternalTrafficPolicyCluster),
	}
	for name, test := range map[string]struct {
		spec string
		want func(*corev1.ServiceSpec)
	}{
		"clusterIP alone":   {"clusterIP: 10.0.0.1", func(*corev1.ServiceSpec) {}},
		"clusterIPs alone":  {"clusterIPs: [10.0.0.1]", func(*corev1.ServiceSpec) {}},
		"leading zeros":     {"clusterIP: 10.0.0.01", func(s *corev1.ServiceSpec) { s.ClusterIP, s.ClusterIPs = "10.0.0.01", []string{"10.0.0.01"} }},
		"families are kept": {"clusterIP: 10.0.0.1, ipFamilies: [IPv6]", func(s *corev1.ServiceSpec) { s.IPFamilies = []corev1.IPFamily{"IPv6"} }},
		"dual stack, IPv6 first": {"clusterIPs: ['fd00::1', 10.0.0.1]", func(s *corev1.ServiceSpec) {
			s.ClusterIP, s.ClusterIPs, s.IPFamilies = "fd00::1", []string{"fd00::1", "10.0.0.1"}, []corev1.IPFamily{"IPv6", "IPv4"}
		}},
		"affinity": {"clusterIP: 10.0.0.1, sessionAffinity: ClientIP", func(s *corev1.ServiceSpec) {
			s.SessionAffinity, s.SessionAffinityConfig = corev1.ServiceAffinityClientIP, affinity(10800)
		}},
		"affinity with a timeout": {"clusterIP: 10.0.0.1, sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}", func(s *corev1.ServiceSpec) {
			s.SessionAffinity, s.SessionAffinityConfig = corev1.ServiceAffinityClientIP, affinity(5)
		}},
		"protocol": {"clusterIP: 10.0.0.1, ports: [{port: 1}, {port: 2, protocol: UDP, name: dns}]", func(s *corev1.ServiceSpec) {
			s.Ports = []corev1.ServicePort{{Port: 1, Protocol: "TCP"}, {Port: 2, Protocol: "UDP", Name: "dns"}}
		}},
		"policy of a node port": {"clusterIP: 10.0.0.1, type: NodePort", func(s *corev1.ServiceSpec) {
			s.Type, s.ExternalTrafficPolicy = corev1.ServiceTypeNodePort, corev1.ServiceExternalTrafficPolicyCluster
		}},
		"policies are kept": {"clusterIP: 10.0.0.1, type: LoadBalancer, externalTrafficPolicy: Local, internalTrafficPolicy: Local", func(s *corev1.ServiceSpec) {
			s.Type, s.ExternalTrafficPolicy = corev1.ServiceTypeLoadBalancer, corev1.ServiceExternalTrafficPolicyLocal
			s.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyLocal)
		}},
		"external name": {"type: ExternalName, externalName: a.example", func(s *corev1.ServiceSpec) {
			*s = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "a.example", SessionAffinity: corev1.ServiceAffinityNone}
		}},
		"what a proxy does not read is dropped": {
			"clusterIP: 10.0.0.1, selector: {a: b}, loadBalancerIP: 1.2.3.4, loadBalancerClass: x, trafficDistribution: PreferClose, ports: [{port: 1, targetPort: web, appProtocol: h2c}]",
			func(s *corev1.ServiceSpec) { s.Ports = []corev1.ServicePort{{Port: 1, Protocol: "TCP"}} },
		},
	} {
		t.Run(name, func(t *testing.T) {
			service, problems := loadSpec(t, test.spec)
			checkLines(t, "problems", nil, problems)
			if service == nil {
				t.Fatal("no Service")
			}
			want := base.DeepCopy()
			test.want(want)
			if d := cmp.Diff(*want, service.Spec); d != "" {
				t.Errorf("spec (-want +got):\n%s", d)
			}
		})
	}
}

func TestServiceAddressesThatCannotBeServed(t *testing.T) {
	for name, test := range map[string]struct{ spec, want string }{
		"none":            {"ports: [{port: 80}]", "spec.clusterIP: is missing, and there is no API server to allocate one: the Service is not served"},
		"not an address":  {"clusterIP: web", `spec.clusterIPs[0] "web": is not an IP address: the Service is not served`},
		"contradiction":   {"clusterIP: 10.0.0.1, clusterIPs: [10.0.0.2]", `spec.clusterIPs[0] "10.0.0.2": must be the same as spec.clusterIP ("10.0.0.1"): the Service is not served`},
		"two of a family": {"clusterIPs: [10.0.0.1, 10.0.0.2]", `spec.clusterIPs "[10.0.0.1 10.0.0.2]": must be at most one address of each family: the Service is not served`},
	} {
		t.Run(name, func(t *testing.T) {
			service, problems := loadSpec(t, test.spec)
			if service != nil {
				t.Errorf("%v is served", service.Spec.ClusterIPs)
			}
			checkLines(t, "problems", []string{"Service default/web: " + test.want + " (standard input, document 1, line 1)"}, problems)
		})
	}
}
