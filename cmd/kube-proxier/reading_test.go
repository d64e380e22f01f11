package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A silentPipe is one that nobody writes to. Who begins to read it is told to end.
type silentPipe struct {
	end  context.CancelCauseFunc
	test context.Context
}

var errSignal = errors.New("interrupt signal received")

func (s silentPipe) Read([]byte) (int, error) {
	s.end(errSignal)
	<-s.test.Done()
	return 0, io.EOF
}

func TestWhoReadsAPipeCanBeEnded(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	var out, problems strings.Builder
	status := execute(ctx, []string{"render", "-f", "-"}, silentPipe{cancel, t.Context()}, &out, &problems)
	if want := "standard input was not read to its end: interrupt signal received"; status != 1 || !strings.Contains(problems.String(), want) {
		t.Errorf("status %d, said is %q, want %q", status, problems.String(), want)
	}
}

// The configuration may come from a pipe, too.
func TestWhoReadsTheConfigurationCanBeEnded(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // whoever still waits to open it
		if writer, err := os.OpenFile(pipe, os.O_RDWR, 0); err == nil {
			writer.Close()
		}
	})
	for _, command := range []string{"config validate", "render -f none.yaml", "cleanup --dry-run", ""} {
		t.Run(command, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(errSignal)
			var out, problems strings.Builder
			status := execute(ctx, append(strings.Fields(command), "--config="+pipe), strings.NewReader(""), &out, &problems)
			if want := "the configuration was not read to its end: interrupt signal received"; status != 1 || !strings.Contains(problems.String(), want) {
				t.Errorf("status %d, said is %q, want %q", status, problems.String(), want)
			}
		})
	}
}
