package proxier

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// greedy asks for as many rules as an object of etcd's size can.
func greedy(ports, addresses, ranges int) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "greedy"}}
	s.Spec.ClusterIP = "10.96.0.1"
	for i := range ports {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: fmt.Sprint(i), Port: int32(i + 1), NodePort: int32(i + 1)})
	}
	for i := range addresses {
		s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: fmt.Sprintf("203.0.%d.%d", i/250, i%250)})
	}
	for i := range ranges {
		s.Spec.LoadBalancerSourceRanges = append(s.Spec.LoadBalancerSourceRanges, fmt.Sprintf("192.%d.%d.0/24", i/250, i%250))
	}
	return s
}

func TestOneServiceCannotHaveAllRules(t *testing.T) {
	tests := []struct {
		name                     string
		ports, addresses, ranges int
		want                     int
	}{
		{"many ports", 16000, 0, 0, 16000},
		{"many ranges", 1, 1, 10000, 1},
		{"many addresses", 1, 10000, 0, 1},
		{"ports and addresses", 1000, 10000, 0, 9},
		{"ports and ranges", 1000, 1, 10000, 9},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ports, problems := servicePorts(greedy(tt.ports, tt.addresses, tt.ranges), IPv4, Options{})
			if len(ports) != tt.want {
				t.Errorf("%d ports are served, want %d", len(ports), tt.want)
			}
			var reported bool
			for _, p := range problems {
				reported = reported || strings.Contains(p.String(), "more than 100000 rules")
			}
			if reported != (tt.want < tt.ports) {
				t.Errorf("reported: %v, problems %v", reported, problems)
			}
		})
	}
}
