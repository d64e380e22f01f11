package proxier

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// FrontendKind says which of a Service's addresses a Frontend is.
type FrontendKind uint8

// The kinds of frontends.
const (
	ClusterIP FrontendKind = iota
	ExternalIP
	LoadBalancerIP
	NodePort
)

// String is the kind as operators call it, such as "cluster IP".
func (k FrontendKind) String() string {
	return [...]string{"cluster IP", "external IP", "loadbalancer IP", "node port"}[k]
}

// A Frontend is one address, protocol and port that clients connect to.
type Frontend struct {
	Kind FrontendKind
	// Addr is invalid for a NodePort, which all node port addresses have.
	Addr   netip.Addr
	Port   uint16
	Target *Target
}

// Protocol is TCP, UDP or SCTP.
func (f *Frontend) Protocol() corev1.Protocol { return f.Target.Name.Protocol }

// Restricted reports whether only AllowedSources may use the frontend.
func (f *Frontend) Restricted() bool {
	return f.Kind == LoadBalancerIP && f.Target.AllowedSources != nil
}

// AtNodeAddress reports whether it is one of the external frontends of a Target with
// an address of a node.
func (f *Frontend) AtNodeAddress() bool { return f.Kind != ClusterIP && f.Target.AtNodeAddress }

// String is such as "10.96.0.10:53/udp" or "*:30053/udp" for a node port.
func (f *Frontend) String() string {
	addr := "*"
	if f.Addr.IsValid() {
		addr = f.Addr.String()
		if f.Addr.Is6() {
			addr = "[" + addr + "]"
		}
	}
	return fmt.Sprintf("%s:%d/%s", addr, f.Port, strings.ToLower(string(f.Protocol())))
}

// comparePlace orders by what a packet is matched by.
func (f *Frontend) comparePlace(g *Frontend) int {
	return cmp.Or(f.Addr.Compare(g.Addr),
		compareStrings(string(f.Protocol()), string(g.Protocol())), cmp.Compare(f.Port, g.Port))
}

// compare orders by place; of those in the same place the one to be served
// comes first: a ClusterIP, which the cluster allocated, before addresses that
// Services merely claim; then the older Service; then by name.
func (f *Frontend) compare(g *Frontend) int {
	if c := f.comparePlace(g); c != 0 {
		return c
	}
	if c := cmp.Compare(claimed(f), claimed(g)); c != 0 {
		return c
	}
	return cmp.Or(f.Target.Created.Compare(g.Target.Created),
		f.Target.Name.compare(g.Target.Name), cmp.Compare(f.Kind, g.Kind))
}

func claimed(f *Frontend) int {
	if f.Kind == ClusterIP {
		return 0
	}
	return 1
}

// frontends are all places where clients may find the target.
func frontends(t *Target) []*Frontend {
	out := []*Frontend{{Kind: ClusterIP, Addr: t.ClusterIP, Port: t.Port, Target: t}}
	for _, ip := range t.ExternalIPs {
		out = append(out, &Frontend{Kind: ExternalIP, Addr: ip, Port: t.Port, Target: t})
	}
	for _, ip := range t.LoadBalancerIPs {
		out = append(out, &Frontend{Kind: LoadBalancerIP, Addr: ip, Port: t.Port, Target: t})
	}
	if t.NodePort != 0 {
		out = append(out, &Frontend{Kind: NodePort, Port: t.NodePort, Target: t})
	}
	return out
}

// conflict names the Service that loses its place to another.
func conflict(winner, loser *Frontend) Problem {
	field := map[FrontendKind]string{
		ClusterIP: "spec.clusterIPs", ExternalIP: "spec.externalIPs",
		LoadBalancerIP: "status.loadBalancer.ingress", NodePort: "spec.ports.nodePort",
	}[loser.Kind]
	return Problem{
		Kind: "Service", Namespace: loser.Target.Name.Namespace, Name: loser.Target.Name.Name,
		Field: field, Value: loser.String(),
		Reason: fmt.Sprintf("is taken by Service %s as %s: it is not served here", printable(winner.Target.Name.String()), winner.Kind),
	}
}
