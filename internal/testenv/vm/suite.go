package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// bootTime is what a machine may take beside its commands.
const bootTime = 3 * time.Minute

// Suite is a set of packages whose tests need IPVS.
type Suite struct {
	// Packages are as for `go test`.
	Packages []string
	// Flags are given to each test binary, e.g. -test.v.
	Flags []string
	// Timeout is how long the tests of one package may take.
	Timeout time.Duration
	// Out gets the tests' output and a line for each package, Log the rest.
	Out, Log io.Writer
}

// ErrTestsFailed says that tests failed, which the output has told already.
var ErrTestsFailed = errors.New("tests failed")

// Run runs the tests right here if this kernel will do, and else all in one boot
// of the machine. Either way no test that Needs IPVS is skipped, and CI=true.
func (s Suite) Run(ctx context.Context) error {
	reason := Needed()
	if reason == "" {
		return s.runHere(ctx)
	}
	fmt.Fprintf(s.Log, "vm: testing in a virtual machine (%s)\n", reason)
	return s.runInside(ctx)
}

// environ is what tests find in their environment.
func environ() []string {
	return append(os.Environ(), "CI=true", RequiredEnv+"=true", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
}

func (s Suite) runHere(ctx context.Context) error {
	args := append([]string{"test", "-count=1", "-timeout", s.Timeout.String()}, s.Packages...)
	cmd := exec.CommandContext(ctx, "go", append(args, s.Flags...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = environ(), s.Out, s.Out
	err := cmd.Run()
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) && ctx.Err() == nil {
		return ErrTestsFailed
	}
	return err
}

func (s Suite) runInside(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "vm-tests-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	tests, err := s.build(ctx, dir)
	if err != nil {
		return err
	}
	if len(tests) == 0 {
		return fmt.Errorf("no tests in %s", strings.Join(s.Packages, " "))
	}
	var commands []Command
	for _, t := range tests {
		args := append([]string{t.binary, "-test.timeout=" + s.Timeout.String()}, s.Flags...)
		commands = append(commands, Command{Args: args, Dir: t.dir, Env: environ()})
	}
	limit := bootTime + time.Duration(len(tests))*s.Timeout
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it ran longer than %s", limit))
	defer cancel()
	watcher := Watcher{Output: s.Out, Log: s.Log, Exit: func(i int, exit Exit) {
		fmt.Fprintln(s.Out, summary(tests[i].name, exit))
	}}
	exits, err := Run(ctx, watcher, commands...)
	if err != nil {
		return err
	}
	return verdict(exits)
}

// verdict of packages whose tests have all ended somehow.
func verdict(exits []Exit) error {
	failed := func(exit Exit) bool { return exit.Status != 0 }
	if slices.ContainsFunc(exits, failed) {
		return ErrTestsFailed
	}
	return nil
}

// summary is the line that `go test` writes below a package's output.
func summary(name string, exit Exit) string {
	verdict := "ok  "
	if exit.Status != 0 {
		verdict = "FAIL"
	}
	return fmt.Sprintf("%s\t%s\t%.3fs", verdict, name, exit.Took.Seconds())
}

// packageTests are the tests of one package.
type packageTests struct {
	name, dir, binary string
}

// build compiles the packages' tests into dir. Packages without tests are named
// and left out.
func (s Suite) build(ctx context.Context, dir string) ([]packageTests, error) {
	const format = "{{.ImportPath}}\t{{.Dir}}\t{{len .TestGoFiles}}\t{{len .XTestGoFiles}}"
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	list, err := command(ctx, here, "go", append([]string{"list", "-f", format}, s.Packages...)...)
	if err != nil {
		return nil, err
	}
	var tests []packageTests
	for line := range strings.Lines(list) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if fields[2] == "0" && fields[3] == "0" {
			fmt.Fprintf(s.Out, "?   \t%s\t[no test files]\n", fields[0])
			continue
		}
		t := packageTests{name: fields[0], dir: fields[1]}
		t.binary = filepath.Join(dir, strconv.Itoa(len(tests))+".test")
		if err := goBuild(ctx, "test", t.binary, t.name); err != nil {
			return nil, err
		}
		tests = append(tests, t)
	}
	return tests, nil
}
