package main

import "testing"

func TestExpectationHolds(t *testing.T) {
	both, sticky := answer("web-1", "web-2"), expectation{servers: []string{"web-1", "web-2"}, sticky: true}
	for _, test := range []struct {
		name string
		want expectation
		got  observed
		ok   bool
	}{
		{"all answer", both, observed{outcomes: map[string]int{"web-1": 1, "web-2": 29}}, true},
		{"one never answers", both, observed{outcomes: map[string]int{"web-1": 30}}, false},
		{"a stranger answers", both, observed{outcomes: map[string]int{"web-1": 1, "web-2": 1, "web-3": 1}}, false},
		{"some are lost", both, observed{outcomes: map[string]int{"web-1": 1, "web-2": 1, "timed out": 1}}, false},
		{"always the same", sticky, observed{outcomes: map[string]int{"web-2": 30}}, true},
		{"not always the same", sticky, observed{outcomes: map[string]int{"web-1": 1, "web-2": 29}}, false},
		{"always the same stranger", sticky, observed{outcomes: map[string]int{"web-3": 30}}, false},
		{"refused as it should", answer("refused"), observed{outcomes: map[string]int{"refused": 1}}, true},
		{"lost instead of refused", answer("refused"), observed{outcomes: map[string]int{"timed out": 1}}, false},
		{"seen", answer("web-1").seeing("client"), observed{map[string]int{"web-1": 2}, map[string]int{"client": 2}}, true},
		{"another seen", answer("web-1").seeing("client"), observed{map[string]int{"web-1": 2}, map[string]int{"node1": 2}}, false},
		{"another seen, once", answer("web-1").seeing("client"), observed{map[string]int{"web-1": 2}, map[string]int{"client": 1, "node1": 1}}, false},
		{"nobody seen", answer("web-1").seeing("client"), observed{outcomes: map[string]int{"web-1": 2}}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if ok := test.want.holds(test.got); ok != test.ok {
				t.Errorf("%s, where %s was expected: holds = %t, want %t", test.got.text(true), test.want, ok, test.ok)
			}
		})
	}
}

func TestTexts(t *testing.T) {
	o := observed{map[string]int{"web-1": 2, "web-2": 1}, map[string]int{"node1": 1, "client": 2}}
	for _, test := range []struct{ name, got, want string }{
		{"both", answer("web-1", "web-2").String(), "web-1 and web-2"},
		{"sticky", expectation{servers: []string{"web-1", "web-2"}, sticky: true}.String(), "only one of web-1 and web-2"},
		{"seeing", answer("web-1").seeing("client").String(), "web-1, sees client"},
		{"both seeing", answer("web-1", "web-2").seeing("node1").String(), "web-1 and web-2, see node1"},
		{"observed", o.text(false), "web-1 ×2, web-2"},
		{"observed and seen", o.text(true), "web-1 ×2, web-2, see client and node1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.got != test.want {
				t.Errorf("got %q, want %q", test.got, test.want)
			}
		})
	}
}

// Every wrong line must be counted: the exit status depends on it.
func TestTableCountsWrongLines(t *testing.T) {
	table := newTable("what", "got")
	table.add(true, "a", "b")
	table.add(false, "a", "c")
	table.add(false, "a", "d")
	if table.wrong != 2 {
		t.Errorf("%d lines are counted as wrong, want 2:\n%s", table.wrong, table.text.String())
	}
}
