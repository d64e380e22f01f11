package measure

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Cgroup accounts for the CPU time of all processes that were ever in it, which
// a process and the programs it runs are: /proc would miss what those that run
// have used, and round each of them to 10 ms.
type Cgroup struct {
	dir   string
	usage func(dir string) (time.Duration, error)
}

// ownMount is where the unified hierarchy is mounted if nobody has mounted any.
const ownMount = "/run/kube-proxier-bench-cgroup"

// NewCgroup makes a control group; name must be new. It uses the CPU accounting
// controller of version 1 where there is one, and version 2 otherwise.
func NewCgroup(name string) (*Cgroup, error) {
	if dir := "/sys/fs/cgroup/cpuacct"; exists(filepath.Join(dir, "cpuacct.usage")) {
		return newCgroup(filepath.Join(dir, name), usageV1)
	}
	root := "/sys/fs/cgroup"
	if !exists(filepath.Join(root, "cgroup.procs")) {
		root = ownMount
		if !exists(filepath.Join(root, "cgroup.procs")) {
			if err := errors.Join(os.MkdirAll(root, 0o755), unix.Mount("cgroup2", root, "cgroup2", 0, "")); err != nil {
				return nil, fmt.Errorf("mount cgroup2 on %s, for no control groups are mounted: %w", root, err)
			}
		}
	}
	return newCgroup(filepath.Join(root, name), usageV2)
}

func newCgroup(dir string, usage func(string) (time.Duration, error)) (*Cgroup, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("control group: %w", err)
	}
	return &Cgroup{dir: dir, usage: usage}, nil
}

// Enter is a command that enters the group and then becomes the given one, whose
// process it is: none of its time is missed.
func (c *Cgroup) Enter(command ...string) []string {
	return append([]string{"sh", "-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(c.dir, "cgroup.procs")}, command...)
}

// CPU is the time used so far, in user space and in the kernel.
func (c *Cgroup) CPU() (time.Duration, error) { return c.usage(c.dir) }

// Close kills what is left in the group, and removes it.
func (c *Cgroup) Close() error {
	for range closeAttempts {
		text, err := os.ReadFile(filepath.Join(c.dir, "cgroup.procs"))
		if err != nil {
			return err
		}
		for pid := range strings.FieldsSeq(string(text)) {
			if n, err := strconv.Atoi(pid); err == nil {
				_ = unix.Kill(n, unix.SIGKILL) // it may have ended
			}
		}
		if err = os.Remove(c.dir); !errors.Is(err, unix.EBUSY) {
			return err
		}
		<-time.After(closeEvery)
	}
	return fmt.Errorf("control group %s: its processes do not end", c.dir)
}

// A killed process leaves its group when it has given back what it had.
const (
	closeAttempts = 500
	closeEvery    = 20 * time.Millisecond
)

// usageV1 reads nanoseconds (Documentation/admin-guide/cgroup-v1/cpuacct.rst).
func usageV1(dir string) (time.Duration, error) {
	text, err := os.ReadFile(filepath.Join(dir, "cpuacct.usage"))
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return time.Duration(n), err
}

// usageV2 reads microseconds (Documentation/admin-guide/cgroup-v2.rst).
func usageV2(dir string) (time.Duration, error) {
	text, err := os.ReadFile(filepath.Join(dir, "cpu.stat"))
	if err != nil {
		return 0, err
	}
	return parseCPUStat(string(text))
}

func parseCPUStat(text string) (time.Duration, error) {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, "usage_usec "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return time.Duration(n) * time.Microsecond, err
		}
	}
	return 0, fmt.Errorf("cpu.stat has no usage_usec: %q", text)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
