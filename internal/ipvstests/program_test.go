package ipvstests

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// programFile is where `make build` puts the program, which `make test-ipvs` does
// before. It is not built here: the tests run in a machine that has no compiler's
// cache.
const programFile = "../../bin/kube-proxier"

// A program is the built program on node1. It is started and ended any number of
// times, with arguments that may change in between.
type program struct {
	stage *stage
	file  string
	args  []string
	// within is the beginning of a command that runs what follows; empty for none.
	within []string
	cmd    *exec.Cmd
	log    syncBuffer
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

// newProgram finds the program; nothing is started yet. The test is skipped where
// it has not been built, and fails with CI=true. The log is shown if the test fails.
func newProgram(t *testing.T, s *stage) *program {
	t.Helper()
	file, err := filepath.Abs(programFile)
	if err == nil {
		_, err = os.Stat(file)
	}
	testenv.Lacking(t, "make build before it", err)
	p := &program{stage: s, file: file}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the program's log:\n%s", p.log.String())
		}
	})
	return p
}

// start runs it with these arguments until end, or the test's.
func (p *program) start(t *testing.T, args ...string) {
	t.Helper()
	p.args = args
	words := slices.Concat(p.within, []string{p.file}, args)
	p.cmd = p.stage.node.Command(t.Context(), words[0], words[1:]...)
	p.cmd.Stderr = &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// awaitInForce waits until the kernel is as the arguments want it, with nothing of
// another mode that could go.
func (p *program) awaitInForce(t *testing.T) {
	t.Helper()
	p.await(t, func() string {
		output, err := p.stage.node.Command(t.Context(), p.file, append([]string{"diff"}, p.args...)...).CombinedOutput()
		if err == nil {
			return ""
		}
		return fmt.Sprintf("%v\n%s", err, output)
	})
}

// await waits until nothing is missing.
func (p *program) await(t *testing.T, missing func() string) {
	t.Helper()
	p.awaitEach(t, time.Second, missing)
}

// awaitEach asks as often as that.
func (p *program) awaitEach(t *testing.T, interval time.Duration, missing func() string) {
	t.Helper()
	tick, end := time.NewTicker(interval), time.After(deadline)
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

// awaitNothingLeft waits until nothing of IPVS mode is left.
func (p *program) awaitNothingLeft(t *testing.T) {
	t.Helper()
	for _, show := range []string{
		"ip -o link show kube-ipvs0", "ipset list -n",
		"ip -4 -o route show table local proto 107", "ip -6 -o route show table local proto 107",
		"cat /proc/thread-self/net/ip_vs",
	} {
		words := strings.Fields(show)
		p.await(t, func() string {
			output, _ := p.stage.node.Command(t.Context(), words[0], words[1:]...).Output()
			found := string(output)
			if _, servers, isServers := strings.Cut(found, "InActConn\n"); isServers {
				found = servers
			}
			if found == "" {
				return ""
			}
			return show + " still finds\n" + found
		})
	}
}

// kill ends it without asking.
func (p *program) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Wait() // says that it was killed
}

// end asks the program to end, and waits for it.
func (p *program) end(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the program ended: %v", err)
	}
}
