package conntrack

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// Served is what flows are compared with: the UDP frontends of a State, and
// those that were served before and may have left flows. It is immutable.
type Served struct {
	frontends []*proxier.Frontend // those of a State that are UDP, in its order
	addresses proxier.NodePortAddresses

	byAddr     map[netip.AddrPort]*proxier.Frontend
	byNodePort map[uint16]*proxier.Frontend

	goneAddrs     map[netip.AddrPort]bool
	goneNodePorts map[uint16]bool
}

// NewServed is what the State serves. before is what was served until now; nil
// at the start. Where no UDP frontend and none of their endpoints changed, it is
// before itself.
func NewServed(before *Served, state *proxier.State) *Served {
	if before != nil && before.still(state) {
		return before
	}
	s := &Served{
		addresses: state.NodePortAddresses,
		byAddr:    map[netip.AddrPort]*proxier.Frontend{}, byNodePort: map[uint16]*proxier.Frontend{},
	}
	for f := range udpFrontends(state) {
		s.frontends = append(s.frontends, f)
		if f.Kind == proxier.NodePort {
			s.byNodePort[f.Port] = f
		} else {
			s.byAddr[netip.AddrPortFrom(f.Addr, f.Port)] = f
		}
	}
	if before != nil {
		s.goneAddrs = gone(before.goneAddrs, before.byAddr, s.byAddr)
		s.goneNodePorts = gone(before.goneNodePorts, before.byNodePort, s.byNodePort)
	}
	return s
}

// udpFrontends are the State's UDP frontends: those with an address, then node
// ports.
func udpFrontends(state *proxier.State) func(yield func(*proxier.Frontend) bool) {
	return func(yield func(*proxier.Frontend) bool) {
		for _, all := range [...][]*proxier.Frontend{state.Frontends, state.NodePorts} {
			for _, f := range all {
				if f.Protocol() == corev1.ProtocolUDP && !yield(f) {
					return
				}
			}
		}
	}
}

// still reports whether the State serves just what s says. Frontends and
// Targets are shared between States as long as nothing about them changes.
func (s *Served) still(state *proxier.State) bool {
	a, b := s.addresses, state.NodePortAddresses
	if a.Loopback != b.Loopback || !slices.Equal(a.Within, b.Within) {
		return false
	}
	i := 0
	for f := range udpFrontends(state) {
		if i == len(s.frontends) || s.frontends[i] != f {
			return false
		}
		i++
	}
	return i == len(s.frontends)
}

// gone are the places that were served before, or gone even then, and are not
// served now.
func gone[K comparable](earlier map[K]bool, before, now map[K]*proxier.Frontend) map[K]bool {
	all := map[K]bool{}
	for k := range earlier {
		if now[k] == nil {
			all[k] = true
		}
	}
	for k := range before {
		if now[k] == nil {
			all[k] = true
		}
	}
	return all
}

// settled is s once no flow is left of what was served before.
func (s *Served) settled() *Served {
	without := *s
	without.goneAddrs, without.goneNodePorts = nil, nil
	return &without
}

// nothing reports whether no flow can contradict s: nothing is served over UDP, and
// no flow is left of what was.
func (s *Served) nothing() bool {
	return len(s.frontends)+len(s.goneAddrs)+len(s.goneNodePorts) == 0
}

// Fault says whether the flow contradicts what is served, and how. See the
// package's comment for the table.
func (s *Served) Fault(f *Flow) Fault {
	if f.Protocol != UDP {
		return None
	}
	frontend, before := s.find(f)
	switch {
	case frontend == nil && before && f.Translated():
		return NotServed
	case frontend == nil, serving(frontend.Target, f.Reply.Src):
		return None
	case f.Translated():
		return NotServing
	case accepts(frontend):
		return Untranslated
	}
	return None
}

// sentOnByIPVS reports whether it is a flow to a frontend that IPVS sends on.
func (s *Served) sentOnByIPVS(f *Flow) bool {
	if f.Protocol != UDP || !f.Virtual {
		return false
	}
	frontend, _ := s.find(f)
	return frontend != nil
}

// find returns the frontend that the flow went to; nil where there is none, and
// then whether there was one before.
func (s *Served) find(f *Flow) (frontend *proxier.Frontend, before bool) {
	to := f.Original.Dst
	if frontend := s.byAddr[to]; frontend != nil {
		return frontend, false
	}
	if f.ToNode && s.addresses.Serves(to.Addr()) {
		if frontend := s.byNodePort[to.Port()]; frontend != nil {
			return frontend, false
		}
	}
	return nil, s.goneAddrs[to] || f.ToNode && s.goneNodePorts[to.Port()]
}

// serving reports whether addr is an endpoint that serves, or that is given new
// flows though it does not: with publishNotReadyAddresses all count as ready.
// Otherwise readiness, like policies and hints, is for new flows only (KEP-1669: an
// endpoint that terminates may serve until it is gone).
func serving(t *proxier.Target, addr netip.AddrPort) bool {
	i, found := slices.BinarySearchFunc(t.Endpoints, addr, func(e proxier.Endpoint, addr netip.AddrPort) int {
		return e.Addr.Compare(addr)
	})
	return found && (t.Endpoints[i].Serving || t.Endpoints[i].Ready)
}

// accepts reports whether the frontend translates some traffic. Where it
// rejects or drops all, an untranslated flow may be with somebody who has a
// right to that address, and no better place is known for it.
func accepts(f *proxier.Frontend) bool {
	if f.Kind == proxier.ClusterIP {
		return f.Target.Internal.Verdict == proxier.Accept
	}
	return f.Target.External.Verdict == proxier.Accept || f.Target.ShortCircuit.Verdict == proxier.Accept
}
