package e2e

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/internal/testenv/render"
	"github.com/kube-proxier/kube-proxier/proxier/source"
)

// server is the URL at which node1 reaches the API server. The Service
// "kubernetes" leads nowhere in these tests, as on a node that starts.
func (s *stage) server() string {
	s.t.Helper()
	kubeconfig, err := clientcmd.LoadFromFile(s.kubeconfig)
	if err != nil {
		s.t.Fatal(err)
	}
	return kubeconfig.Clusters["test"].Server
}

// --master wins over a kubeconfig, whose server may be an address that this
// program has to make reachable first.
func TestMasterWinsOverTheKubeconfig(t *testing.T) {
	t.Parallel()
	s := newStage(t, testenv.VariantNFT)
	server := s.server()
	text, err := os.ReadFile(s.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(elsewhere, []byte(strings.ReplaceAll(string(text), server, "https://10.96.0.1:443")), 0o600); err != nil {
		t.Fatal(err)
	}
	s.kubeconfig = elsewhere
	s.startSynced("--master=" + server)
	service := s.createService("web", nil)
	s.setEndpoints("web", s.remote)
	s.expect("a ClusterIP", "remote", from(clusterIPs(service), s.caller))
}

// A pod without a kubeconfig has the token of its account, and the API server's
// place in its environment. In a DaemonSet that says where the server itself is.
func TestServiceAccountAndEnvironmentLeadToTheAPIServer(t *testing.T) {
	t.Parallel()
	s := newStage(t, testenv.VariantNFT)
	dir, err := testenv.VariantNFT.PathDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s.environ = testenv.Environ(dir) // the recorder writes files
	place, err := url.Parse(s.server())
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(place.Host)
	if err != nil {
		t.Fatal(err)
	}
	set, configMaps := s.install(render.Kustomize(t, "kustomize/base"))
	for _, data := range configMaps {
		for file, text := range data {
			data[file] = strings.ReplaceAll(text, "kubeconfig: /var/lib/kube-proxy/kubeconfig.conf", `kubeconfig: ""`)
		}
	}
	c := &set.Spec.Template.Spec.Containers[0]
	c.Env = append(c.Env, corev1.EnvVar{Name: "KUBERNETES_SERVICE_HOST", Value: host}, corev1.EnvVar{Name: "KUBERNETES_SERVICE_PORT", Value: port})
	p := s.newPod(set, configMaps)
	d := p.run()
	d.awaitSync()
	service := s.createService("web", nil)
	s.setEndpoints("web", s.remote)
	s.expect("a ClusterIP", "remote", from(clusterIPs(service), s.caller))
	for file, text := range configMaps["kube-proxier"] {
		if file == "config.conf" && !strings.Contains(text, `kubeconfig: ""`) {
			t.Errorf("the configuration names a kubeconfig: this test shows nothing\n%s", text)
		}
	}
}

// A token that the server does not take is said to be one; the next one in its
// file is used without a restart, and nothing is changed before.
func TestExpiredToken(t *testing.T) {
	testenv.Long(t, testing.Short(), "waits for up to a minute, until client-go reads a token's file again")
	t.Parallel()
	s := newStage(t, testenv.VariantNFT)
	dir, err := testenv.VariantNFT.PathDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s.environ = testenv.Environ(dir) // the recorder writes files
	p := s.newPod(s.install(render.Kustomize(t, "kustomize/base")))
	path := filepath.Join(p.dir, "secrets/token")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(token string) {
		if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("expired")
	p.runInit()
	rules := s.rules()
	d := p.runMain()
	d.awaitLog("does not know this client")
	if have := s.rules(); have != rules {
		t.Errorf("without objects the rules became\n%s\nfrom\n%s", have, rules)
	}
	write(string(good))
	d.awaitSync()
	service := s.createService("web", nil)
	s.setEndpoints("web", s.remote)
	s.expect("a ClusterIP", "remote", from(clusterIPs(service), s.caller))
}

// kube-proxier check compares the server's address with that of its Service, which
// the server makes soon after its start.
func TestTheAPIServerTellsTheAddressOfItsService(t *testing.T) {
	t.Parallel()
	s := newStage(t, testenv.VariantNFT)
	client, err := source.Connection{Kubeconfig: shared.kube.Kubeconfig()}.Client()
	if err != nil {
		t.Fatal(err)
	}
	s.await("the Service's address", func() string {
		service, err := shared.client.CoreV1().Services(metav1.NamespaceDefault).Get(t.Context(), "kubernetes", metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		answer := source.Ask(t.Context(), client, s.nodeName)
		if !slices.Equal(answer.ServiceIPs, service.Spec.ClusterIPs) {
			return fmt.Sprintf("%s, with the addresses %v, want %v", answer, answer.ServiceIPs, service.Spec.ClusterIPs)
		}
		return ""
	})
}
