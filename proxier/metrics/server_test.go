package metrics_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
	"github.com/kube-proxier/kube-proxier/proxier/metrics"
)

func pages(t *testing.T) metrics.Pages {
	t.Helper()
	c, _, err := config.Load([]byte("apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nclusterCIDR: 10.244.0.0/16\n"), "node")
	if err != nil {
		t.Fatal(err)
	}
	return metrics.Pages{Mode: func() string { return c.Mode }, Config: c.JSON, Profiling: func() bool { return false }}
}

func TestPaths(t *testing.T) {
	plain := pages(t)
	profiled, broken := plain, plain
	profiled.Profiling = func() bool { return true }
	broken.Config = func() ([]byte, error) { return nil, errors.New("gone") }
	const text = "text/plain; charset=utf-8"
	for _, c := range []struct {
		name, method, path string
		pages              metrics.Pages
		code               int
		kind, body         string // body is a part
	}{
		{"metrics", "GET", "/metrics", plain, 200, "text/plain; version=0.0.4", "# TYPE kubeproxier_build_info gauge"},
		{"ping", "GET", "/healthz", plain, 200, text, "ok"},
		{"mode", "GET", "/proxyMode", plain, 200, text, "iptables"},
		{"configuration", "GET", "/configz", plain, 200, "application/json", `"clusterCIDR":"10.244.0.0/16"`},
		{"configuration that cannot be shown", "GET", "/configz", broken, 500, text, "gone"},
		{"nothing is changed", "POST", "/proxyMode", plain, 405, text, ""},
		{"another path", "GET", "/", plain, 404, text, ""},
		{"no profiles", "GET", "/debug/pprof/", plain, 404, text, ""},
		{"profiles", "GET", "/debug/pprof/", profiled, 200, "text/html", "goroutine"},
		{"one profile", "GET", "/debug/pprof/heap?debug=1", profiled, 200, text, "heap profile"},
		{"command line", "GET", "/debug/pprof/cmdline", profiled, 200, text, ""},
		{"symbols", "POST", "/debug/pprof/symbol", profiled, 200, text, "num_symbols"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			metrics.New(proxier.NewStore(), "v1").Handler(c.pages).ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
			if w.Code != c.code {
				t.Errorf("code %d, want %d: %s", w.Code, c.code, w.Body)
			}
			if kind := w.Header().Get("Content-Type"); !strings.HasPrefix(kind, c.kind) {
				t.Errorf("content type %q, want %q", kind, c.kind)
			}
			if !strings.Contains(w.Body.String(), c.body) {
				t.Errorf("the body does not hold %q:\n%s", c.body, w.Body)
			}
		})
	}
}

func TestConfigzHasBothDocuments(t *testing.T) {
	w := httptest.NewRecorder()
	metrics.New(proxier.NewStore(), "v1").Handler(pages(t)).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/configz", nil))
	var got map[string]struct {
		APIVersion, Kind, ClusterCIDR string
		IPVS                          struct{ DrainTimeout string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	c, own := got["kubeproxy.config.k8s.io"], got["kube-proxier.io"]
	if len(got) != 2 || c.APIVersion != "kubeproxy.config.k8s.io/v1alpha1" || c.Kind != "KubeProxyConfiguration" || c.ClusterCIDR != "10.244.0.0/16" {
		t.Errorf("got %s", w.Body)
	}
	if own.APIVersion != "kube-proxier.io/v1alpha1" || own.Kind != "KubeProxierConfiguration" || own.IPVS.DrainTimeout != "5m0s" {
		t.Errorf("our document is %+v in %s", own, w.Body)
	}
}
