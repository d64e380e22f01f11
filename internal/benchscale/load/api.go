package load

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// An API is a kube-apiserver, as this process reaches it.
type API struct {
	// Kubeconfig is a file with the credentials. Its server is what the API
	// server's certificate says; where it is reached, Addr says.
	Kubeconfig string
	Addr       netip.AddrPort
}

// Client makes a client that speaks protobuf and knows no limit.
func (a API) Client() (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", a.Kubeconfig)
	if err != nil {
		return nil, err
	}
	config.Host = "https://" + a.Addr.String()
	config.ServerName = "localhost" // certified, see testenv.Kube; Addr need not be
	config.QPS = -1
	config.ContentType = runtime.ContentTypeProtobuf
	config.WarningHandler = rest.NoWarnings{}
	return kubernetes.NewForConfig(config)
}

// ForwardInto makes the API reachable from inside of a host, and returns a
// kubeconfig file, below dir, for programs that run there.
func (a API) ForwardInto(host *testenv.Host, dir string) (kubeconfig string, err error) {
	forward, err := host.Forward(a.Addr)
	if err != nil {
		return "", err
	}
	config, err := clientcmd.LoadFromFile(a.Kubeconfig)
	if err != nil {
		return "", fmt.Errorf("kubeconfig of the API server: %w", err)
	}
	for _, cluster := range config.Clusters {
		cluster.Server = "https://" + forward.Addr().String()
	}
	kubeconfig = filepath.Join(dir, host.Name+".kubeconfig")
	return kubeconfig, clientcmd.WriteToFile(*config, kubeconfig)
}

// NewAPI is the API server that a kubeconfig file of testenv.Kube leads to.
func NewAPI(kubeconfig string) (API, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return API{}, err
	}
	addr, err := netip.ParseAddrPort(strings.TrimPrefix(config.Host, "https://"))
	if err != nil {
		return API{}, fmt.Errorf("kubeconfig %s: server: %w", kubeconfig, err)
	}
	return API{Kubeconfig: kubeconfig, Addr: addr}, nil
}
