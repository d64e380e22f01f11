package config

import (
	"fmt"
	"strings"
)

// A Warning is something that was written and does not do what the writer may
// expect.
type Warning struct {
	// Field is the path in the file or the flag, such as "ipvs.scheduler" or
	// "--ipvs-scheduler"; empty when it concerns the whole file.
	Field string
	// Reason says what happens instead.
	Reason string
}

// String is one line.
func (w Warning) String() string {
	if w.Field == "" {
		return w.Reason
	}
	return w.Field + ": " + w.Reason
}

// An Invalid is a value that cannot be used.
type Invalid struct {
	// Field is the path in the file or the flag that set it.
	Field string
	// Value is what stands there.
	Value string
	// Allowed says what may stand there.
	Allowed string
}

// String is one line; the value is quoted and cut.
func (i Invalid) String() string {
	return fmt.Sprintf("%s: %.120q: %s", i.Field, i.Value, i.Allowed)
}

// Errors are all values that cannot be used, in the order of validation.
type Errors []Invalid

// Error lists all of them, one on each line.
func (e Errors) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the configuration has %d error", len(e))
	if len(e) > 1 {
		b.WriteByte('s')
	}
	b.WriteByte(':')
	for _, i := range e {
		b.WriteString("\n  ")
		b.WriteString(i.String())
	}
	return b.String()
}
