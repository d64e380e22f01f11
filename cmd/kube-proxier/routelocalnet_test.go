package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kube-proxier/kube-proxier/proxier"
)

func TestRouteLocalnet(t *testing.T) {
	tests := []struct {
		name, have string // the sysctl; empty for no such file
		loopback   bool
		empty, err bool
	}{
		{name: "needed and off", have: "0\n", loopback: true},
		{name: "needed and on", have: "1\n", loopback: true, empty: true},
		{name: "not needed", have: "0\n", empty: true},
		{name: "needed and not there", loopback: true, err: true},
		{name: "neither needed nor there", empty: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "route_localnet")
			if test.have != "" {
				if err := os.WriteFile(path, []byte(test.have), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			r := routeLocalnet{path: path}
			state := &proxier.State{NodePortAddresses: proxier.NodePortAddresses{Loopback: test.loopback}}
			plan, err := r.Plan(t.Context(), state)
			if (err != nil) != test.err {
				t.Fatalf("error %v, want one: %t", err, test.err)
			}
			if err != nil {
				return
			}
			if plan.Empty() != test.empty || (plan.String() == "") != test.empty || (plan.Diff() == "") != test.empty {
				t.Fatalf("empty %t, want %t: %q %q", plan.Empty(), test.empty, plan, plan.Diff())
			}
			if _, err := plan.Apply(t.Context()); err != nil {
				t.Fatal(err)
			}
			if again, err := r.Plan(t.Context(), state); err != nil || !again.Empty() {
				t.Errorf("the next plan is not empty: %v, %v", again, err)
			}
		})
	}
}
