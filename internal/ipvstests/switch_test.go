package ipvstests

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// builtProgram is where `make build` puts the program. It is not built here: the
// tests run in a machine that has no compiler's cache.
const builtProgram = "../../bin/kube-proxier"

// The real program changes from iptables mode to IPVS mode and back while new
// connections are made all the time: none fails, and nothing of the mode before
// is left.
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
	stop := s.stream(t, recordedDials())
	for _, mode := range []string{"ipvs", "iptables"} {
		d.end(t)
		d.start(t, mode)
	}
	stop()
	for _, left := range [][]string{{"ip", "link", "show", "kube-ipvs0"}, {"ipset", "list", "-n", "KUBE-CLUSTER-IP"}} {
		if err := s.node.Command(t.Context(), left[0], left[1:]...).Run(); err == nil {
			t.Errorf("%q still finds something of IPVS mode", left)
		}
	}
	d.end(t)
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

// start returns when the kernel is as the mode wants it, with nothing left of
// another.
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
