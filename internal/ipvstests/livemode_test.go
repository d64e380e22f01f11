package ipvstests

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// programFile is where `make build` puts the program. It is not built here: the
// tests run in a machine that has no compiler's cache.
const programFile = "../../bin/kube-proxier"

// The real program changes from iptables mode to IPVS mode and back because its
// file changes, while new connections are made all the time: none fails, and
// nothing of the mode before is left.
func TestModeChangesLive(t *testing.T) {
	s := newStage(t, []string{"asker", "here"}, []string{"there"}, settings{})
	r := running{stage: s, dir: t.TempDir()}
	r.start(t)
	r.awaitInForce(t)
	var dials []dial
	for _, family := range proxier.Families {
		for _, protocol := range []string{"tcp", "udp"} {
			dials = append(dials,
				dial{from: "asker", protocol: protocol, to: s.addressOf(family, "cluster", 10)},
				dial{from: "client", protocol: protocol, to: s.addressOf(family, "lb", 10)},
				dial{from: "client", protocol: protocol, to: s.addressOf(family, "nodeport", 10)})
		}
	}
	for i, mode := range []string{"ipvs", "iptables"} {
		stop := s.stream(t, dials)
		r.configure(t, mode)
		r.await(t, func() string {
			if log := r.log.String(); strings.Count(log, `"The configuration has changed"`) == i+1 {
				return ""
			}
			return "the change is not in force"
		})
		r.awaitInForce(t)
		stop()
	}
	s.untilLeft(t, r.log.String)
	r.end(t)
}

// running is the program on node1, with a file that says in which mode.
type running struct {
	stage   *stage
	dir     string
	program string
	cmd     *exec.Cmd
	log     syncBuffer
}

// A syncBuffer is what a process has logged so far.
type syncBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

func (r *running) args() []string {
	return []string{"--config=" + filepath.Join(r.dir, "config.conf"), "--manifests=" + filepath.Join(r.dir, "web.yaml"), "--hostname-override=node1"}
}

func (r *running) configure(t *testing.T, mode string) {
	t.Helper()
	r.write(t, "config.conf", `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clusterCIDR: 10.244.0.0/16,fd00:10:244::/56
mode: `+mode+"\n")
}

func (r *running) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start runs it in iptables mode, with one Service at the addresses of number 10.
func (r *running) start(t *testing.T) {
	t.Helper()
	var err error
	if r.program, err = filepath.Abs(programFile); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(r.program); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("make build comes before this test: %v", err)
		}
		t.Skipf("make build comes before this test: %v", err)
	}
	r.configure(t, "iptables")
	r.write(t, "web.yaml", r.manifest())
	r.cmd = r.stage.node.Command(t.Context(), r.program, r.args()...)
	r.cmd.Stderr = &r.log
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the program's log:\n%s", r.log.String())
		}
	})
}

func (r *running) manifest() string {
	s := r.stage
	text := fmt.Sprintf(`apiVersion: v1
kind: Service
metadata: {namespace: shop, name: web}
spec:
  type: LoadBalancer
  clusterIP: %[1]s
  clusterIPs: [%[1]s, "%[2]s"]
  ipFamilies: [IPv4, IPv6]
  ports:
  - {name: tcp, protocol: TCP, port: 80, targetPort: 8080, nodePort: 30010}
  - {name: udp, protocol: UDP, port: 80, targetPort: 8080, nodePort: 30010}
status: {loadBalancer: {ingress: [{ip: %[3]s}, {ip: "%[4]s"}]}}
`, s.addressOf(proxier.IPv4, "cluster", 10).Addr(), s.addressOf(proxier.IPv6, "cluster", 10).Addr(),
		s.addressOf(proxier.IPv4, "lb", 10).Addr(), s.addressOf(proxier.IPv6, "lb", 10).Addr())
	for _, family := range proxier.Families {
		text += fmt.Sprintf(`---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: shop, name: web-%s, labels: {kubernetes.io/service-name: web}}
addressType: %s
ports: [{name: tcp, protocol: TCP, port: 8080}, {name: udp, protocol: UDP, port: 8080}]
endpoints:
`, strings.ToLower(string(family)), family)
		for _, pod := range []string{"here", "there"} {
			text += fmt.Sprintf("- {addresses: [\"%s\"], conditions: {ready: true, serving: true}}\n", own(s.hosts[pod], family))
		}
	}
	return text
}

// awaitInForce waits until the kernel is as the file wants it, with nothing left
// of another mode.
func (r *running) awaitInForce(t *testing.T) {
	t.Helper()
	r.await(t, func() string {
		output, err := r.stage.node.Command(t.Context(), r.program, append([]string{"diff"}, r.args()...)...).CombinedOutput()
		if err == nil {
			return ""
		}
		return fmt.Sprintf("%v\n%s", err, output)
	})
}

func (r *running) await(t *testing.T, missing func() string) {
	t.Helper()
	tick, end := time.NewTicker(time.Second), time.After(deadline)
	defer tick.Stop()
	for {
		why := missing()
		if why == "" {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not within %s: %s", deadline, why)
		}
	}
}

// end asks the program to end, and waits for it.
func (r *running) end(t *testing.T) {
	t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Wait(); err != nil {
		t.Errorf("the program ended: %v", err)
	}
}
