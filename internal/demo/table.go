package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// A table is lines of things expected and things that happened.
type table struct {
	text  strings.Builder
	wrong int // lines that were not as expected
}

func newTable(columns ...string) *table {
	t := &table{}
	t.line("", columns)
	return t
}

// add adds a line; ok tells whether it is as expected.
func (t *table) add(ok bool, cells ...string) {
	word := "ok"
	if !ok {
		word = "WRONG"
		t.wrong++
	}
	t.line(word, cells)
}

func (t *table) line(word string, cells []string) {
	fmt.Fprintf(&t.text, "  %s\t%s\n", word, strings.Join(cells, "\t"))
}

// print prints the table and counts what was wrong.
func (s *stage) print(t *table) {
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, t.text.String())
	_ = w.Flush() // an error of the terminal shows by itself
	s.wrong += t.wrong
	fmt.Fprintln(s.out)
}
