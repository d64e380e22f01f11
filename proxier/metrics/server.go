package metrics

import (
	"io"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Pages are what the server shows beside the metrics.
type Pages struct {
	// Mode returns the mode in force, such as "iptables".
	Mode func() string
	// Config returns the configuration in force as JSON: an object with each
	// document under the name of its API group.
	Config func() ([]byte, error)
	// Profiling says whether net/http/pprof is served under /debug/pprof/.
	Profiling func() bool
}

// Handler serves kube-proxy's paths: /metrics, /healthz (always ok: whether
// the proxy works is said by the health server), /proxyMode, /configz and, if
// wanted, /debug/pprof/.
func (m *Metrics) Handler(pages Pages) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 10}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, "ok") })
	mux.HandleFunc("GET /proxyMode", func(w http.ResponseWriter, _ *http.Request) { text(w, pages.Mode()) })
	mux.HandleFunc("GET /configz", func(w http.ResponseWriter, _ *http.Request) { configz(w, pages.Config) })
	profiled := func(handler http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if !pages.Profiling() {
				http.NotFound(w, r)
				return
			}
			handler(w, r)
		}
	}
	mux.HandleFunc("GET /debug/pprof/", profiled(pprof.Index))
	mux.HandleFunc("GET /debug/pprof/cmdline", profiled(pprof.Cmdline))
	mux.HandleFunc("GET /debug/pprof/profile", profiled(pprof.Profile))
	mux.HandleFunc("GET /debug/pprof/symbol", profiled(pprof.Symbol))
	mux.HandleFunc("POST /debug/pprof/symbol", profiled(pprof.Symbol)) // go tool pprof asks so
	mux.HandleFunc("GET /debug/pprof/trace", profiled(pprof.Trace))
	return mux
}

func text(w http.ResponseWriter, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = io.WriteString(w, s) // the client may be gone
}

// configz answers as all components of Kubernetes do.
func configz(w http.ResponseWriter, config func() ([]byte, error)) {
	documents, err := config()
	if err != nil {
		http.Error(w, "the configuration cannot be shown: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(documents) // the client may be gone
}

// HTTPServer is one that answers with Handler.
func (m *Metrics) HTTPServer(pages Pages) *http.Server {
	return &http.Server{
		Handler:           m.Handler(pages),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
}

// Answered counts an answer of the health server, by its path and HTTP status
// code. Other paths than /healthz and /livez are not counted.
func (m *Metrics) Answered(path string, code int) {
	switch path {
	case "/healthz":
		m.healthz.WithLabelValues(strconv.Itoa(code)).Inc()
	case "/livez":
		m.livez.WithLabelValues(strconv.Itoa(code)).Inc()
	}
}
