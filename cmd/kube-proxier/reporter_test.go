package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2/ktesting"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/ipvs/mode"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A logStage is a logReporter, of which can be read what it has logged.
type logStage struct {
	*logReporter
	state *proxier.State
	read  int // bytes of the log
}

func newLogStage(t *testing.T) *logStage {
	log := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
	store := clustergen.Uniform(3, 1)
	elsewhere := clustergen.Service(3)
	elsewhere.Spec.Type = corev1.ServiceTypeExternalName
	store.SetService(elsewhere) // which is not served
	state := proxier.Build(nil, store.Snapshot(), clustergen.Options(proxier.IPv4))
	return &logStage{logReporter: &logReporter{logger: log}, state: state}
}

// logged is what a report adds to the log.
func (s *logStage) logged(r proxier.Report) string {
	r.Family, r.State = proxier.IPv4, s.state
	if r.Plan == nil {
		r.Plan = mode.OtherTurn{}
	}
	s.Synced(r)
	text := s.logger.GetSink().(ktesting.Underlier).GetBuffer().String()
	defer func() { s.read = len(text) }()
	return text[s.read:]
}

// In IPVS mode several dataplanes may refuse something in the same pass.
func TestARefusalIsLoggedOnce(t *testing.T) {
	s := newLogStage(t)
	refused := func(dataplane string, services ...int) proxier.Report {
		r := proxier.Report{Dataplane: dataplane}
		for _, i := range services {
			r.Refused = append(r.Refused, proxier.Refusal{Target: s.state.Services[i].Targets[0], Err: errors.New("no such match")})
		}
		return r
	}
	for _, step := range []struct {
		name   string
		report proxier.Report
		want   string // of the Service that is told
	}{
		{"one", refused("iptables", 0), "service-0"},
		{"another one of another dataplane", refused("ipvs", 1), "service-1"},
		{"the first again", refused("iptables", 0), ""},
		{"the other again", refused("ipvs", 1), ""},
		{"one more", refused("ipvs", 1, 2), "service-2"},
		{"none", refused("iptables"), ""},
		{"the first comes back", refused("iptables", 0), "service-0"},
		{"the others stay", refused("ipvs", 1, 2), ""},
	} {
		got := s.logged(step.report)
		if lines := strings.Count(got, "The kernel refuses"); (lines == 1) != (step.want != "") || lines > 1 || !strings.Contains(got, step.want) {
			t.Errorf("%s: logged is %q, want one line of %q", step.name, got, step.want)
		}
	}
}

// A writtenPlan has had something to do.
type writtenPlan struct{ mode.OtherTurn }

func (writtenPlan) Empty() bool { return false }

func TestServicesThatAreServedAreCounted(t *testing.T) {
	s := newLogStage(t)
	if got := s.logged(proxier.Report{Dataplane: "iptables", Plan: writtenPlan{}}); !strings.Contains(got, "Synced") || !strings.Contains(got, "services=3 ") {
		t.Errorf("logged is %q, want 3 of the 4 Services that are there", got)
	}
}

// A failure may come with each change, which is each second, or come and go with it.
func TestALastingFailureIsLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLogStage(t)
		failed := func(dataplane, text string) proxier.Report {
			return proxier.Report{Dataplane: dataplane, Err: errors.New(text)}
		}
		for _, step := range []struct {
			name   string
			after  time.Duration
			report proxier.Report
			want   string
		}{
			{"the first", 0, failed("sysctl", "read-only"), "failedBefore=0"},
			{"the same", time.Second, failed("sysctl", "read-only"), ""},
			{"of another dataplane", 0, failed("iptables", "read-only"), "failedBefore=0"},
			{"another one", time.Second, failed("sysctl", "no such file"), "failedBefore=1"},
			{"the first in turn", time.Second, failed("sysctl", "read-only"), ""},
			{"still within the minute", 56 * time.Second, failed("sysctl", "no such file"), ""},
			{"after a minute", time.Second, failed("sysctl", "no such file"), "failedBefore=2"},
			{"the other dataplane does well", 0, proxier.Report{Dataplane: "iptables"}, `do not fail any more family="IPv4" dataplane="iptables" failed=1`},
			{"the same", time.Second, failed("sysctl", "no such file"), ""},
			{"all is well", time.Second, proxier.Report{Dataplane: "sysctl"}, `do not fail any more family="IPv4" dataplane="sysctl" failed=7`},
			{"still", time.Second, proxier.Report{Dataplane: "sysctl"}, ""},
			{"it comes again", time.Second, failed("sysctl", "no such file"), ""},
			{"and goes", time.Second, proxier.Report{Dataplane: "sysctl"}, ""},
			{"it comes a minute later", time.Minute, failed("sysctl", "no such file"), "failedBefore=2"},
		} {
			<-time.After(step.after)
			got := s.logged(step.report)
			if told := strings.Contains(got, "fail"); told != (step.want != "") || !strings.Contains(got, step.want) {
				t.Errorf("%s: logged is %q, want %q", step.name, got, step.want)
			}
		}
		lines := 0
		for i := range 100 { // such as with the number of a line
			if s.logged(failed("ipvs", fmt.Sprint("failed at line ", i))) != "" {
				lines++
			}
		}
		if lines != maxFailures {
			t.Errorf("of 100 errors at once %d are logged, want %d", lines, maxFailures)
		}
	})
}

func TestWhatIsLeftIsLoggedOnce(t *testing.T) {
	log := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
	reporter := &logReporter{logger: log}
	for _, kept := range [][]string{{"set A: a rule"}, {"set A: a rule"}, {"set A: a rule", "set B: a rule"}, nil} {
		reporter.Synced(proxier.Report{Dataplane: "ipset leftovers", State: &proxier.State{}, Plan: mode.OtherTurn{}, Findings: proxier.Findings{Kept: kept}})
	}
	text := log.GetSink().(ktesting.Underlier).GetBuffer().String()
	for _, what := range []string{"set A: a rule", "set B: a rule"} {
		if n := strings.Count(text, what); n != 1 {
			t.Errorf("%q is logged %d times, want once:\n%s", what, n, text)
		}
	}
}
