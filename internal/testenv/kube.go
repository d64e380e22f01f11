package testenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// KubeVersion is the Kubernetes release whose API server tests talk to: the one
// that kube/go.mod requires.
const KubeVersion = "v1.36.3"

// KubeServiceCIDRs are the ranges the API server takes cluster IPs from.
const KubeServiceCIDRs = "10.96.0.0/16,fd00:10:96::/108"

// kubeDeadline is how long a server may take until it is ready, on a machine
// that does several other things. It takes 3 to 5 seconds alone.
const kubeDeadline = 2 * time.Minute

// Kube is a real kube-apiserver with its etcd, on loopback. There are no
// controllers and no kubelets: what is not written through the API is not there.
// It authorizes with RBAC; its own kubeconfig files are those of an
// administrator, and service accounts get tokens through the API.
type Kube struct {
	dir         string
	credentials *credentials
	etcdURL     string
	addr        netip.AddrPort
	client      *http.Client

	etcd      *process
	apiserver *process
}

// NewKube starts etcd (from PATH) and kube-apiserver (built by kube/build.sh),
// and returns when the API answers and Services can be stored. Data, logs and
// credentials go below dir, which must exist and outlive the Kube.
func NewKube(ctx context.Context, dir string) (*Kube, error) {
	if err := checkKube(); err != nil {
		return nil, err
	}
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	k := &Kube{dir: dir, etcdURL: "http://" + ports[0].String(), addr: ports[2]}
	if k.credentials, err = newCredentials(dir); err != nil {
		return nil, fmt.Errorf("credentials of the API server: %w", err)
	}
	k.client = k.credentials.httpClient()
	if err := os.WriteFile(k.Kubeconfig(), k.credentials.kubeconfig(k.url()), 0o600); err != nil {
		return nil, err
	}
	if err := k.startEtcd(ctx, "http://"+ports[1].String()); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	if err := k.Start(ctx); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

// Kubeconfig is the path of a kubeconfig file for clients in this process's own
// network namespace, as an administrator. (This package does not import client-go,
// for the sake of the tests that need only its networks; a client's configuration
// is clientcmd.BuildConfigFromFlags("", k.Kubeconfig()).)
func (k *Kube) Kubeconfig() string { return filepath.Join(k.dir, "kubeconfig") }

// ForwardInto makes the API reachable from inside of a host, and writes a
// kubeconfig file for programs that run there. Cutting the Forward interrupts
// their watches.
func (k *Kube) ForwardInto(host *Host) (forward *Forward, kubeconfig string, err error) {
	if forward, err = host.Forward(k.addr); err != nil {
		return nil, "", err
	}
	kubeconfig = filepath.Join(k.dir, host.ns.name+".kubeconfig")
	url := "https://" + forward.Addr().String()
	if err := os.WriteFile(kubeconfig, k.credentials.kubeconfig(url), 0o600); err != nil {
		return nil, "", errors.Join(err, forward.Close())
	}
	return forward, kubeconfig, nil
}

// Start starts the API server, which must not be running, at the address it had
// and with the objects there are, and returns when it is ready.
func (k *Kube) Start(ctx context.Context) (err error) {
	program := filepath.Join(kubeDir(), "kube-apiserver")
	k.apiserver, err = startProcess(k.dir, program,
		"--etcd-servers="+k.etcdURL,
		"--bind-address="+k.addr.Addr().String(),
		fmt.Sprintf("--secure-port=%d", k.addr.Port()),
		// Nobody connects to it; without, one is taken from the default route.
		"--advertise-address=192.0.2.1",
		"--endpoint-reconciler-type=none",
		"--service-cluster-ip-range="+KubeServiceCIDRs,
		"--cert-dir="+k.dir,
		"--tls-cert-file="+k.credentials.certFile,
		"--tls-private-key-file="+k.credentials.keyFile,
		"--token-auth-file="+k.credentials.tokens,
		"--authorization-mode=RBAC",
		"--allow-privileged=true",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+k.credentials.keyFile,
		"--service-account-signing-key-file="+k.credentials.keyFile,
		"--disable-admission-plugins=ServiceAccount",
	)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, kubeDeadline)
	defer cancel()
	return k.apiserver.await(ctx, func(ctx context.Context) error {
		return errors.Join(
			k.get(ctx, k.url()+"/readyz"),
			// Created by the server itself, soon after it says it is ready.
			k.get(ctx, k.url()+"/api/v1/namespaces/default"),
			k.get(ctx, k.url()+"/apis/networking.k8s.io/v1/servicecidrs/kubernetes"),
		)
	})
}

// Stop kills the API server: connections break, new ones are refused. The
// objects stay.
func (k *Kube) Stop() error {
	err := k.apiserver.kill()
	k.apiserver = nil
	k.client.CloseIdleConnections()
	return err
}

// Restart is Stop and Start.
func (k *Kube) Restart(ctx context.Context) error {
	if err := k.Stop(); err != nil {
		return err
	}
	return k.Start(ctx)
}

// Close ends both servers.
func (k *Kube) Close() error {
	return errors.Join(k.Stop(), k.etcd.kill())
}

func (k *Kube) url() string { return "https://" + k.addr.String() }

func (k *Kube) startEtcd(ctx context.Context, peerURL string) (err error) {
	k.etcd, err = startProcess(k.dir, "etcd",
		"--data-dir="+filepath.Join(k.dir, "etcd"),
		"--unsafe-no-fsync",
		"--listen-client-urls="+k.etcdURL,
		"--advertise-client-urls="+k.etcdURL,
		"--listen-peer-urls="+peerURL,
		"--initial-advertise-peer-urls="+peerURL,
		"--initial-cluster=default="+peerURL,
	)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, kubeDeadline)
	defer cancel()
	return k.etcd.await(ctx, func(ctx context.Context) error {
		return k.get(ctx, k.etcdURL+"/health")
	})
}

// get returns nil if url answers with status 200.
func (k *Kube) get(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+k.credentials.token)
	response, err := k.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", url, response.Status, body)
	}
	return err
}

// freePorts finds n loopback addresses that nobody listens on.
func freePorts(n int) ([]netip.AddrPort, error) {
	var ports []netip.AddrPort
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer listener.Close() // all are held until n different ones are found
		ports = append(ports, addrPort(listener.Addr()))
	}
	return ports, nil
}

// kubeDir is the folder that kube/build.sh builds into.
func kubeDir() string {
	if dir := os.Getenv("KUBE_PROXIER_KUBE_DIR"); dir != "" {
		return dir
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	return filepath.Join(cache, "kube-proxier", "kube-"+KubeVersion)
}

// checkKube tells what NewKube lacks.
func checkKube() error {
	if _, err := exec.LookPath("etcd"); err != nil {
		return fmt.Errorf("%w; install the package etcd-server", err)
	}
	return checkBuilt(filepath.Join(kubeDir(), "kube-apiserver"))
}

// KubeProxyProgram is the path of the kube-proxy of KubeVersion, which a test
// must Need.
func KubeProxyProgram() string { return filepath.Join(kubeDir(), "kube-proxy") }

// checkBuilt tells whether kube/build.sh has built a program.
func checkBuilt(program string) error {
	if _, err := exec.LookPath(program); err != nil {
		return fmt.Errorf("%w; run internal/testenv/kube/build.sh", err)
	}
	return nil
}
