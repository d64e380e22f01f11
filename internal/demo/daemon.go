package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// clusterCIDR are the addresses of all pods.
const clusterCIDR = "10.244.0.0/16,fd00:10:244::/56"

// patience is how long a daemon may take to end.
const patience = 10 * time.Second

// A daemon is a kube-proxier that runs on a node.
type daemon struct {
	node *testenv.Node
	cmd  *exec.Cmd
	log  string

	ended chan struct{} // closed when it has, and then err tells how
	err   error
}

// flags are the program's on a node, but for the manifests.
func flags(node string) []string {
	return []string{"--hostname-override=" + node, "--cluster-cidr=" + clusterCIDR}
}

// start runs kube-proxier on a node. Call it on the main goroutine.
func (s *stage) start(ctx context.Context, node *testenv.Node) error {
	d := &daemon{node: node, log: filepath.Join(s.logs, node.Name+".log"), ended: make(chan struct{})}
	log, err := os.Create(d.log)
	if err != nil {
		return err
	}
	defer log.Close()
	d.cmd = node.Command(context.WithoutCancel(ctx), s.program, append(flags(node.Name), "--manifests="+s.manifests)...)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := d.cmd.Start(); err != nil {
		return fmt.Errorf("start kube-proxier on %s: %w", node.Name, err)
	}
	go func() {
		d.err = d.cmd.Wait()
		close(d.ended)
	}()
	s.daemons = append(s.daemons, d)
	return nil
}

// stop asks the daemon to end and waits until it has. It can be called again.
func (d *daemon) stop() error {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-d.ended:
		if d.err != nil {
			return fmt.Errorf("kube-proxier on %s: %w", d.node.Name, d.err)
		}
		return nil
	case <-time.After(patience):
		return errors.Join(
			fmt.Errorf("kube-proxier on %s has not ended %s after SIGTERM", d.node.Name, patience),
			d.cmd.Process.Kill(),
		)
	}
}

func (d *daemon) hasEnded() bool {
	select {
	case <-d.ended:
		return true
	default:
		return false
	}
}

// logTail is the end of the daemon's log.
func (d *daemon) logTail() string {
	const lines = 20
	text, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error() + "\n"
	}
	all := strings.SplitAfter(string(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}

// command runs one of kube-proxier's commands on a node and returns its output.
func (s *stage) command(ctx context.Context, node *testenv.Node, args ...string) (string, error) {
	output, err := node.Command(ctx, s.program, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kube-proxier %s on %s: %w: %s", strings.Join(args, " "), node.Name, err, output)
	}
	return string(output), nil
}
