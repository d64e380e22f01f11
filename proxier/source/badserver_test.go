package source

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A badServer is a small API server with no Services and one Node, which a test
// can make answer something else.
type badServer struct {
	*httptest.Server
	// bad answers instead, while it is not nil.
	bad atomic.Pointer[http.HandlerFunc]
	// asked counts what bad has answered.
	asked atomic.Int32
}

func newBadServer(t *testing.T, bad http.HandlerFunc) *badServer {
	t.Helper()
	s := &badServer{}
	s.bad.Store(&bad)
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.CloseClientConnections)
	t.Cleanup(s.Close)
	return s
}

// ServeHTTP implements http.Handler.
func (s *badServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if bad := s.bad.Load(); bad != nil && *bad != nil {
		s.asked.Add(1)
		(*bad)(w, r)
		return
	}
	good(w, r)
}

// good is a server that knows lists and watches, and no streaming lists.
func good(w http.ResponseWriter, r *http.Request) {
	lists := map[string]string{
		"/version":         `{"major":"1","minor":"36","gitVersion":"v1.36.0"}`,
		"/api/v1/services": listOf("v1", "Service", ""),
		"/api/v1/nodes":    listOf("v1", "Node", `{"metadata":{"name":"here","resourceVersion":"1"},"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.1"}]}}`),
		"/apis/discovery.k8s.io/v1/endpointslices": listOf("discovery.k8s.io/v1", "EndpointSlice", ""),
	}
	body, known := lists[r.URL.Path]
	w.Header().Set("Content-Type", "application/json")
	switch {
	case !known:
		w.WriteHeader(http.StatusNotFound)
	case r.URL.Query().Get("sendInitialEvents") != "":
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, statusOf(http.StatusUnprocessableEntity, "Invalid", "sendInitialEvents is forbidden"))
	case r.URL.Query().Get("watch") != "":
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	default:
		fmt.Fprint(w, body)
	}
}

func listOf(version, kind, item string) string {
	return fmt.Sprintf(`{"apiVersion":%q,"kind":"%sList","metadata":{"resourceVersion":"1"},"items":[%s]}`, version, kind, item)
}

func statusOf(code int, reason, message string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"Status","metadata":{},"status":"Failure","message":%q,"reason":%q,"code":%d}`, message, reason, code)
}

// says answers everything the same way.
func says(code int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}
}

// badAnswers are those of servers that are ill, or none; and what is said of
// them, in part.
func badAnswers() map[string]struct {
	bad  http.HandlerFunc
	want string
} {
	const asJSON, asProtobuf = "application/json", "application/vnd.kubernetes.protobuf"
	badLists := func(then http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/version" || r.URL.Path == "/api/v1/nodes" {
				good(w, r)
				return
			}
			then(w, r)
		}
	}
	return map[string]struct {
		bad  http.HandlerFunc
		want string
	}{
		"an expired token":       {says(401, asJSON, statusOf(401, "Unauthorized", "Unauthorized")), "does not know this client: the server has asked for the client to provide credentials: has its token or certificate expired?"},
		"nothing is allowed":     {says(403, asJSON, statusOf(403, "Forbidden", "no")), "the API server does not answer: "},
		"too many requests":      {says(429, asJSON, statusOf(429, "TooManyRequests", "later")), "the API server does not answer: the server has received too many requests"},
		"an error":               {says(500, asJSON, statusOf(500, "InternalError", "etcd is away")), "the API server does not answer: an error on the server"},
		"a page of a web server": {says(200, "text/html", "<html>Welcome</html>"), `is no API server: asked for /version, it says "<html>Welcome</html>"`},
		"JSON of somebody else":  {says(200, asJSON, `{"ok":true}`), `is no API server: asked for /version, it says "{\"ok\":true}"`},
		"nothing":                {says(200, asJSON, ""), `is no API server: asked for /version, it says ""`},
		"a connection that ends": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "the API server does not answer: "},
		"lists that are none":    {badLists(says(200, asJSON, "[1, 2")), "the API server answers, but not everything: list services: "},
		"lists of another kind":  {badLists(says(200, asJSON, `{"apiVersion":"v1","kind":"Secret"}`)), "the API server answers, but not everything: list services: the answer is no list"},
		"broken Protobuf":        {badLists(says(200, asProtobuf, "k8s\x00\xff\xff\xff\xff")), "the API server answers, but not everything: list services: "},
		"lists that are denied":  {badLists(says(403, asJSON, statusOf(403, "Forbidden", "may not list"))), "but not everything: list services: may not list; list endpointslices: may not list"},
		"a conflict": {
			badLists(says(409, asJSON, statusOf(409, "Conflict", "the resource version has changed"))),
			"list services: the resource version has changed",
		},
	}
}

func TestAsk(t *testing.T) {
	for name, test := range badAnswers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, err := Connection{Master: newBadServer(t, test.bad).URL, QPS: -1}.Client()
			if err != nil {
				t.Fatal(err)
			}
			if got := Ask(t.Context(), client, "here").String(); !strings.Contains(got, test.want) {
				t.Errorf("%q, want it to contain %q", got, test.want)
			}
		})
	}
	for node, want := range map[string]string{
		"here":  "the API server answers, and has not sent all objects yet",
		"there": "there is no Node object of this node's name",
		"bare":  "the Node object of this node has no address yet",
	} {
		t.Run("good, and asked for the Node "+node, func(t *testing.T) {
			selecting := func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				switch _, name, _ := strings.Cut(r.URL.Query().Get("fieldSelector"), "="); name {
				case "there":
					fmt.Fprint(w, listOf("v1", "Node", ""))
				case "bare":
					fmt.Fprint(w, listOf("v1", "Node", `{"metadata":{"name":"bare","resourceVersion":"1"}}`))
				default:
					good(w, r)
				}
			}
			client, err := Connection{Master: newBadServer(t, selecting).URL, QPS: -1}.Client()
			if err != nil {
				t.Fatal(err)
			}
			if got := Ask(t.Context(), client, node).String(); !strings.HasPrefix(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

// One request says whether Services may be listed, and by which address pods reach
// the server.
func TestAskForTheAddressOfTheService(t *testing.T) {
	server := newBadServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("fieldSelector") != "metadata.name=kubernetes,metadata.namespace=default" {
			good(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, listOf("v1", "Service", `{"metadata":{"name":"kubernetes","namespace":"default"},"spec":{"clusterIP":"10.96.0.1","clusterIPs":["10.96.0.1","fd00::1"]}}`))
	})
	client, err := Connection{Master: server.URL, QPS: -1}.Client()
	if err != nil {
		t.Fatal(err)
	}
	answer := Ask(t.Context(), client, "here")
	if want := []string{"10.96.0.1", "fd00::1"}; answer.Err != nil || len(answer.Denied) > 0 || !slices.Equal(answer.ServiceIPs, want) {
		t.Errorf("%s, with the addresses %v, want %v", answer, answer.ServiceIPs, want)
	}
}

// Whatever comes instead of objects is asked for again, and what was there is
// not taken for gone: the store has not synced, until the server is well.
func TestAPISurvivesBadAnswers(t *testing.T) {
	for name, test := range badAnswers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newBadServer(t, test.bad)
			client, err := Connection{Master: server.URL, QPS: -1}.Client()
			if err != nil {
				t.Fatal(err)
			}
			r := start(t, (&API{Client: client, NodeName: "here"}).Run)
			deadline := time.After(time.Minute)
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for server.asked.Load() < 6 { // each kind has been asked for at least once more than at first
				select {
				case <-tick.C:
				case <-deadline:
					t.Fatalf("asked only %d times within a minute", server.asked.Load())
				}
			}
			if r.store.Synced() {
				t.Fatal("synced by bad answers")
			}
			server.bad.Store(nil)
			select {
			case <-r.wake:
			case <-deadline:
				t.Fatal("the server is well, and the store has not synced within a minute")
			}
			if node := r.store.Snapshot().Node; node == nil || node.Name != "here" {
				t.Errorf("synced with the Node %v", node)
			}
		})
	}
}
