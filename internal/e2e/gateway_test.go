package e2e

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// A gateway stands between the program and the API server, and spoils what is
// answered.
type gateway struct {
	t     *testing.T
	proxy *httputil.ReverseProxy

	mu sync.Mutex
	// fault answers instead of the server where it returns true.
	fault func(http.ResponseWriter, *http.Request) bool
	// faulty are the requests that fault has answered.
	faulty int
	// cut ends the requests there are.
	cut chan struct{}
	// lists are what the server answers to lists, by path; see keepLists.
	lists map[string]list
	keep  bool
	// served are the paths of the lists that older has answered.
	served map[string]bool
}

// A list is an answer, in JSON or protobuf.
type list struct {
	contentType string
	body        []byte
}

// startGateway has the program of a stage use a gateway from now on.
func (s *stage) startGateway() *gateway {
	s.t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", shared.kube.Kubeconfig())
	if err != nil {
		s.t.Fatal(err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		s.t.Fatal(err)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		s.t.Fatal(err)
	}
	g := &gateway{t: s.t, proxy: httputil.NewSingleHostReverseProxy(target), cut: make(chan struct{}), lists: map[string]list{}}
	g.proxy.Transport, g.proxy.FlushInterval = transport, -1
	g.proxy.ModifyResponse = g.keepList
	g.proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	var listener net.Listener
	if err := s.node1.Do(func() (err error) {
		listener, err = net.Listen("tcp", "127.0.0.1:0")
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	server := &http.Server{Handler: g, TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}} //nolint:gosec // for one client
	var done sync.WaitGroup
	done.Go(func() { _ = server.Serve(listener) })
	s.t.Cleanup(func() {
		_ = server.Close()
		done.Wait()
	})
	s.kubeconfig = filepath.Join(s.t.TempDir(), "kubeconfig")
	const kubeconfig = `{"apiVersion": "v1", "kind": "Config", "current-context": "test",
"contexts": [{"name": "test", "context": {"cluster": "test"}}],
"clusters": [{"name": "test", "cluster": {"server": "http://%s"}}]}`
	if err := os.WriteFile(s.kubeconfig, fmt.Appendf(nil, kubeconfig, listener.Addr()), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return g
}

// ServeHTTP passes a request on until the connections are cut.
func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	fault, cut := g.fault, g.cut
	g.mu.Unlock()
	ctx, cancel := contextUntil(r.Context(), cut)
	defer cancel()
	r = r.WithContext(ctx)
	if fault != nil && fault(w, r) {
		g.mu.Lock()
		g.faulty++
		g.mu.Unlock()
		return
	}
	r.Header.Del("Accept-Encoding") // what is kept can be sent again
	g.proxy.ServeHTTP(w, r)
	if ctx.Err() != nil {
		panic(http.ErrAbortHandler) // or a watch would seem to have ended well
	}
}

// set has a fault from now on, or none, and cuts all connections, so that it is
// met at once.
func (g *gateway) set(fault func(http.ResponseWriter, *http.Request) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fault, g.faulty, g.served = fault, 0, map[string]bool{}
	close(g.cut)
	g.cut = make(chan struct{})
}

// met is how many requests have met the fault.
func (g *gateway) met() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.faulty
}

// keepLists keeps what is listed from now on, or no more.
func (g *gateway) keepLists(keep bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keep = keep
}

func (g *gateway) keepList(response *http.Response) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.keep || !isList(response.Request) || response.StatusCode != http.StatusOK {
		return nil
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	response.Body = io.NopCloser(bytes.NewReader(body))
	g.lists[response.Request.URL.Path] = list{response.Header.Get("Content-Type"), body}
	return err
}

// isList reports whether all objects of a kind are asked for; isStreamedList, as
// a watch that begins with them.
func isList(r *http.Request) bool {
	return r.Method == http.MethodGet && !r.URL.Query().Has("watch") && strings.HasSuffix(r.URL.Path, "s")
}

func isStreamedList(r *http.Request) bool { return r.URL.Query().Get("sendInitialEvents") == "true" }

// The faults are as follows.

// unavailable answers everything with an error.
func unavailable(w http.ResponseWriter, _ *http.Request) bool {
	http.Error(w, "etcdserver: leader changed", http.StatusInternalServerError)
	return true
}

// throttled says to come again later.
func throttled(w http.ResponseWriter, _ *http.Request) bool {
	w.Header().Set("Retry-After", "1")
	http.Error(w, "too many requests", http.StatusTooManyRequests)
	return true
}

// silent answers nothing.
func silent(_ http.ResponseWriter, r *http.Request) bool {
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

// garbled answers what is no JSON.
func garbled(w http.ResponseWriter, _ *http.Request) bool {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"kind":"Stat`)
	return true
}

// expired does not know any history: 410 Gone.
func expired(w http.ResponseWriter, r *http.Request) bool {
	if !r.URL.Query().Has("watch") || isStreamedList(r) {
		return false
	}
	answer(w, http.StatusGone, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410,"message":"too old resource version"}`)
	return true
}

// empty lists no Services and no EndpointSlices.
func empty(w http.ResponseWriter, r *http.Request) bool {
	kind := ""
	switch {
	case strings.HasSuffix(r.URL.Path, "/services"):
		kind = `{"kind":"ServiceList","apiVersion":"v1",`
	case strings.HasSuffix(r.URL.Path, "/endpointslices"):
		kind = `{"kind":"EndpointSliceList","apiVersion":"discovery.k8s.io/v1",`
	default:
		return false
	}
	switch {
	case isList(r):
		answer(w, http.StatusOK, kind+`"metadata":{"resourceVersion":"1"},"items":[]}`)
	case isStreamedList(r):
		refuseStream(w)
	default:
		silent(w, r)
	}
	return true
}

// older answers lists as they were when they were kept, and knows nothing of
// what came later.
func (g *gateway) older(w http.ResponseWriter, r *http.Request) bool {
	g.mu.Lock()
	was, kept := g.lists[r.URL.Path]
	served := g.served[r.URL.Path]
	g.served[r.URL.Path] = served || isList(r)
	g.mu.Unlock()
	switch {
	case kept && !served && !isList(r):
		return noStreams(w, r) || expired(w, r)
	case kept && isList(r):
		w.Header().Set("Content-Type", was.contentType)
		_, _ = w.Write(was.body)
	default:
		return false
	}
	return true
}

// noStreams has lists be asked for one by one, to be kept.
func noStreams(w http.ResponseWriter, r *http.Request) bool {
	if !isStreamedList(r) {
		return false
	}
	refuseStream(w)
	return true
}

// refuseStream is what a server without streamed lists says.
func refuseStream(w http.ResponseWriter) {
	answer(w, http.StatusUnprocessableEntity, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422,"message":"sendInitialEvents is forbidden"}`)
}

func answer(w http.ResponseWriter, code int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, body)
}
