package preflight

import (
	"context"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/kube-proxier/kube-proxier/proxier/source"
)

// askAPI makes a client of its own, to see the server's clock.
func askAPI(ctx context.Context, connection source.Connection, node string) *API {
	rest, err := connection.Config()
	if err != nil {
		return &API{ClientErr: err}
	}
	var seen clock
	rest.Wrap(func(next http.RoundTripper) http.RoundTripper { return &watchClock{next, &seen} })
	client, err := source.NewClient(rest)
	if err != nil {
		return &API{ClientErr: err}
	}
	a := &API{Server: rest.Host, Answer: source.Ask(ctx, client, node), PodsServer: os.Getenv("KUBERNETES_SERVICE_HOST")}
	a.Ahead = seen.ahead()
	return a
}

// A clock is what the server's showed in its last answer, and this host's then.
type clock struct {
	mu          sync.Mutex
	there, here time.Time
}

func (c *clock) ahead() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.there.Sub(c.here)
}

// watchClock looks at the Date of each answer (RFC 9110, section 6.6.1).
type watchClock struct {
	next http.RoundTripper
	seen *clock
}

// RoundTrip implements http.RoundTripper.
func (w *watchClock) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := w.next.RoundTrip(request)
	if err != nil {
		return response, err
	}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		w.seen.mu.Lock()
		w.seen.there, w.seen.here = date, time.Now()
		w.seen.mu.Unlock()
	}
	return response, nil
}
