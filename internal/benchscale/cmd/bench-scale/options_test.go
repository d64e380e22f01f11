package main

import (
	"bytes"
	"fmt"
	"testing"
)

func TestWrongArgumentsAreRefused(t *testing.T) {
	for _, args := range [][]string{
		{"-sizes", "10"}, {"-modes", "userspace"}, {"-variants", "ebtables"}, {"more"}, {"-kubeconfig", "x", "-api", "nowhere"},
	} {
		if o, err := parse(args); err == nil {
			t.Errorf("%q: have %+v, want an error", args, o)
		}
	}
}

func TestResultIsFoundAmongTheOutput(t *testing.T) {
	var log bytes.Buffer
	f := &resultFilter{log: &log}
	for _, part := range []string{"start\nres", "ult: {}\n", "end\nnot a line"} {
		fmt.Fprint(f, part)
	}
	if f.result != "{}" || log.String() != "start\nend\n" {
		t.Errorf("have the result %q and the output %q", f.result, log.String())
	}
}

func TestListsOfTheCommandLine(t *testing.T) {
	o, err := parse([]string{"-sizes", "20x2,30x3", "-modes", "iptables", "-variants", "legacy", "-compare", "/x", "-only", "kube-proxy", "-args", "-v=2 --a"})
	if err != nil {
		t.Fatal(err)
	}
	if have := fmt.Sprint(o.sizes, o.kinds, o.extra, o.compare); have != "[20x2 30x3] [kube-proxy iptables-legacy] [-v=2 --a]/x" {
		t.Errorf("have %s", have)
	}
}
