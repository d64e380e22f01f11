package preflight

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Severity is how bad a finding is.
type Severity string

// The severities.
const (
	// OK is as it should be, or worth knowing.
	OK Severity = "ok"
	// Warning may keep something from being served, or served well.
	Warning Severity = "warning"
	// Fatal keeps everything from being served.
	Fatal Severity = "fatal"
)

// A Finding is one thing that was looked at.
type Finding struct {
	Severity Severity `json:"severity"`
	// Subject is what was looked at, in a word that does not change between
	// versions, such as "iptables".
	Subject string `json:"subject"`
	// What is how it is, with names and values.
	What string `json:"what"`
	// Why says what follows from it; empty where all is well.
	Why string `json:"why,omitempty"`
	// Do says what can be done about it; empty where nothing has to.
	Do string `json:"do,omitempty"`
}

// String is one line.
func (f Finding) String() string {
	s := f.Subject + ": " + f.What
	if f.Why != "" {
		s += ": " + f.Why
	}
	if f.Do != "" {
		s += "; " + f.Do
	}
	return s
}

// Count is the number of findings of a severity.
func Count(findings []Finding, severity Severity) int {
	n := 0
	for _, f := range findings {
		if f.Severity == severity {
			n++
		}
	}
	return n
}

// NotOK are the findings that somebody should read.
func NotOK(findings []Finding) []Finding {
	return slices.DeleteFunc(slices.Clone(findings), func(f Finding) bool { return f.Severity == OK })
}

// Print writes the findings as a list for people.
func Print(out io.Writer, findings []Finding) {
	const indent = "                            "
	for _, f := range findings {
		fmt.Fprintf(out, "%-8s %-18s %s\n", f.Severity, f.Subject, lines(f.What, indent))
		if f.Why != "" {
			fmt.Fprintf(out, "%swhy: %s\n", indent, lines(f.Why, indent+"     "))
		}
		if f.Do != "" {
			fmt.Fprintf(out, "%sdo:  %s\n", indent, lines(f.Do, indent+"     "))
		}
	}
	warnings := "warnings"
	if Count(findings, Warning) == 1 {
		warnings = "warning"
	}
	fmt.Fprintf(out, "%d fatal, %d %s, %d ok\n", Count(findings, Fatal), Count(findings, Warning), warnings, Count(findings, OK))
}

// lines lets the lines after the first begin below it.
func lines(text, indent string) string {
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+indent)
}

// FatalError holds all that keeps everything from being served.
type FatalError []Finding

// Error has a line for each.
func (e FatalError) Error() string {
	var b strings.Builder
	b.WriteString("nothing can be served on this host:")
	for _, f := range e {
		b.WriteString("\n  " + f.String())
	}
	return b.String()
}

// Err is a FatalError of those that are fatal; nil where there is none.
func Err(findings []Finding) error {
	var fatal FatalError
	for _, f := range findings {
		if f.Severity == Fatal {
			fatal = append(fatal, f)
		}
	}
	if len(fatal) == 0 {
		return nil
	}
	return fatal
}
