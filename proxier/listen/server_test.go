package listen

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// newServer says "here" at an address.
func newServer(place Place) *Server {
	s := At(place, "healthzBindAddress", func() *http.Server {
		return &http.Server{
			ReadTimeout: time.Minute,
			Handler:     http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }),
		}
	})
	s.retry = 5 * time.Millisecond
	return s
}

// get is what an address answers, "" for nothing.
func get(at netip.AddrPort) string {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	response, err := client.Get("http://" + at.String())
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return ""
	}
	return string(body)
}

// await asks until the answer is the wanted one.
func await(t *testing.T, at netip.AddrPort, want string) {
	t.Helper()
	deadline, tick := time.After(10*time.Second), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for get(at) != want {
		select {
		case <-deadline:
			t.Fatalf("no answer %q from %s in time", want, at)
		case <-tick.C:
		}
	}
}

// start runs a server until the test ends.
func start(t *testing.T, s *Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
}

// free is an address on loopback that nobody listens on.
func free(t *testing.T) netip.AddrPort {
	t.Helper()
	l := take(t, "127.0.0.1:0")
	l.Close()
	return addrOf(l)
}

func take(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func addrOf(l net.Listener) netip.AddrPort { return netip.MustParseAddrPort(l.Addr().String()) }

func at(address string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(address), port)
}

func TestAnUnspecifiedAddressIsOfBothFamilies(t *testing.T) {
	port := free(t).Port()
	start(t, newServer(Place{Address: at("0.0.0.0", port)}))
	await(t, at("127.0.0.1", port), "here")
	if l, err := net.Listen("tcp6", "[::1]:0"); err == nil { // else there is but one family
		l.Close()
		await(t, at("::1", port), "here")
	}
}

func TestOneAddressIsNoOther(t *testing.T) {
	port := free(t).Port()
	start(t, newServer(Place{Address: at("127.0.0.2", port)}))
	await(t, at("127.0.0.2", port), "here")
	if got := get(at("127.0.0.1", port)); got != "" {
		t.Errorf("answers on another address: %q", got)
	}
}

func TestATakenAddressIsTriedAgain(t *testing.T) {
	taken := take(t, "127.0.0.1:0")
	s := newServer(Place{Address: addrOf(taken)})
	told := make(chan error, 100)
	s.Failed = func(err error) { told <- err }
	start(t, s)
	if err := <-told; !strings.Contains(err.Error(), "healthzBindAddress "+addrOf(taken).String()) {
		t.Errorf("told %q, which does not name field and address", err)
	}
	taken.Close()
	await(t, addrOf(taken), "here")
	if n := len(told); n != 0 {
		t.Errorf("the same failure was told %d more times", n)
	}
}

func TestATakenAddressEndsTheProgramIfAsked(t *testing.T) {
	address := addrOf(take(t, "127.0.0.1:0"))
	err := newServer(Place{Address: address, HardFail: true}).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), address.String()) {
		t.Errorf("got %v, want an error that names the address", err)
	}
}

func TestTheEndIsNoError(t *testing.T) {
	for name, address := range map[string]netip.AddrPort{"serving": free(t), "turned off": {}} {
		t.Run(name, func(t *testing.T) {
			s := newServer(Place{Address: address, HardFail: true})
			s.Failed = func(err error) { t.Errorf("told of %v", err) }
			ctx, cancel := context.WithCancelCause(t.Context())
			ended := make(chan error)
			go func() { ended <- s.Run(ctx) }()
			if address.IsValid() {
				await(t, address, "here")
			}
			cancel(errors.New("enough"))
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if address.IsValid() {
				await(t, address, "")
			}
			if err := s.Move(t.Context(), Place{Address: free(t)}); err == nil {
				t.Error("it moves after its end")
			}
		})
	}
}

func TestMove(t *testing.T) {
	port, other := free(t).Port(), free(t).Port()
	for _, test := range []struct {
		name     string
		from, to netip.AddrPort
	}{
		{"to another port", at("127.0.0.1", port), at("127.0.0.1", other)},
		{"to another address", at("127.0.0.1", port), at("127.0.0.2", port)},
		{"to all addresses", at("127.0.0.1", port), at("0.0.0.0", port)},
		{"from all addresses to one", at("0.0.0.0", port), at("127.0.0.1", port)},
		{"off", at("127.0.0.1", port), netip.AddrPort{}},
		{"on", netip.AddrPort{}, at("127.0.0.1", port)},
		{"not at all", at("127.0.0.1", port), at("127.0.0.1", port)},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(Place{Address: test.from})
			start(t, s)
			probe := func(a netip.AddrPort) netip.AddrPort {
				if a.IsValid() && a.Addr().IsUnspecified() {
					return at("127.0.0.3", a.Port())
				}
				return a
			}
			if test.from.IsValid() {
				await(t, probe(test.from), "here")
			}
			if err := s.Move(t.Context(), Place{Address: test.to}); err != nil {
				t.Fatal(err)
			}
			if test.to.IsValid() {
				if got := get(probe(test.to)); got != "here" {
					t.Errorf("the new address answers %q", got)
				}
			}
			if test.from.IsValid() && test.from != test.to && probe(test.from) != at("127.0.0.1", test.to.Port()) && !test.to.Addr().IsUnspecified() {
				if got := get(probe(test.from)); got != "" {
					t.Errorf("the old address answers %q", got)
				}
			}
			if s.Place().Address != test.to {
				t.Errorf("it says that it is at %s", s.Place().Address)
			}
		})
	}
}

func TestWhoCannotMoveStays(t *testing.T) {
	elsewhere := addrOf(take(t, "127.0.0.1:0"))
	port := free(t).Port()
	take(t, at("127.0.0.2", port).String())
	for name, to := range map[string]netip.AddrPort{"another port": elsewhere, "all addresses, one of which is taken": at("0.0.0.0", port)} {
		t.Run(name, func(t *testing.T) {
			here := at("127.0.0.1", port)
			s := newServer(Place{Address: here})
			start(t, s)
			await(t, here, "here")
			err := s.Move(t.Context(), Place{Address: to, HardFail: true})
			if err == nil || !strings.Contains(err.Error(), "healthzBindAddress "+to.String()) {
				t.Errorf("moved with %v, want an error that names field and address", err)
			}
			if got := get(here); got != "here" {
				t.Errorf("it answers %q where it was", got)
			}
			if s.Place() != (Place{Address: here}) {
				t.Errorf("it says that it is at %+v", s.Place())
			}
		})
	}
}

func TestARequestMayEndAtTheOldAddress(t *testing.T) {
	here := free(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	s := At(Place{Address: here}, "metricsBindAddress", func() *http.Server {
		return &http.Server{ReadTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			select {
			case asked <- struct{}{}:
				<-answer
			default:
			}
			_, _ = io.WriteString(w, "here")
		})}
	})
	start(t, s)
	got := make(chan string, 1)
	deadline := time.After(10 * time.Second)
	for begun := false; !begun; {
		go func() { got <- get(here) }()
		select {
		case <-asked:
			begun = true
		case <-got: // not listening yet
		case <-deadline:
			t.Fatal("nobody listens")
		}
	}
	if err := s.Move(t.Context(), Place{Address: free(t)}); err != nil {
		t.Fatal(err)
	}
	close(answer)
	if body := <-got; body != "here" {
		t.Errorf("the request that was running got %q", body)
	}
}
