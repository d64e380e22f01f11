package proxier

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestNews walks through reports, with what of each is news.
func TestNews(t *testing.T) {
	a, b := &Target{}, &Target{}
	feud, failed := &Feud{}, errors.New("failed")
	refused := func(targets ...*Target) (all []Refusal) {
		for _, t := range targets {
			all = append(all, Refusal{Target: t})
		}
		return all
	}
	problems := func(names ...string) (f Findings) {
		for _, name := range names {
			f.Problems = append(f.Problems, Problem{Name: name})
		}
		return f
	}
	plan := struct{ Plan }{}
	type news struct {
		Refused, Problems string
		Began, Ended      bool
	}
	var n News
	for _, step := range []struct {
		name   string
		report Report
		want   news
	}{
		{"nothing", Report{}, news{}},
		{"all at once", Report{Refused: refused(a), Plan: plan, Findings: problems("x"), Feud: feud}, news{Refused: "a", Problems: "x", Began: true}},
		{"the same", Report{Refused: refused(a), Plan: plan, Findings: problems("x"), Feud: feud}, news{}},
		{"another dataplane", Report{Dataplane: "other", Refused: refused(a, b), Plan: plan, Findings: problems("x"), Feud: feud}, news{Refused: "ab", Problems: "x", Began: true}},
		{"the first again", Report{Refused: refused(a), Plan: plan, Findings: problems("x"), Feud: feud}, news{}},
		{"a failed pass, of which the plan is known", Report{Err: failed, Plan: plan, Findings: problems("x", "y")}, news{Problems: "y"}},
		{"one more of each", Report{Refused: refused(a, b), Plan: plan, Findings: problems("z", "x", "y"), Feud: feud}, news{Refused: "b", Problems: "z"}},
		{"a failed plan", Report{Err: failed}, news{}},
		{"all ends", Report{Plan: plan, Findings: problems()}, news{Ended: true}},
		{"and comes back", Report{Refused: refused(b), Plan: plan, Findings: problems("x"), Feud: feud}, news{Refused: "b", Problems: "x", Began: true}},
		{"the other dataplane still", Report{Dataplane: "other", Refused: refused(b), Plan: plan, Findings: problems("x"), Feud: feud}, news{}},
	} {
		var got news
		for _, refusal := range n.Refused(step.report) {
			got.Refused += map[*Target]string{a: "a", b: "b"}[refusal.Target]
		}
		for _, p := range n.Problems(step.report) {
			got.Problems += p.Name
		}
		got.Began, got.Ended = n.Feud(step.report)
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}
