package e2e

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// soakServices is how many Services a soak has at most.
const soakServices = 12

// pick returns one of the elements of a list that is not empty.
func pick[T any](s *soak, from []T) T { return from[s.r.IntN(len(from))] }

// any is one of the Services, if there is one.
func (s *soak) any() (name string, ok bool) {
	if len(s.services) == 0 {
		return "", false
	}
	return pick(s, slices.Sorted(maps.Keys(s.services))), true
}

// create makes a Service of any kind, unless there is one of that name.
func (s *soak) create() {
	s.t.Helper()
	name := fmt.Sprintf("web-%d", s.r.IntN(soakServices))
	if s.services[name] != nil {
		return
	}
	kind := pick(s, []corev1.ServiceType{corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer})
	s.services[name] = s.createService(name, func(service *corev1.Service) { service.Spec.Type = kind })
	if kind == corev1.ServiceTypeLoadBalancer {
		if s.vips[name] == nil {
			v4, v6 := freshVIPs()
			s.vips[name] = []object{{"ip": v4.String()}, {"ip": v6.String()}}
		}
		s.services[name] = s.patchService(name, object{"status": object{"loadBalancer": object{"ingress": s.vips[name]}}}, "status")
	}
}

func (s *soak) remove() {
	s.t.Helper()
	if name, ok := s.any(); ok {
		s.deleteService(name)
		delete(s.services, name)
	}
}

// change gives a Service another policy or affinity.
func (s *soak) change() {
	s.t.Helper()
	name, ok := s.any()
	if !ok {
		return
	}
	policy := pick(s, []string{"Cluster", "Local"})
	spec := object{}
	switch s.r.IntN(3) {
	case 0:
		spec["internalTrafficPolicy"] = policy
	case 1:
		if s.services[name].Spec.Type == corev1.ServiceTypeClusterIP {
			return // it has no external traffic
		}
		spec["externalTrafficPolicy"] = policy
	case 2:
		spec["sessionAffinity"] = pick(s, []string{"None", "ClientIP"})
	}
	s.services[name] = s.patchSpec(name, spec)
}

// endpoints gives a Service, or one that is not there, any of the pods.
func (s *soak) endpoints() {
	s.t.Helper()
	name := fmt.Sprintf("web-%d", s.r.IntN(soakServices))
	var all []backend
	for _, b := range []backend{{pod: s.local}, {pod: s.remote}} {
		if s.r.IntN(4) > 0 {
			b.notReady = s.r.IntN(4) == 0
			all = append(all, b)
		}
	}
	s.setBackends(name, all...)
}
