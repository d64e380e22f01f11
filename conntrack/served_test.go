package conntrack_test

import (
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/conntrack"
	"github.com/kube-proxier/kube-proxier/proxier"
)

func TestFault(t *testing.T) {
	const (
		pod, other = "10.244.2.7", "10.244.2.8"
		podDNS     = pod + ":5353"
		otherDNS   = other + ":5353"
		vip        = vip4 + ":53"
		atNode     = nodeIP4 + ":30053"
		None       = conntrack.None
		NotServing = conntrack.NotServing
		Untrans    = conntrack.Untranslated
	)
	tcp := func(f *conntrack.Flow) { f.Protocol = 6 }
	sctp := func(f *conntrack.Flow) { f.Protocol = 132 }
	zone := func(f *conntrack.Flow) { f.Zone = 9 }
	masqueraded := func(f *conntrack.Flow) { f.Reply.Dst = netip.MustParseAddrPort(nodeIP4 + ":61234") }
	tests := []struct {
		name      string
		service   *corev1.Service
		endpoints []string
		flow      conntrack.Flow
		change    func(*conntrack.Flow)
		want      conntrack.Fault
	}{
		{"answered by an endpoint", service(), []string{pod}, flow(vip, podDNS), nil, None},
		{"answered by an endpoint, masqueraded", service(), []string{pod}, flow(vip, podDNS), masqueraded, None},
		{"the endpoint is gone, another is left", service(), []string{other}, flow(vip, podDNS), nil, NotServing},
		{"the endpoint is gone, the flow is masqueraded", service(), []string{other}, flow(vip, podDNS), masqueraded, NotServing},
		{"the endpoint is gone, none is left", service(), nil, flow(vip, podDNS), nil, NotServing},
		{"the endpoint has another port", service(), []string{pod + " port=5354"}, flow(vip, podDNS), nil, NotServing},
		{"in a zone", service(), []string{other}, flow(vip, podDNS), zone, NotServing},

		{"the endpoint is not ready but serves", service(), []string{pod + " unready", other}, flow(vip, podDNS), nil, None},
		{"the endpoint terminates but serves", service(), []string{pod + " unready terminating", other}, flow(vip, podDNS), nil, None},
		{"the endpoint terminates and does not serve", service(), []string{pod + " unready terminating unserving", other}, flow(vip, podDNS), nil, NotServing},
		{"the endpoint does not serve and counts as ready", service(), []string{pod + " unserving", other}, flow(vip, podDNS), nil, None},
		{"the endpoint does not serve, counts as ready and terminates", service(), []string{pod + " unserving terminating", other}, flow(vip, podDNS), nil, None},
		{"the only endpoint does not serve", service(), []string{pod + " unready unserving"}, flow(vip, podDNS), nil, NotServing},

		{"internal policy Local, endpoint elsewhere", service(internalLocal), []string{pod, other + " here"}, flow(vip, podDNS), nil, None},
		{"external policy Local, endpoint elsewhere", service(exposed, externalLocal), []string{pod, other + " here"}, flow(balancer+":53", podDNS), nil, None},
		{"internal policy Local, endpoint here is gone", service(internalLocal), []string{other}, flow(vip, podDNS), nil, NotServing},

		{"not translated, there is an endpoint", service(), []string{pod}, flow(vip, vip), nil, Untrans},
		{"not translated, but masqueraded", service(), []string{pod}, flow(vip, vip), masqueraded, Untrans},
		{"not translated, there is no endpoint", service(), nil, flow(vip, vip), nil, None},
		{"not translated, internal policy Local drops", service(internalLocal), []string{pod}, flow(vip, vip), nil, None},
		{"not translated, external policy Local lets this node in", service(exposed, externalLocal), []string{pod}, flow(balancer+":53", balancer+":53"), nil, Untrans},

		{"TCP", service(), []string{other}, flow(vip, podDNS), tcp, None},
		{"TCP, not translated", service(), []string{other}, flow(vip, vip), tcp, None},
		{"SCTP", service(), []string{other}, flow(vip, podDNS), sctp, None},
		{"another port of the address", service(), []string{other}, flow(vip4+":54", podDNS), nil, None},
		{"another address", service(), []string{other}, flow("192.0.2.1:53", podDNS), nil, None},
		{"straight to a pod", service(), []string{other}, flow(podDNS, podDNS), nil, None},

		{"external IP, endpoint gone", service(exposed), []string{other}, flow(external+":53", podDNS), nil, NotServing},
		{"external IP, endpoint there", service(exposed), []string{other}, flow(external+":53", otherDNS), nil, None},
		{"load balancer IP, endpoint gone", service(exposed), []string{other}, flow(balancer+":53", podDNS), nil, NotServing},
		{"load balancer IP, none left", service(exposed), nil, flow(balancer+":53", podDNS), nil, NotServing},

		{"node port, endpoint there", service(exposed), []string{pod}, flow(atNode, podDNS), nil, None},
		{"node port, endpoint gone", service(exposed), []string{other}, flow(atNode, podDNS), nil, NotServing},
		{"node port, endpoint gone, masqueraded", service(exposed), []string{other}, flow(atNode, podDNS), masqueraded, NotServing},
		{"node port, none left", service(exposed), nil, flow(atNode, podDNS), nil, NotServing},
		{"node port, not translated", service(exposed), []string{pod}, flow(atNode, atNode), nil, Untrans},
		{"node port on loopback, endpoint gone", service(exposed), []string{other}, flow("127.0.0.1:30053", podDNS), nil, NotServing},
		{"the number of a node port at another host", service(exposed), []string{other}, flow("198.51.100.9:30053", "198.51.100.9:30053"), nil, None},
		{"the number of a node port at another host, translated by others", service(exposed), []string{other}, flow("198.51.100.9:30053", podDNS), nil, None},
		{"the number of the Service's port at the node", service(exposed), []string{other}, flow(nodeIP4+":53", nodeIP4+":53"), nil, None},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			served := conntrack.NewServed(nil, state(test.service, slice(proxier.IPv4, test.endpoints...)))
			if test.change != nil {
				test.change(&test.flow)
			}
			if got := served.Fault(&test.flow); got != test.want {
				t.Errorf("%s: %s, want: %s", &test.flow, got, test.want)
			}
		})
	}
}

func TestFaultAtNodePortAddresses(t *testing.T) {
	store := cluster(service(exposed), slice(proxier.IPv4, "10.244.2.8"))
	elsewhere := build(store, nil, func(o *proxier.Options) {
		o.NodePortAddresses = []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16")}
	})
	f := flow(nodeIP4+":30053", "10.244.2.7:5353")
	if got := conntrack.NewServed(nil, elsewhere).Fault(&f); got != conntrack.None {
		t.Errorf("%s, where node ports are served elsewhere: %s", &f, got)
	}
}

// An external IP may be the address of a host network pod that answers there.
func TestAnEndpointThatIsTheFrontendItself(t *testing.T) {
	s := service(func(s *corev1.Service) { s.Spec.ExternalIPs = []string{nodeIP4} })
	served := conntrack.NewServed(nil, state(s, slice(proxier.IPv4, nodeIP4+" here port=53")))
	f := flow(nodeIP4+":53", nodeIP4+":53")
	if got := served.Fault(&f); got != conntrack.None {
		t.Errorf("%s: %s, though it is an endpoint that answers", &f, got)
	}
}

func TestWhatIsNoLongerServed(t *testing.T) {
	const podDNS = "10.244.2.7:5353"
	atVIP, atNode := flow(vip4+":53", podDNS), flow(nodeIP4+":30053", podDNS)
	untranslated, passing := flow(vip4+":53", vip4+":53"), flow("198.51.100.9:30053", podDNS)
	faults := func(s *conntrack.Served) [4]conntrack.Fault {
		return [4]conntrack.Fault{s.Fault(&atVIP), s.Fault(&atNode), s.Fault(&untranslated), s.Fault(&passing)}
	}
	with, without := state(service(exposed), slice(proxier.IPv4, "10.244.2.7")), state(nil)
	healthy := [4]conntrack.Fault{conntrack.None, conntrack.None, conntrack.Untranslated, conntrack.None}
	deleted := [4]conntrack.Fault{conntrack.NotServed, conntrack.NotServed, conntrack.None, conntrack.None}

	if got := faults(conntrack.NewServed(nil, without)); got != [4]conntrack.Fault{} {
		t.Errorf("at the start, without the Service: %v", got)
	}
	first := conntrack.NewServed(nil, with)
	if got := faults(first); got != healthy {
		t.Errorf("with the Service: %v", got)
	}
	second := conntrack.NewServed(first, without)
	if got := faults(second); got != deleted {
		t.Errorf("after it is deleted: %v", got)
	}
	another := state(service(func(s *corev1.Service) { s.Spec.ClusterIP, s.Spec.ClusterIPs[0] = "10.96.0.99", "10.96.0.99" }))
	third := conntrack.NewServed(second, another)
	if got := faults(third); got != deleted {
		t.Errorf("after it is deleted and another is made: %v", got)
	}
	back := conntrack.NewServed(third, with)
	if got := faults(back); got != healthy {
		t.Errorf("after it is back: %v", got)
	}
}

func TestServedIsTheSameUntilAUDPFrontendChanges(t *testing.T) {
	store := cluster(service(), slice(proxier.IPv4, "10.244.2.7"))
	state := build(store, nil)
	served := conntrack.NewServed(nil, state)
	same := func(what string, want bool) {
		t.Helper()
		state = build(store, state)
		next := conntrack.NewServed(served, state)
		if (next == served) != want {
			t.Errorf("%s: served as before: %v, want %v", what, next == served, want)
		}
		served = next
	}
	same("nothing changed", true)
	annotated := service(func(s *corev1.Service) { s.Annotations = map[string]string{"a": "b"} })
	store.SetService(annotated)
	same("an annotation", true)
	store.SetService(&corev1.Service{ObjectMeta: annotated.ObjectMeta, Spec: annotated.Spec})
	same("an equal Service", true)
	store.SetEndpointSlice(slice(proxier.IPv6, "fd00:10:244:2::7"))
	same("the other family", true)
	web := service(func(s *corev1.Service) {
		s.Name, s.Spec.ClusterIP, s.Spec.ClusterIPs = "web", "10.96.0.11", []string{"10.96.0.11"}
		s.Spec.IPFamilies, s.Spec.Ports = s.Spec.IPFamilies[:1], s.Spec.Ports[1:]
	})
	store.SetService(web)
	same("a Service of TCP", true)
	store.SetEndpointSlice(slice(proxier.IPv4, "10.244.2.7", "10.244.2.8"))
	same("another endpoint", false)
	same("nothing again", true)
	store.DeleteService(dns)
	same("no Service", false)
}
