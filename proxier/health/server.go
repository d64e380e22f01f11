package health

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// Retry is the time between two attempts to listen on the address of a Server.
const Retry = 5 * time.Second

// Bounds on how long a client may hold a connection without saying anything.
const (
	readTimeout = 10 * time.Second
	idleTimeout = 2 * time.Minute
)

// A Server answers /healthz, /livez and /status.
type Server struct {
	// Address is where; one that is unspecified stands for both families. An
	// invalid one turns the server off.
	Address netip.AddrPort
	// HardFail ends Run when the address cannot be listened on; otherwise it is
	// tried again every Retry.
	HardFail bool
	Health   *Health
	// Eligibility says whether load balancers should use this node.
	Eligibility func() proxier.Eligibility
	Status      *Status
	// Failed, if set, is told why the address cannot be listened on; not twice
	// in a row of the same.
	Failed func(error)
	// Answered, if set, is told of each response of /healthz and /livez.
	Answered func(path string, code int)

	retry time.Duration // Retry, but for tests
}

// Run serves until ctx ends, and returns nil then. Before that it returns only
// with HardFail, and the error names the address.
func (s *Server) Run(ctx context.Context) error {
	if !s.Address.IsValid() {
		return nil
	}
	told := ""
	for {
		err := s.serve(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // what failed because it was told to end
		}
		err = fmt.Errorf("healthzBindAddress %s: %w", s.Address, err)
		if s.Failed != nil && err.Error() != told {
			told = err.Error()
			s.Failed(err)
		}
		if s.HardFail {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(cmp.Or(s.retry, Retry)):
		}
	}
}

// serve returns when ctx ends, or with the reason why there is no listener.
func (s *Server) serve(ctx context.Context) error {
	address := s.Address.String()
	if s.Address.Addr().IsUnspecified() {
		address = net.JoinHostPort("", strconv.Itoa(int(s.Address.Port()))) // of both families
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	server := newHTTPServer(s.Handler())
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	return server.Serve(listener)
}

func newHTTPServer(handler http.Handler) *http.Server {
	return &http.Server{Handler: handler, ReadTimeout: readTimeout, WriteTimeout: readTimeout, IdleTimeout: idleTimeout}
}

// Handler answers without listening.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {
		code, body := healthz(s.Health.read(), s.Eligibility() == proxier.Eligible)
		s.answer(w, r, code, body)
	})
	mux.HandleFunc("/livez", func(w http.ResponseWriter, r *http.Request) {
		code, body := livez(s.Health.read())
		s.answer(w, r, code, body)
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		if !fromThisHost(r) {
			http.Error(w, "only this node itself may ask for the status: it names Services", http.StatusForbidden)
			return
		}
		writeJSON(w, http.StatusOK, s.Status.page(s.Health.read(), s.Eligibility()))
	})
	return mux
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, code int, body proxyBody) {
	writeJSON(w, code, body)
	if s.Answered != nil {
		s.Answered(r.URL.Path, code)
	}
}

// fromThisHost reports whether a request comes from the host itself: over
// loopback, or from the very address it was sent to, which the kernel accepts
// from no other host.
func fromThisHost(r *http.Request) bool {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	from := remote.Addr().Unmap()
	if from.IsLoopback() {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && local.AddrPort().Addr().Unmap() == from
}
