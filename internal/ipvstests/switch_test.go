package ipvstests

import (
	"bytes"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// builtProgram is where `make build` puts the program, which `make test-ipvs`
// does before. It is not built here: the tests run in a machine that has no
// compiler's cache.
const builtProgram = "../../bin/kube-proxier"

// The real program changes from iptables mode to IPVS mode and back while new
// connections are made all the time. None fails, connections of the mode before
// go on, and in the end nothing of IPVS mode is left.
func TestModesChangeUnderTraffic(t *testing.T) {
	s := newStage(t, []string{"asker"}, nil, settings{})
	s.addEndpoints(t)
	program, err := filepath.Abs(builtProgram)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("make build comes before this test: %v", err)
	}
	d := daemon{stage: s, program: program}
	d.start(t, "iptables")
	byRules := s.openLasting(t)
	stop := s.stream(t, recordedDials())
	d.end(t)
	d.start(t, "ipvs")
	byRules.mustGoOn(t, "from iptables mode to IPVS mode")
	byServers := s.openLasting(t)
	d.end(t)
	d.start(t, "iptables")
	byRules.mustGoOn(t, "to IPVS mode and back")
	byServers.mustGoOn(t, "from IPVS mode to iptables mode")
	byRules.close(t)
	byServers.close(t)
	s.untilLeft(t, d.log.String)
	stop()
	d.end(t)
}

// lasting are connections that stay open, with who answers.
type lasting map[*testenv.Conn]lastingDial

type lastingDial struct {
	dial

	server string
}

// openLasting opens a connection of each kind of client. Datagrams that IPVS has
// sent on may go elsewhere afterwards, but have to be answered.
func (s *stage) openLasting(t *testing.T) lasting {
	t.Helper()
	all := lasting{}
	for _, d := range recordedDials() {
		options := testenv.DialOptions{Source: netip.AddrPortFrom(d.source, 0), Timeout: slow}
		conn, err := s.hosts[d.from].Open(t.Context(), d.protocol, d.to, options)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		all[conn] = lastingDial{d, goesOn(t, conn)}
	}
	return all
}

func (l lasting) mustGoOn(t *testing.T, how string) {
	t.Helper()
	for conn, d := range l {
		if d.protocol == "udp" {
			asksOn(t, conn)
			continue
		}
		reply, err := conn.Ask()
		if err != nil || reply.Server != d.server {
			t.Errorf("%s: a connection of %s over %s to %s, answered by %s: now %v, %v", how, d.from, d.protocol, d.to, d.server, reply.Server, err)
		}
	}
}

func (l lasting) close(t *testing.T) {
	t.Helper()
	for conn := range l {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}

// untilLeft waits until nothing of IPVS mode is left. log is for the report of what
// is.
func (s *stage) untilLeft(t *testing.T, log func() string) {
	t.Helper()
	for _, show := range []string{
		"ip -o link show kube-ipvs0", "ipset list -n",
		"ip -4 -o route show table local proto 107", "ip -6 -o route show table local proto 107",
		"cat /proc/thread-self/net/ip_vs",
	} {
		words := strings.Fields(show)
		for end := time.Now().Add(2 * deadline); ; <-time.After(time.Second) {
			output, _ := s.node.Command(t.Context(), words[0], words[1:]...).Output()
			if _, servers, isServers := strings.Cut(string(output), "InActConn\n"); isServers {
				output = []byte(servers)
			}
			if len(output) == 0 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s still finds\n%s\nthe log:\n%s", show, output, log())
			}
		}
	}
}

// A daemon is the program in one mode, on the recorded objects.
type daemon struct {
	stage   *stage
	program string

	cmd *exec.Cmd
	log bytes.Buffer
}

func (d *daemon) args(mode string) []string {
	return []string{
		"--manifests=" + dumps + "objects.json", "--hostname-override=node1",
		"--cluster-cidr=10.244.0.0/16,fd00:10:244::/56", "--proxy-mode=" + mode,
	}
}

// start returns when the kernel is as the mode wants it.
func (d *daemon) start(t *testing.T, mode string) {
	t.Helper()
	d.cmd = d.stage.node.Command(t.Context(), d.program, d.args(mode)...)
	d.log.Reset()
	d.cmd.Stderr = &d.log
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(deadline); ; <-time.After(time.Second) {
		output, err := d.stage.node.Command(t.Context(), d.program, append([]string{"diff"}, d.args(mode)...)...).CombinedOutput()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			d.end(t)
			t.Fatalf("mode %s is not in force: %v\n%s\nits log:\n%s", mode, err, output, d.log.String())
		}
	}
}

// end asks the program to end, and waits for it.
func (d *daemon) end(t *testing.T) {
	t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Wait(); err != nil {
		t.Errorf("%v; its log:\n%s", err, d.log.String())
	}
}
