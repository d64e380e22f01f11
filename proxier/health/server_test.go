package health

import (
	"context"
	"errors"
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

// start runs a server until the test ends, and sends what Run returns.
func start(t *testing.T, s *Server) <-chan error {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended, seen := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(seen)
		ended <- s.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-seen
	})
	return ended
}

func TestAnUnspecifiedAddressIsOfBothFamilies(t *testing.T) {
	s, _ := newServer()
	port := freePort(t)
	s.Address = netip.AddrPortFrom(netip.IPv4Unspecified(), port)
	start(t, s)
	await(t, "127.0.0.1", port, http.StatusOK)
	if l, err := net.Listen("tcp6", "[::1]:0"); err == nil { // else there is but one family
		l.Close()
		await(t, "::1", port, http.StatusOK)
	}
	if code := get(t, "127.0.0.1", port, "/status"); code != http.StatusOK {
		t.Errorf("/status over a real connection: %d, want 200", code)
	}
}

func TestOneAddressIsNoOther(t *testing.T) {
	s, _ := newServer()
	port := freePort(t)
	s.Address = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), port)
	start(t, s)
	await(t, "127.0.0.2", port, http.StatusOK)
	if code := get(t, "127.0.0.1", port, "/livez"); code != 0 {
		t.Errorf("answers on another address: %d", code)
	}
}

func TestATakenAddressIsTriedAgain(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s, _ := newServer()
	s.Address = taken.Addr().(*net.TCPAddr).AddrPort()
	s.retry = 5 * time.Millisecond
	told := make(chan error, 100)
	s.Failed = func(err error) { told <- err }
	start(t, s)
	if err := <-told; !strings.Contains(err.Error(), "healthzBindAddress "+s.Address.String()) {
		t.Errorf("told %q, which does not name the address", err)
	}
	taken.Close()
	await(t, "127.0.0.1", s.Address.Port(), http.StatusOK)
	if n := len(told); n != 0 {
		t.Errorf("the same failure was told %d more times", n)
	}
}

func TestATakenAddressEndsTheProgramIfAsked(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s, _ := newServer()
	s.Address, s.HardFail = taken.Addr().(*net.TCPAddr).AddrPort(), true
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), s.Address.String()) {
		t.Errorf("got %v, want an error that names the address", err)
	}
}

func TestNoAddressIsNoServer(t *testing.T) {
	s, _ := newServer()
	s.HardFail = true
	if err := s.Run(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTheEndIsNoError(t *testing.T) {
	s, _ := newServer()
	port := freePort(t)
	s.Address, s.HardFail = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port), true
	s.Failed = func(err error) { t.Errorf("told of %v", err) }
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	await(t, "127.0.0.1", port, http.StatusOK)
	cancel(errors.New("enough"))
	if err := <-ended; err != nil {
		t.Error(err)
	}
	await(t, "127.0.0.1", port, 0)
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
