package iptables

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/iptables/legacytable"
)

func TestParseChain(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want *Chain
		fail bool
	}{
		"a chain": {"-N KUBE-X\n-A KUBE-X -j RETURN\n-A KUBE-X\n", &Chain{Name: "KUBE-X", Rules: []string{"-j RETURN", ""}}, false},
		"a built-in chain": {
			"-P KUBE-X DROP\n-A KUBE-X -j KUBE-Y\n", &Chain{Name: "KUBE-X", Policy: "DROP", Rules: []string{"-j KUBE-Y"}}, false,
		},
		"a comment of two lines": {
			"-N KUBE-X\n-A KUBE-X -m comment --comment \"a\n-A \\\" b\" -j RETURN\n-A KUBE-X -j KUBE-Y\n",
			&Chain{Name: "KUBE-X", Rules: []string{"-m comment --comment \"a\n-A \\\" b\" -j RETURN", "-j KUBE-Y"}}, false,
		},
		"a quotation without end": {"-N KUBE-X\n-A KUBE-X \"a\n", &Chain{Name: "KUBE-X", Rules: []string{"\"a"}}, false},
		"none":                    {"", nil, false},
		"another chain's rule":    {"-N KUBE-X\n-A KUBE-XY -j RETURN\n", nil, true},
		"a rule before the head":  {"-A KUBE-X -j RETURN\n", nil, true},
		"two heads":               {"-N KUBE-X\n-N KUBE-X\n", nil, true},
	} {
		c, err := parseChain("KUBE-X", test.text)
		if diff := cmp.Diff(test.want, c); diff != "" || (err != nil) != test.fail {
			t.Errorf("%s: error %v, (-want +have)\n%s", name, err, diff)
		}
	}
}

// What others comment their rules with is none of our business, as iptables 1.8.9 prints it.
func TestParseSaveOfRulesOverSeveralLines(t *testing.T) {
	rs, err := ParseSave("# it's Sat\n*filter\n:INPUT ACCEPT [0:0]\n:KUBE-X -\n" +
		"[1:60] -A INPUT -m comment --comment \"a\nCOMMIT\n:KUBE-Y -\n\\\"b\\\\\" -j ACCEPT\n-A KUBE-X -j RETURN\nCOMMIT\n# done\n")
	want := Ruleset{Tables: []Table{{Name: Filter, Chains: []*Chain{
		{Name: "INPUT", Policy: "ACCEPT", Rules: []string{"-m comment --comment \"a\nCOMMIT\n:KUBE-Y -\n\\\"b\\\\\" -j ACCEPT"}},
		{Name: "KUBE-X", Rules: []string{"-j RETURN"}},
	}}}}
	if diff := cmp.Diff(want, rs); diff != "" || err != nil {
		t.Errorf("error %v, (-want +have)\n%s", err, diff)
	}
}

func TestManyDoubtfulChainsAreATable(t *testing.T) {
	var d Doubt
	for i := range maxDoubtful {
		d.Chain(NAT, string(rune('a'+i)))
	}
	if d.Tables[NAT] || len(d.Chains[NAT]) != maxDoubtful {
		t.Fatalf("%d chains are %+v", maxDoubtful, d)
	}
	d.Chain(NAT, "one more")
	d.Chain(Filter, "KUBE-FORWARD")
	if !d.Tables[NAT] || len(d.Chains[NAT]) != 0 || d.String() != "table nat, filter KUBE-FORWARD" {
		t.Errorf("one chain more is %+v, %q", d, d.String())
	}
}

func TestTableWithAnotherChain(t *testing.T) {
	a, c := &Chain{Name: "A"}, &Chain{Name: "C", Rules: []string{"-j A"}}
	table := Table{Name: NAT, Chains: []*Chain{a, c}}
	names := func(t Table) (s string) {
		for _, c := range t.Chains {
			s += c.Name
		}
		return s
	}
	for _, test := range []struct {
		name  string
		chain *Chain
		want  string
	}{{"A", nil, "C"}, {"B", nil, "AC"}, {"B", &Chain{Name: "B"}, "ABC"}, {"D", &Chain{Name: "D"}, "ACD"}, {"C", &Chain{Name: "C"}, "AC"}} {
		if have := names(table.with(test.name, test.chain)); have != test.want {
			t.Errorf("with %s as %v: have %s, want %s", test.name, test.chain, have, test.want)
		}
	}
	if table.with("C", &Chain{Name: "C", Rules: []string{"-j A"}}).Chains[1] != c {
		t.Error("an equal chain is not the same pointer any more")
	}
	if names(table) != "AC" {
		t.Error("the table itself was changed")
	}
}

// A glance is one at a table, at a second.
type glance struct {
	name     string
	at       int
	entries  uint32
	content  uint64
	fail     bool
	thorough bool
	locked   bool // by others before
	want     bool
	digests  int // so far
}

func TestTableWatch(t *testing.T) {
	w := tableWatch{}
	w.wrote(legacytable.Info{Entries: 10})
	digests := 0
	const takes = 5 * time.Millisecond // so that the content is looked at each 500 s, or 5 s
	for _, l := range []glance{
		{"what we wrote", 1, 10, 100, false, true, false, false, 1},
		{"too early for the content", 499, 10, 101, false, true, false, false, 1},
		{"not thorough", 600, 10, 101, false, false, false, false, 1},
		{"other content of the same size", 601, 10, 101, false, true, false, true, 2},
		{"told once", 1200, 10, 101, false, true, false, false, 3},
		{"a stranger's chain", 1201, 12, 101, false, true, false, false, 4},
		{"a rule of ours", 1202, 13, 102, false, true, false, true, 5},
		{"others had the lock", 1210, 13, 103, false, true, true, true, 6},
		{"they gave it back once", 1220, 13, 104, false, true, false, false, 6},
		{"they had it again", 1221, 13, 104, false, true, true, true, 7},
		{"and soon once more", 1222, 13, 105, false, true, true, false, 7},
		{"what was too soon", 1230, 13, 105, false, true, false, true, 8},
		{"content that cannot be read", 1231, 14, 0, true, true, false, true, 9},
		{"a change while the content is not known", 1232, 15, 103, false, true, false, true, 9},
		{"others had the lock while it is not known", 1240, 15, 103, false, true, true, false, 10},
	} {
		now := time.Unix(int64(l.at), 0)
		w.due = w.due || l.locked
		have := w.look(l.thorough, legacytable.Info{Entries: l.entries}, now, func() (uint64, time.Duration, error) {
			digests++
			if l.fail {
				return 0, takes, errors.New("no memory")
			}
			return l.content, takes, nil
		})
		if have != l.want || digests != l.digests {
			t.Errorf("%s: have %v after %d digests, want %v after %d", l.name, have, digests, l.want, l.digests)
		}
	}
}

// What is there after a write of ours is known at once, or somebody's change of the
// same size would be taken for ours; only of large tables it is not.
func TestTableWatchAfterOurWrites(t *testing.T) {
	for entries, want := range map[uint32]int{10: 3, 1_000_000: 1} {
		w := tableWatch{}
		digests := 0
		for n := range 3 {
			info := legacytable.Info{Entries: entries, Size: uint32(n)}
			w.wrote(info)
			w.look(true, info, time.Unix(1000, int64(n)), func() (uint64, time.Duration, error) {
				digests++
				return uint64(n), time.Second, nil
			})
		}
		if digests != want {
			t.Errorf("%d entries: the content was looked at %d times, want %d", entries, digests, want)
		}
	}
}

// Entries that are not ours stay the same in number, whatever we write, from when the
// table was read.
func TestStrangers(t *testing.T) {
	first, second := &reading{others: 20}, &reading{others: 21}
	own := func(read *reading, rules ...int) *Observation {
		nat := Table{Name: NAT, Chains: []*Chain{{Name: "OUTPUT", Policy: "ACCEPT", Rules: []string{"-j KUBE-SERVICES"}}}}
		for i, n := range rules {
			nat.Chains = append(nat.Chains, &Chain{Name: fmt.Sprintf("KUBE-SVC-%d", i), Rules: slices.Repeat([]string{"-j RETURN"}, n)})
		}
		return &Observation{Own: Ruleset{Tables: []Table{nat, {Name: Filter}}}, read: map[string]*reading{NAT: read}}
	}
	three, four := own(first, 3), own(first, 4, 2) // 1+5, 1+6+4
	threeRead, fourRead := own(second, 3), own(second, 4, 2)
	var s strangers
	for _, step := range []struct {
		name          string
		written, then uint32 // entries after a write of ours, if there is one, and when it is looked
		own           *Observation
		want          bool
	}{
		{"before the first pass", 26, 26, nil, false},
		{"as it was read", 0, 26, three, false},
		{"we write, and nobody knows yet what", 31, 31, nil, false},
		{"now it is known", 0, 31, four, false},
		{"somebody writes while we do not", 0, 32, four, false},
		{"we write", 27, 27, three, false},
		{"we write, and somebody after that", 32, 35, four, false},
		{"we write", 30, 30, three, false},
		{"somebody takes a rule of ours away while we write", 34, 34, four, true},
		{"told once", 0, 34, four, false},
		{"another reading, after which somebody writes while we do", 28, 28, threeRead, true},
		{"we write", 33, 33, fourRead, false},
		{"another reading, a write, and somebody after that", 31, 36, four, false},
	} {
		if step.written > 0 {
			s.written(step.written)
		}
		if have := s.changed(NAT, step.then, step.own); have != step.want {
			t.Errorf("%s: have %v, want %v", step.name, have, step.want)
		}
	}
	if n := three.entries(Filter); n != 0 {
		t.Errorf("%d entries in an empty table", n)
	}
}
