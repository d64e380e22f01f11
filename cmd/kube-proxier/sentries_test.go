package main

import (
	"errors"
	"testing"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// Rules that nobody can watch must not count as watched because all else is: then
// they would be compared once an hour.
func TestAMissingSentryIsOneThatFails(t *testing.T) {
	polls := []proxier.Sentry{&proxier.Poll{Name: "ipset"}, &proxier.Poll{Name: "ipvs"}}
	why := errors.New("no memory")
	all := withRules(polls, "iptables", nil, why)
	if len(all) != 3 || all[2].Dataplane() != "iptables" {
		t.Fatalf("the Sentries are %+v, want one of the rules, too", all)
	}
	if err := all[2].Watch(t.Context(), func(proxier.Drift) { t.Error("it tells of drift") }); !errors.Is(err, why) {
		t.Errorf("it watches, and ends with %v", err)
	}
}
