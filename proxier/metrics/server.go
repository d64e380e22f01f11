package metrics

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"sigs.k8s.io/yaml"
)

// Pages are what the server shows beside the metrics.
type Pages struct {
	// Mode returns the mode in force, such as "iptables".
	Mode func() string
	// Config returns the configuration in force: a KubeProxyConfiguration as
	// YAML, with all defaults.
	Config func() ([]byte, error)
	// Profiling serves net/http/pprof under /debug/pprof/.
	Profiling bool
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
	if pages.Profiling {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol) // go tool pprof asks so
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

func text(w http.ResponseWriter, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = io.WriteString(w, s) // the client may be gone
}

// configz answers as all components of Kubernetes do: an object with the
// configuration under the name of its API group.
func configz(w http.ResponseWriter, config func() ([]byte, error)) {
	document, err := config()
	if err == nil {
		document, err = yaml.YAMLToJSON(document)
	}
	if err == nil {
		document, err = json.Marshal(map[string]json.RawMessage{"kubeproxy.config.k8s.io": document})
	}
	if err != nil {
		http.Error(w, "the configuration cannot be shown: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(document) // the client may be gone
}

// Serve answers on the listener until ctx ends, and closes it. Requests that
// are running then are cut off: the program ends at once.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
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
