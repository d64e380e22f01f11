package health

import (
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// Bounds on how long a client may hold a connection without saying anything, and on
// what it may say: there are listen.MaxConnections for all of them.
const (
	readTimeout    = 10 * time.Second
	idleTimeout    = time.Minute
	maxHeaderBytes = 16 << 10
)

// A Server answers /healthz, /livez and /status.
type Server struct {
	Health *Health
	// Eligibility says whether load balancers should use this node.
	Eligibility func() proxier.Eligibility
	Status      *Status
	// Answered, if set, is told of each response of /healthz and /livez.
	Answered func(path string, code int)
}

// HTTPServer is one that answers with Handler.
func (s *Server) HTTPServer() *http.Server { return newHTTPServer(s.Handler()) }

func newHTTPServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler: handler, ReadTimeout: readTimeout, WriteTimeout: readTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
	}
}

// Handler answers.
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
