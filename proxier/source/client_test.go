package source

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
)

func TestEventsAreWrittenToTheirNamespace(t *testing.T) {
	asked := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked <- fmt.Sprintf("%s %s %.9s", r.Method, r.URL, body)
		w.Header().Set("Content-Type", runtime.ContentTypeJSON)
		fmt.Fprint(w, `{"kind": "Event", "apiVersion": "v1", "metadata": {"name": "e"}, "count": 3}`)
	}))
	defer server.Close()
	client, err := NewClient(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	event := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "e"}}
	for want, write := range map[string]func() (*corev1.Event, error){
		`POST /api/v1/namespaces/ns/events {"kind":"`:   func() (*corev1.Event, error) { return client.Events.Create(event) },
		`PUT /api/v1/namespaces/ns/events/e {"kind":"`:  func() (*corev1.Event, error) { return client.Events.Update(event) },
		`PATCH /api/v1/namespaces/ns/events/e a change`: func() (*corev1.Event, error) { return client.Events.Patch(event, []byte("a change")) },
	} {
		result, err := write()
		if err != nil || result.Count != 3 {
			t.Errorf("%s: %v, %v", want, result, err)
		}
		if got := <-asked; got != want {
			t.Errorf("asked for %q, want %q", got, want)
		}
	}
}

func TestGroupsOfTheAPIShareTheLimitOfRequests(t *testing.T) {
	for name, test := range map[string]struct {
		qps, want float32
	}{
		"by default": {0, rest.DefaultQPS},
		"a limit":    {12, 12},
		"no limit":   {-1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			groups, err := connect(&rest.Config{QPS: test.qps}, corev1.SchemeGroupVersion, discoveryv1.SchemeGroupVersion)
			if err != nil {
				t.Fatal(err)
			}
			one, other := groups[0].GetRateLimiter(), groups[1].GetRateLimiter()
			switch {
			case one != other:
				t.Errorf("%v and %v differ", one, other)
			case test.want == 0 && one != nil:
				t.Errorf("requests are limited to %v a second", one.QPS())
			case test.want != 0 && (one == nil || one.QPS() != test.want):
				t.Errorf("limit %v, want %v a second", one, test.want)
			}
		})
	}
}
