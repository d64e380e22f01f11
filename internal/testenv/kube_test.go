package testenv_test

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

func TestKubeVersionIsTheOneThatIsBuilt(t *testing.T) {
	text, err := os.ReadFile("kube/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if want := []byte("\tk8s.io/kubernetes " + testenv.KubeVersion + " "); !bytes.Contains(text, want) {
		t.Errorf("kube/go.mod does not require %q", want)
	}
}

func TestKubeStoresADualStackServiceOverARestart(t *testing.T) {
	k := testenv.StartKube(t)
	config, err := clientcmd.BuildConfigFromFlags("", k.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	created, err := client.CoreV1().Services("default").Create(t.Context(), dualStackService("web"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(created.Spec.ClusterIPs) != 2 || !inVIPs(created.Spec.ClusterIPs[0]) || !inVIPs(created.Spec.ClusterIPs[1]) {
		t.Errorf("have cluster IPs %v, want one of each family in %v", created.Spec.ClusterIPs, testenv.VIPs())
	}
	services, err := client.CoreV1().Services("default").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Stop(); err != nil {
		t.Fatal(err)
	}
	awaitEnd(t, services)
	if _, err := client.CoreV1().Services("default").Get(t.Context(), "web", metav1.GetOptions{}); err == nil {
		t.Error("a stopped API server answered")
	}
	if err := k.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	kept, err := client.CoreV1().Services("default").Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil || kept.UID != created.UID {
		t.Errorf("after the restart: have %v, %v; want the Service created before", kept, err)
	}
}

func TestKubeIsReachedFromAHostThroughAForward(t *testing.T) {
	k := testenv.StartKube(t)
	node := testenv.StartCluster(t).Node("node1")
	forward, kubeconfig, err := k.ForwardInto(node.Host)
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.Dial = func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		err = node.Do(func() error {
			conn, err = new(net.Dialer).DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	services, err := client.CoreV1().Services("").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	forward.Cut()
	awaitEnd(t, services)
	if _, err := client.CoreV1().Services("").List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("after the cut: %v", err)
	}
}

func dualStackService(name string) *corev1.Service {
	policy := corev1.IPFamilyPolicyRequireDualStack
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{IPFamilyPolicy: &policy, Ports: []corev1.ServicePort{{Port: 80}}},
	}
}

func inVIPs(text string) bool {
	addr, err := netip.ParseAddr(text)
	for _, vips := range testenv.VIPs() {
		if err == nil && vips.Contains(addr) {
			return true
		}
	}
	return false
}

// awaitEnd reads the watch until it ends.
func awaitEnd(t *testing.T, w watch.Interface) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case _, open := <-w.ResultChan():
			if !open {
				return
			}
		case <-deadline:
			t.Fatal("the watch did not end within 10 s")
		}
	}
}
