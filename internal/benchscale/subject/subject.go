package subject

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/benchscale/load"
	"github.com/kube-proxier/kube-proxier/internal/benchscale/measure"
	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// metricsURL is what both programs serve by default.
const metricsURL = "http://127.0.0.1:10249/metrics"

// A Setting is where and how a program is run.
type Setting struct {
	Kind       Kind
	Path       string // of the program
	Host       *testenv.Host
	NodeName   string
	Kubeconfig string
	Cgroup     *measure.Cgroup
	// Dir gets the links to the variant's tools and the log.
	Dir string
	// Extra are further arguments.
	Extra []string
}

// args tell the program of its node and cluster. A namespace that is not the
// machine's own cannot set the limits of conntrack.
func (s Setting) args() []string {
	return append([]string{
		"--kubeconfig=" + s.Kubeconfig, "--hostname-override=" + s.NodeName,
		"--cluster-cidr=" + load.ClusterCIDR().String(), "--proxy-mode=" + s.Kind.Mode,
		"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0",
	}, s.Extra...)
}

// A Process is a program that runs.
type Process struct {
	setting Setting
	cmd     *exec.Cmd
	log     string
	client  *http.Client
	done    <-chan struct{} // closed when it has ended
}

// Start starts the program. It does not outlive this process.
func Start(s Setting) (*Process, error) {
	links, err := s.Kind.Variant.PathDir(s.Dir)
	if err != nil {
		return nil, err
	}
	p := &Process{setting: s, log: filepath.Join(s.Dir, s.Kind.Program+".log"), client: client(s.Host)}
	output, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer output.Close() // the program has its own
	command := s.Cgroup.Enter(append([]string{s.Path}, s.args()...)...)
	p.cmd = s.Host.Command(context.Background(), command[0], command[1:]...)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = testenv.Environ(links), output, output
	if p.done, err = testenv.StartMortal(p.cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Kind.Program, err)
	}
	return p, nil
}

// client talks to servers on the host's own loopback.
func client(host *testenv.Host) *http.Client {
	dial := func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		err = host.Do(func() error {
			conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}
	return &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
}

// Counters reads the metrics page.
func (p *Process) Counters(ctx context.Context) (measure.Counters, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, metricsURL, nil)
	if err != nil {
		return nil, err
	}
	response, err := p.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	return measure.ParseCounters(string(text))
}

// Memory is what the program holds; programs it runs are not included.
func (p *Process) Memory() (measure.Memory, error) { return measure.MemoryOf(p.cmd.Process.Pid) }

// Ended tells whether and why the program has ended.
func (p *Process) Ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended (%s); its log is %s: %s", p.setting.Kind.Program, p.cmd.ProcessState, p.log, p.lastWords())
	default:
		return nil
	}
}

// lastWords are the end of the log.
func (p *Process) lastWords() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// lastSync is the time of the last pass, in both programs' metrics.
const lastSync = "kubeproxy_sync_proxy_rules_last_timestamp_seconds"

// Synced tells whether a pass has succeeded since the start.
func (p *Process) Synced(ctx context.Context) bool {
	counters, err := p.Counters(ctx)
	return err == nil && counters[lastSync] > 0
}

// stopPatience is how long a program may take to end when told to.
const stopPatience = 20 * time.Second

// Stop ends the program; the rules stay. Stopping again is harmless.
func (p *Process) Stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(stopPatience):
	}
	err := p.cmd.Process.Kill()
	<-p.done
	return err
}
