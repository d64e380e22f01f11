package health

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/listen"
)

// A checkServer answers on the health check node port of one Service, whatever
// is asked for.
type checkServer struct {
	service types.NamespacedName
	family  proxier.Family
	port    uint16
	healthy func() bool
	// local is the number of the Service's endpoints on this node.
	local atomic.Int64
	// refused is whether the kernel does not take all of the Service's ports.
	refused atomic.Bool

	listening []*checkListener
}

// A checkListener is a checkServer on one address.
type checkListener struct {
	*listen.Opening
	address netip.Addr
}

// ServeHTTP answers any path and method.
func (s *checkServer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	code, body := check(s.service, int(s.local.Load()), s.healthy() && !s.refused.Load())
	writeCheck(w, code, body)
}

// listenOn listens on these addresses and no others. Those that cannot be
// listened on are named in the error, and no address is added then.
func (s *checkServer) listenOn(addresses []netip.Addr) error {
	missing := make(map[netip.Addr]bool, len(addresses))
	for _, address := range addresses {
		missing[address] = true
	}
	var keep []*checkListener
	for _, l := range s.listening {
		if l.Serves() && missing[l.address] {
			keep = append(keep, l)
			delete(missing, l.address)
		} else {
			l.Close()
		}
	}
	s.listening = keep
	var added []*checkListener
	var problems []error
	for _, address := range addresses {
		if !missing[address] {
			continue
		}
		delete(missing, address)
		l, err := s.listen(address)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		added = append(added, l)
	}
	if err := errors.Join(problems...); err != nil {
		for _, l := range added {
			l.Close()
		}
		return fmt.Errorf("health check node port %d: %w", s.port, err)
	}
	s.listening = append(s.listening, added...)
	return nil
}

// close ends all listeners.
func (s *checkServer) close() {
	for _, l := range s.listening {
		l.Close()
	}
	s.listening = nil
}

func (s *checkServer) listen(address netip.Addr) (*checkListener, error) {
	network := "tcp4"
	if s.family == proxier.IPv6 {
		network = "tcp6" // which leaves IPv4 to the other family's server
	}
	opening, err := listen.Open(context.Background(), network, netip.AddrPortFrom(address, s.port).String(), newHTTPServer(s))
	if err != nil {
		return nil, err
	}
	return &checkListener{Opening: opening, address: address}, nil
}
