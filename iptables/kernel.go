package iptables

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Kernel is the way to the real tables of one IP family. All reads and writes
// of the Dataplane go through it.
type Kernel interface {
	// Save returns a table as iptables-save prints it, without counters.
	Save(ctx context.Context, table string) (string, error)
	// SaveChain returns a chain as iptables -S prints it; empty when it is not
	// there.
	SaveChain(ctx context.Context, table, chain string) (string, error)
	// Restore sends the input to iptables-restore --noflush. Each table of the
	// input is committed as a whole or not at all. The error is a *RestoreError
	// where the tool ran and failed.
	Restore(ctx context.Context, input string) error
}

// A RestoreError is a failed run of iptables-restore.
type RestoreError struct {
	// Line is the line of the input the tool complains about, counted from 1;
	// 0 when it names none.
	Line int
	// Text is that line.
	Text string
	// Locked means that somebody else held the lock all the time.
	Locked bool
	// Exhausted means that there was not enough memory, for the tool or in the
	// kernel: there may be soon.
	Exhausted bool
	// Output is what the tool printed.
	Output string
}

// Error holds the tool's words and the offending line.
func (e *RestoreError) Error() string {
	s := strings.Join(strings.FieldsFunc(e.Output, func(r rune) bool { return r == '\n' }), "; ")
	if e.Text != "" {
		s += fmt.Sprintf(" (line %d: %.300s)", e.Line, e.Text)
	}
	return s
}

// asRefusal reports whether the kernel or the tool did not like the input, as
// opposed to not being able to work at all.
func asRefusal(err error) (*RestoreError, bool) {
	e, ok := errors.AsType[*RestoreError](err)
	return e, ok && !e.Locked && !e.Exhausted
}
