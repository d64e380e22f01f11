package health

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
)

// get asks path on loopback and returns the code, 0 where nobody answers.
func get(t *testing.T, host string, port uint16, path string) int {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	response, err := client.Get("http://" + net.JoinHostPort(host, strconv.Itoa(int(port))) + path)
	if err != nil {
		return 0
	}
	response.Body.Close()
	return response.StatusCode
}

// await asks until the code is the wanted one.
func await(t *testing.T, host string, port uint16, want int) {
	t.Helper()
	deadline, tick := time.After(10*time.Second), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for get(t, host, port, "/livez") != want {
		select {
		case <-deadline:
			t.Fatalf("no %d from %s port %d in time", want, host, port)
		case <-tick.C:
		}
	}
}

func TestAnswersOverARealConnection(t *testing.T) {
	s, _ := newServer()
	server := s.HTTPServer()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	port := netip.MustParseAddrPort(listener.Addr().String()).Port()
	await(t, "127.0.0.1", port, http.StatusOK)
	if code := get(t, "127.0.0.1", port, "/status"); code != http.StatusOK {
		t.Errorf("/status: %d, want 200", code)
	}
}

func TestOnlyThisHostMayAskForTheStatus(t *testing.T) {
	s, _ := newServer()
	for _, test := range []struct {
		name, remote, local string
		want                int
	}{
		{"loopback", "127.0.0.1:40000", "127.0.0.1:10256", http.StatusOK},
		{"loopback of IPv6", "[::1]:40000", "[::1]:10256", http.StatusOK},
		{"its own address", "192.0.2.1:40000", "192.0.2.1:10256", http.StatusOK},
		{"its own address on a socket of both families", "192.0.2.1:40000", "[::ffff:192.0.2.1]:10256", http.StatusOK},
		{"another host", "192.0.2.2:40000", "192.0.2.1:10256", http.StatusForbidden},
		{"nobody knows", "pipe", "192.0.2.1:10256", http.StatusForbidden},
	} {
		t.Run(test.name, func(t *testing.T) {
			local := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(test.local))
			request := httptest.NewRequest(http.MethodGet, "/status", nil)
			request = request.WithContext(context.WithValue(request.Context(), http.LocalAddrContextKey, net.Addr(local)))
			request.RemoteAddr = test.remote
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, request)
			if w.Code != test.want {
				t.Errorf("%d, want %d", w.Code, test.want)
			}
			if test.want != http.StatusOK && strings.Contains(w.Body.String(), "node1") {
				t.Errorf("tells something: %s", w.Body)
			}
		})
	}
}
