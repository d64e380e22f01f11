package vm

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// needMachine skips where no machine can be started, or fails under CI=true.
func needMachine(t *testing.T) {
	t.Helper()
	testenv.Long(t, testing.Short(), "boots a machine")
	_, err := prerequisites(t.Context(), t.Output())
	testenv.Lacking(t, "to boot a machine", err)
}

func shell(t *testing.T, script string) Command {
	t.Helper()
	return Command{Args: []string{"sh", "-c", script}, Dir: t.TempDir(), Env: append(os.Environ(), "WORD=heard")}
}

// One boot for all that commands can do; the last one ends the machine.
func TestMachineRunsCommandsUntilItDies(t *testing.T) {
	needMachine(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("of the host\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	var heard []int
	watcher := Watcher{Output: &output, Log: t.Output(), Exit: func(i int, exit Exit) {
		if i != len(heard) {
			t.Errorf("exit of command %d after those of %d commands", i, len(heard))
		}
		heard = append(heard, exit.Status)
	}}
	dir := shell(t, "pwd")
	exits, err := Run(t.Context(), watcher,
		shell(t, "echo word $WORD; echo error >&2; exit 7"),
		dir,
		shell(t, "kill -KILL $$"),
		Command{Args: []string{"no-such-program"}, Dir: "/", Env: os.Environ()},
		shell(t, "cat "+file+"; echo of the guest >"+file+"; cat "+file),
		shell(t, "sleep 1000 & echo not waited for"),
		shell(t, "echo c >/proc/sysrq-trigger"),
		shell(t, "echo never"),
	)
	want := []int{7, 0, 128 + 9, 127, 0, 0}
	if !reflect.DeepEqual(heard, want) {
		t.Errorf("heard of exits %v, want %v", heard, want)
	}
	if len(exits) != len(want) {
		t.Errorf("exits %v, want %v", exits, want)
	}
	if err == nil || !strings.Contains(err.Error(), "ended before its commands did") ||
		!strings.Contains(err.Error(), "sysrq triggered crash") {
		t.Errorf("error of a machine that crashed: %v", err)
	}
	wantOutput := "word heard\nerror\n" + dir.Dir + "\nsh -c kill -KILL $$: ended by signal: killed\n" +
		"no-such-program: exec: \"no-such-program\": executable file not found in $PATH\n" +
		"of the host\nof the guest\nnot waited for\n" +
		"sh -c sleep 1000 & echo not waited for: exec: WaitDelay expired before I/O complete\n"
	if have := output.String(); have != wantOutput {
		t.Errorf("output:\n%s\nwant:\n%s", have, wantOutput)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "of the host\n" {
		t.Errorf("file of the host after the guest has written to it: %q, %v", text, err)
	}
}

// cancelOn ends a context when something has been written.
type cancelOn struct{ cancel context.CancelCauseFunc }

var errEnough = errors.New("enough")

func (c cancelOn) Write(b []byte) (int, error) {
	c.cancel(errEnough)
	return len(b), nil
}

func TestMachineEndsWithItsContext(t *testing.T) {
	needMachine(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	watcher := Watcher{Output: cancelOn{cancel}, Log: t.Output()}
	exits, err := Run(ctx, watcher, shell(t, "echo; sleep 1000"))
	if !errors.Is(err, errEnough) || len(exits) != 0 {
		t.Errorf("have exits %v and error %v, want none and %v", exits, err, errEnough)
	}
}
