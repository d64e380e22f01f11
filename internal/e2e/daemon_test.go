package e2e

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// clusterCIDR are the addresses of all pods.
const clusterCIDR = "10.244.0.0/16,fd00:10:244::/56"

// A daemon is a running kube-proxier.
type daemon struct {
	t     *testing.T
	cmd   *exec.Cmd
	log   *logBuffer
	ended chan struct{} // closed when it has, and then err tells how
	err   error
}

// flags are what tells the program of its node and cluster.
func (s *stage) flags() []string {
	return []string{"--kubeconfig=" + s.kubeconfig, "--hostname-override=" + s.nodeName, "--cluster-cidr=" + clusterCIDR}
}

// start runs the program on node1 with the usual flags and these, and with less
// time between two passes than by default, for tests change many things.
func (s *stage) start(args ...string) *daemon {
	s.t.Helper()
	return s.startWith(append(append(s.flags(), "-v=2", "--iptables-min-sync-period=100ms"), args...)...)
}

// startWith runs the program on node1 with these flags only, and ends it with
// the test.
func (s *stage) startWith(args ...string) *daemon {
	s.t.Helper()
	return s.startProgram(shared.program, args...)
}

// startProgram is startWith for another program, or one that starts ours.
func (s *stage) startProgram(program string, args ...string) *daemon {
	s.t.Helper()
	d := &daemon{t: s.t, log: newLogBuffer(), ended: make(chan struct{})}
	d.cmd = s.node1.Command(context.WithoutCancel(s.t.Context()), program, args...)
	d.cmd.Env, d.cmd.Stdout, d.cmd.Stderr = s.environ, d.log, d.log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The death signal comes with the end of the thread that started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := d.cmd.Start()
		started <- err
		if err == nil {
			d.err = d.cmd.Wait()
			close(d.ended)
		}
	}()
	if err := <-started; err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		d.stop()
		if s.t.Failed() {
			s.t.Logf("the log of %s %s:\n%s", program, strings.Join(args, " "), d.log.text())
		}
	})
	return d
}

// startSynced is start, and waits until the rules are in force.
func (s *stage) startSynced(args ...string) *daemon {
	s.t.Helper()
	d := s.start(args...)
	d.awaitSync()
	return d
}

// awaitSync waits for the first pass over both families.
func (d *daemon) awaitSync() {
	d.t.Helper()
	for _, either := range syncedLogs() {
		d.awaitLog(either...)
	}
}

// syncedLogs are for each family what is logged when a pass has ended.
func syncedLogs() (all [][]string) {
	for _, family := range []string{"IPv4", "IPv6"} {
		all = append(all, []string{`Synced" family="` + family + `" dataplane="iptables"`, `Nothing to do" family="` + family + `" dataplane="iptables"`})
	}
	return all
}

// stop asks the program to end, which it has to do soon and without fault. It
// can be called again, and after kill.
func (d *daemon) stop() {
	d.t.Helper()
	select {
	case <-d.ended:
		return
	default:
	}
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		d.t.Error(err)
	}
	select {
	case <-d.ended:
		if d.err != nil {
			d.t.Errorf("kube-proxier ended: %v", d.err)
		}
	case <-time.After(10 * time.Second):
		d.t.Error("kube-proxier has not ended 10 s after SIGTERM")
		d.kill()
	}
}

// kill ends the program without its doing: SIGKILL.
func (d *daemon) kill() {
	d.t.Helper()
	if err := d.cmd.Process.Kill(); err != nil {
		d.t.Error(err)
	}
	<-d.ended
}

// awaitLog waits for one of the texts to be logged.
func (d *daemon) awaitLog(texts ...string) {
	d.t.Helper()
	deadline := time.After(patience)
	for {
		text, more := d.log.state()
		for _, want := range texts {
			if strings.Contains(text, want) {
				return
			}
		}
		select {
		case <-more:
		case <-d.ended:
			d.t.Fatalf("kube-proxier ended (%v) without logging any of %q", d.err, texts)
		case <-deadline:
			d.t.Fatalf("kube-proxier has not logged any of %q within %s", texts, patience)
		}
	}
}

// A logBuffer is what a process has printed so far.
type logBuffer struct {
	mu   sync.Mutex
	all  bytes.Buffer
	more chan struct{} // closed by the next Write
}

func newLogBuffer() *logBuffer { return &logBuffer{more: make(chan struct{})} }

// Write implements io.Writer.
func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.more)
	l.more = make(chan struct{})
	return l.all.Write(p)
}

// state is the text so far, and what is closed when there is more.
func (l *logBuffer) state() (string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String(), l.more
}

func (l *logBuffer) text() string {
	text, _ := l.state()
	return text
}

// command runs one of the program's commands on node1 and returns what it
// prints, and its exit status.
func (s *stage) command(args ...string) (stdout, stderr string, status int) {
	s.t.Helper()
	cmd := s.node1.Command(s.t.Context(), shared.program, args...)
	var out, problems bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = s.environ, &out, &problems
	err := cmd.Run()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		s.t.Fatal(err)
	}
	return out.String(), problems.String(), cmd.ProcessState.ExitCode()
}

// diff runs the command diff.
func (s *stage) diff() (stdout string, status int) {
	s.t.Helper()
	stdout, stderr, status := s.command(append([]string{"diff"}, s.flags()...)...)
	if status > 1 {
		s.t.Fatalf("kube-proxier diff: exit status %d: %s", status, stderr)
	}
	return stdout, status
}

// awaitNoDiff waits until the kernel has what it should have.
func (s *stage) awaitNoDiff() {
	s.t.Helper()
	s.await("no difference", func() string {
		difference, status := s.diff()
		if status == 0 {
			return ""
		}
		return "kube-proxier diff says:\n" + difference
	})
}

// iptables runs one of iptables' programs on node1.
func (s *stage) iptables(name string, args ...string) string {
	s.t.Helper()
	cmd := s.node1.Command(s.t.Context(), name, args...)
	cmd.Env = s.environ
	output, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, output)
	}
	return string(output)
}

// rules are all rules on node1 of both families, without counters.
func (s *stage) rules() string {
	s.t.Helper()
	var rules strings.Builder
	for _, name := range []string{"iptables-save", "ip6tables-save"} {
		for line := range strings.Lines(s.iptables(name)) {
			if strings.HasPrefix(line, "#") {
				continue
			}
			if policy, _, isChain := strings.Cut(line, " ["); isChain && strings.HasPrefix(line, ":") {
				line = policy + "\n"
			}
			rules.WriteString(line)
		}
	}
	return rules.String()
}
