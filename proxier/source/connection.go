package source

import (
	"cmp"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// A Connection says which API server to use and how. It is what a
// KubeProxyConfiguration has under clientConnection, and --master.
type Connection struct {
	// Kubeconfig is a file; Master is the server's address and overrides the
	// file's. With neither, the connection is the one of a pod in the cluster.
	Kubeconfig, Master string
	// QPS is how many requests per second are sent, Burst how many at once at
	// the most; 0 means client-go's defaults, 5 and 10. A negative QPS means no
	// limit.
	QPS   float32
	Burst int
	// ContentType is what is sent, AcceptContentTypes what is asked for. Empty
	// means Protobuf, with JSON accepted.
	ContentType, AcceptContentTypes string
	// UserAgent is how the server's logs name the program.
	UserAgent string
}

// Client makes a client. It does not talk to the server yet.
func (c Connection) Client() (*Client, error) {
	config, err := c.Config()
	if err != nil {
		return nil, err
	}
	return NewClient(config)
}

// Config is the connection in client-go's terms.
func (c Connection) Config() (*rest.Config, error) {
	config, err := c.load()
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst, config.UserAgent = c.QPS, c.Burst, c.UserAgent
	config.ContentType = cmp.Or(c.ContentType, runtime.ContentTypeProtobuf)
	config.AcceptContentTypes = cmp.Or(c.AcceptContentTypes, config.ContentType+","+runtime.ContentTypeJSON)
	return config, nil
}

// ByService reports whether the API server is reached by the address of its Service,
// as pods reach it where nothing else is said. A Service proxy may have to serve
// that before it can.
func (c Connection) ByService() bool { return c.Kubeconfig == "" && c.Master == "" }

func (c Connection) load() (*rest.Config, error) {
	if c.ByService() {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("neither a kubeconfig nor --master is given, and this is no pod of a cluster: %w", err)
		}
		return config, nil
	}
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: c.Kubeconfig}
	overrides := &clientcmd.ConfigOverrides{}
	overrides.ClusterInfo.Server = c.Master
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %q: %w", c.Kubeconfig, err)
	}
	return config, nil
}
