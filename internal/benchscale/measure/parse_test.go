package measure

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCountersAreAddedUpOverLabels(t *testing.T) {
	have, err := ParseCounters("# HELP a_total x\na_total{f=\"IPv4\"} 2\na_total{f=\"IP v6\"} 1.5e1\n\nb 3\nc NaN\nd +Inf\n")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Counters{"a_total": 17, "b": 3}, have); diff != "" {
		t.Errorf("-want +have:\n%s", diff)
	}
	for _, page := range []string{"alone\n", "a b\n"} {
		if have, err := ParseCounters(page); err == nil {
			t.Errorf("%q: have %v, want an error", page, have)
		}
	}
}

func TestMemoryIsReadFromProcessStatus(t *testing.T) {
	have, err := parseStatus("Name:\tx\nVmPeak:\t 9 kB\nVmHWM:\t    20 kB\nVmRSS:\t    10 kB\n")
	if want := (Memory{Resident: 10240, Peak: 20480}); err != nil || have != want {
		t.Errorf("have %+v, %v, want %+v", have, err, want)
	}
	for _, text := range []string{"", "VmHWM:\t1 kB\n", "VmHWM:\tx kB\nVmRSS:\t1 kB\n", "VmHWM:\t1 MB\nVmRSS:\t1 kB\n"} {
		if have, err := parseStatus(text); err == nil {
			t.Errorf("%q: have %+v, want an error", text, have)
		}
	}
}

func TestCPUTimeIsReadFromCPUStat(t *testing.T) {
	have, err := parseCPUStat("usage_usec 1500\nuser_usec 1000\n")
	if err != nil || have != 1500*time.Microsecond {
		t.Errorf("have %s, %v", have, err)
	}
	if have, err := parseCPUStat("user_usec 1000\n"); err == nil {
		t.Errorf("without usage: have %s, want an error", have)
	}
}
