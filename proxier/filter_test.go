package proxier

import "testing"

func TestFilterCopiesNothingWhenAllAreKept(t *testing.T) {
	all := []Endpoint{{Ready: true, Weight: 1}, {Ready: true, Weight: 2}, {Ready: true, Weight: 3}}
	ready := func(e *Endpoint) bool { return e.Ready }
	if kept := filter(all, ready); len(kept) != 3 || &kept[0] != &all[0] {
		t.Errorf("have %v, want the same endpoints in the same place", kept)
	}
	all[1].Ready = false
	kept := filter(all, ready)
	if len(kept) != 2 || cap(kept) != 2 || kept[0].Weight != 1 || kept[1].Weight != 3 {
		t.Errorf("have %v, want the first and the third, and no room for more", kept)
	}
	if kept := filter(all, func(*Endpoint) bool { return false }); kept != nil {
		t.Errorf("have %v, want none", kept)
	}
}
