package source

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const kubeconfig = `
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: k, cluster: {server: "https://file.example:6443"}}]
users: [{name: u, user: {token: secret}}]
contexts: [{name: c, context: {cluster: k, user: u}}]
`

func TestConnection(t *testing.T) {
	dir := t.TempDir()
	write(t, kubeconfig, dir, "kubeconfig")
	write(t, "][", dir, "broken")
	file := filepath.Join(dir, "kubeconfig")
	for name, test := range map[string]struct {
		connection Connection
		host, err  string
	}{
		"kubeconfig":            {Connection{Kubeconfig: file}, "https://file.example:6443", ""},
		"master overrides":      {Connection{Kubeconfig: file, Master: "https://127.0.0.1:1"}, "https://127.0.0.1:1", ""},
		"master alone":          {Connection{Master: "http://127.0.0.1:1"}, "http://127.0.0.1:1", ""},
		"no kubeconfig there":   {Connection{Kubeconfig: filepath.Join(dir, "none")}, "", filepath.Join(dir, "none")},
		"broken kubeconfig":     {Connection{Kubeconfig: filepath.Join(dir, "broken")}, "", filepath.Join(dir, "broken")},
		"neither and not a pod": {Connection{}, "", "neither a kubeconfig nor --master is given"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("KUBERNETES_SERVICE_HOST", "")
			t.Setenv("KUBECONFIG", file) // a daemon takes its orders from its own flags only
			config, err := test.connection.Config()
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("error %v, want one with %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if config.Host != test.host {
				t.Errorf("server %s, want %s", config.Host, test.host)
			}
			if test.connection.Kubeconfig != "" && config.BearerToken != "secret" {
				t.Error("the user of the kubeconfig is not used")
			}
		})
	}
}

func TestConnectionAsksForProtobuf(t *testing.T) {
	for name, test := range map[string]struct {
		contentType, accept, want string
	}{
		"by default":   {"", "", "application/vnd.kubernetes.protobuf,application/json"},
		"JSON instead": {"application/json", "application/json", "application/json"},
	} {
		t.Run(name, func(t *testing.T) {
			accept := make(chan string, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				accept <- r.Header.Get("Accept") + " " + r.UserAgent()
				http.Error(w, "", http.StatusTeapot)
			}))
			defer server.Close()
			c := Connection{Master: server.URL, ContentType: test.contentType, AcceptContentTypes: test.accept, UserAgent: "test"}
			client, err := c.Client()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.Nodes.List(t.Context(), metav1.ListOptions{}); err == nil {
				t.Error("no error from a teapot")
			}
			if got, want := <-accept, test.want+" test"; got != want {
				t.Errorf("asked for %q, want %q", got, want)
			}
		})
	}
}
