package ipset_test

import (
	"context"
	"testing"

	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/ipvs/ipset/ipsettest"
	"github.com/kube-proxier/kube-proxier/proxier"
)

func TestGlance(t *testing.T) {
	kernel := ipsettest.New()
	sets := ofFamily(proxier.IPv4, sample(t))
	d := ipset.NewSets(kernel, proxier.IPv4, func(context.Context, *proxier.State) ([]ipset.Set, error) { return sets, nil }, nil)
	glance := func(when, want string) {
		t.Helper()
		if different, err := d.Glance(t.Context()); different != want || err != nil {
			t.Errorf("%s: %q is different, error %v; want %q", when, different, err, want)
		}
	}
	glance("before the first pass", "")
	p, err := d.Plan(t.Context(), nil)
	if err == nil {
		_, err = p.Apply(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	lists := kernel.Lists()
	glance("after a pass", "")
	var full ipset.Set
	for _, s := range sets {
		if len(s.Entries) > 0 {
			full = s
		}
	}
	change := func(o ipset.Op) {
		t.Helper()
		if err := kernel.Do(t.Context(), []ipset.Op{o}); err != nil {
			t.Fatal(err)
		}
	}
	change(ipset.Op{Verb: ipset.Delete, Set: ipset.Set{Name: full.Name, Type: full.Type, Entries: full.Entries[:1]}})
	glance("an entry deleted", full.Name)
	change(ipset.Op{Verb: ipset.Destroy, Set: full})
	glance("the set deleted", full.Name+" is gone")
	if kernel.Lists() != lists {
		t.Error("entries were listed")
	}
}
