package preflight

import (
	"context"
	"net/http"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kube-proxier/kube-proxier/proxier/source"
)

// apiPatience bounds all questions to the API server together.
const apiPatience = 5 * time.Second

// askAPI asks for what the daemon watches, one object of each kind.
func askAPI(ctx context.Context, connection source.Connection, node string) *API {
	rest, err := connection.Config()
	if err != nil {
		return &API{ClientErr: err}
	}
	a := &API{Server: rest.Host}
	var seen clock
	rest.Wrap(func(next http.RoundTripper) http.RoundTripper { return &watchClock{next, &seen} })
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		a.ClientErr = err
		return a
	}
	ctx, cancel := context.WithTimeout(ctx, apiPatience)
	defer cancel()
	if a.Err = client.Discovery().RESTClient().Get().AbsPath("/version").MaxRetries(0).Do(ctx).Error(); a.Err != nil {
		a.Ahead = seen.ahead()
		return a
	}
	one := metav1.ListOptions{Limit: 1}
	for _, question := range []struct {
		read string
		ask  func() error
	}{
		{"list services", func() error { _, err := client.CoreV1().Services("").List(ctx, one); return err }},
		{"list endpointslices", func() error { _, err := client.DiscoveryV1().EndpointSlices("").List(ctx, one); return err }},
		{"get node " + node, func() error { _, err := client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{}); return err }},
	} {
		err := question.ask()
		switch {
		case apierrors.IsNotFound(err):
			a.NodeMissing = true
		case err != nil:
			a.Denied = append(a.Denied, Denial{question.read, err})
		}
	}
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
