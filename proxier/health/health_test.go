package health

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/proxier"
)

const timeout = time.Minute

// pass lets time go by in a bubble of synctest.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func newServer() (*Server, *proxier.Eligibility) {
	e := new(proxier.Eligibility)
	status := &Status{Version: "v1", Node: "node1"}
	status.Begin("iptables")
	return &Server{Health: New(timeout), Eligibility: func() proxier.Eligibility { return *e }, Status: status}, e
}

func TestProxyHealth(t *testing.T) {
	const v4, v6 = proxier.IPv4, proxier.IPv6
	tests := []struct {
		name           string
		do             func(h *Health, e *proxier.Eligibility)
		healthz, livez int
	}{
		{"nothing was ever due", func(*Health, *proxier.Eligibility) {}, 200, 200},
		{"due and not done yet", func(h *Health, _ *proxier.Eligibility) {
			h.Due(v4)
			pass(timeout - time.Nanosecond)
		}, 200, 200},
		{"due for too long", func(h *Health, _ *proxier.Eligibility) {
			h.Due(v4)
			pass(timeout)
		}, 503, 503},
		{"further changes do not make the oldest younger", func(h *Health, _ *proxier.Eligibility) {
			h.Due(v4)
			pass(timeout / 2)
			h.Due(v4)
			pass(timeout / 2)
		}, 503, 503},
		{"done late", func(h *Health, _ *proxier.Eligibility) {
			h.Due(v4)
			pass(2 * timeout)
			h.Done(v4)
			pass(time.Second)
		}, 200, 200},
		{"nothing due for days", func(h *Health, _ *proxier.Eligibility) {
			h.Due(v4)
			h.Done(v4)
			pass(100 * time.Hour)
		}, 200, 200},
		{"one family stalls while the other works", func(h *Health, _ *proxier.Eligibility) {
			h.Due(v4)
			h.Due(v6)
			for range 6 {
				h.Due(v4)
				h.Done(v4)
				pass(timeout / 6)
			}
		}, 503, 503},
		{"both families work", func(h *Health, _ *proxier.Eligibility) {
			for range 7 {
				h.Due(v4)
				h.Done(v4)
				h.Due(v6)
				h.Done(v6)
				pass(timeout / 6)
			}
		}, 200, 200},
		{"node tainted", func(h *Health, e *proxier.Eligibility) {
			h.Due(v4)
			h.Done(v4)
			pass(time.Second)
			*e = proxier.NodeTainted
		}, 503, 200},
		{"node missing", func(_ *Health, e *proxier.Eligibility) { *e = proxier.NodeMissing }, 503, 200},
		{"node deleted and stalled", func(h *Health, e *proxier.Eligibility) {
			h.Due(v4)
			pass(timeout)
			*e = proxier.NodeDeleted
		}, 503, 503},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, e := newServer()
				got := map[string]int{}
				s.Answered = func(path string, code int) { got[path] = code }
				test.do(s.Health, e)
				for path, want := range map[string]int{"/healthz": test.healthz, "/livez": test.livez} {
					w := ask(s.Handler(), http.MethodGet, path)
					if w.Code != want {
						t.Errorf("%s: %d, want %d: %s", path, w.Code, want, w.Body)
					}
				}
				if want := map[string]int{"/healthz": test.healthz, "/livez": test.livez}; !cmp.Equal(got, want) {
					t.Errorf("told of the answers %v, want %v", got, want)
				}
			})
		})
	}
}

func TestProxyHealthBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, e := newServer()
		both := func(name string) {
			t.Helper()
			for _, path := range []string{"healthz", "livez"} {
				compareGolden(t, path+"-"+name, ask(s.Handler(), http.MethodGet, "/"+path))
			}
		}
		both("at-start")
		s.Health.Due(proxier.IPv4)
		s.Health.Due(proxier.IPv6)
		pass(time.Second)
		s.Health.Done(proxier.IPv4)
		pass(time.Second)
		s.Health.Done(proxier.IPv6)
		pass(time.Hour)
		both("healthy")
		*e = proxier.NodeTainted
		both("tainted")
		*e = proxier.Eligible
		s.Health.Due(proxier.IPv6)
		pass(timeout)
		both("stalled")
	})
}

func TestOtherPathsAreNotFound(t *testing.T) {
	s, _ := newServer()
	for _, path := range []string{"/", "/healthz/", "/readyz", "/metrics"} {
		if w := ask(s.Handler(), http.MethodGet, path); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", path, w.Code)
		}
	}
}
