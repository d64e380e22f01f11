package main

import (
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kube-proxier/kube-proxier/proxier"
)

func TestMemoryIsGivenBackAfterComparingWithTheKernel(t *testing.T) {
	compared := proxier.Report{Last: true, Compared: true}
	tests := []struct {
		name     string
		report   proxier.Report
		retained uint64
		want     int
	}{
		{"much of it", compared, worthFreeing, 1},
		{"little of it", compared, worthFreeing - 1, 0},
		{"nothing was read", proxier.Report{Last: true}, worthFreeing, 0},
		{"the pass goes on", proxier.Report{Compared: true}, worthFreeing, 0},
		{"a follower", proxier.Report{Last: true, Compared: true, Following: true}, worthFreeing, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				freed := 0
				m := &memoryReporter{retained: func() uint64 { return test.retained }, free: func() { freed++ }, rest: func(bool) {}}
				m.Synced(test.report)
				<-time.After(freeAfter)
				synctest.Wait()
				if freed != test.want {
					t.Errorf("freed %d times, want %d", freed, test.want)
				}
			})
		})
	}
}

func TestMemoryIsGivenBackOnceAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		freed, more := 0, make(chan struct{})
		m := &memoryReporter{retained: func() uint64 { return worthFreeing }, free: func() { <-more; freed++ }, rest: func(bool) {}}
		for range 3 {
			m.Synced(proxier.Report{Last: true, Compared: true})
		}
		<-time.After(freeAfter)
		close(more)
		synctest.Wait()
		if freed != 1 {
			t.Errorf("freed %d times, want once", freed)
		}
	})
}

func TestMemoryThatIsNeededIsNotLookedThroughAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		freed, retained := 0, uint64(worthFreeing)
		m := &memoryReporter{retained: func() uint64 { return retained }, free: func() { freed++ }, rest: func(bool) {}}
		for _, step := range []struct {
			grown uint64
			want  int
		}{{0, 1}, {0, 1}, {worthFreeing - 1, 1}, {1, 2}, {0, 2}} {
			retained += step.grown
			m.Synced(proxier.Report{Last: true, Compared: true})
			<-time.After(freeAfter)
			synctest.Wait()
			if freed != step.want {
				t.Errorf("with %d bytes freed %d times, want %d", retained, freed, step.want)
			}
		}
	})
}

func TestGarbageIsBoundOnceAllFamiliesHaveStarted(t *testing.T) {
	var percents []int
	m := &memoryReporter{
		retained: func() uint64 { return 0 }, collect: func(percent int) { percents = append(percents, percent) },
		free: func() {}, rest: func(bool) {}, // a minute later, while other tests run
		starting: map[proxier.Family]bool{proxier.IPv4: true, proxier.IPv6: true},
	}
	for _, step := range []struct {
		report proxier.Report
		want   []int
	}{
		{proxier.Report{Family: proxier.IPv6, Last: true}, nil},
		{proxier.Report{Family: proxier.IPv6, Last: true}, nil},
		{proxier.Report{Family: proxier.IPv4}, nil},
		{proxier.Report{Family: proxier.IPv4, Last: true, Following: true}, nil},
		{proxier.Report{Family: proxier.IPv4, Last: true}, []int{gcPercent}},
		{proxier.Report{Family: proxier.IPv4, Last: true}, []int{gcPercent}},
	} {
		if m.Synced(step.report); !slices.Equal(percents, step.want) {
			t.Errorf("after %+v: set to %v, want %v", step.report, percents, step.want)
		}
	}
}

func TestGarbageIsCollectedOnceThereAreNoPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rests []bool
		freed := 0
		m := &memoryReporter{
			retained: func() uint64 { return 0 }, collect: func(int) {}, free: func() { freed++ },
			rest:     func(yes bool) { rests = append(rests, yes) },
			starting: map[proxier.Family]bool{proxier.IPv4: true, proxier.IPv6: true},
		}
		pass := func(family proxier.Family) func() {
			return func() { m.Synced(proxier.Report{Family: family, Last: true}) }
		}
		for _, step := range []struct {
			name  string
			do    func()
			quiet time.Duration
			want  []bool
		}{
			{"one family has started", pass(proxier.IPv4), 2 * restAfter, nil},
			{"both have", pass(proxier.IPv6), restAfter - 1, nil},
			{"a pass in time", pass(proxier.IPv4), restAfter - 1, nil},
			{"another", pass(proxier.IPv4), restAfter, []bool{true}},
			{"long after", func() {}, time.Hour, []bool{true}},
			{"a pass", pass(proxier.IPv6), restAfter - 1, []bool{true, false}},
			{"silence again", func() {}, restAfter, []bool{true, false, true}},
		} {
			step.do()
			<-time.After(step.quiet)
			synctest.Wait()
			m.mu.Lock()
			if !slices.Equal(rests, step.want) {
				t.Errorf("%s, and %v of silence: rests %v, want %v", step.name, step.quiet, rests, step.want)
			}
			m.mu.Unlock()
		}
		if freed != 2 {
			t.Errorf("memory was given back %d times, want once at each rest", freed)
		}
	})
}

// At rest Go collects for no reason but the limit, which is above what there is.
func TestRest(t *testing.T) {
	t.Cleanup(func() { rest(false) })
	rest(true)
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	if percent := debug.SetGCPercent(-1); percent != -1 {
		t.Errorf("the percentage is %d at rest", percent)
	}
	if limit := debug.SetMemoryLimit(-1); limit <= int64(stats.Sys-stats.HeapReleased) || limit == math.MaxInt64 {
		t.Errorf("the limit is %d at rest, where %d are in use", limit, stats.Sys-stats.HeapReleased)
	}
	rest(false)
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		t.Errorf("the limit is %d afterwards", limit)
	}
	if percent := debug.SetGCPercent(gcPercent); percent != gcPercent {
		t.Errorf("the percentage is %d afterwards", percent)
	}
}

func TestTheProcessHasHeap(t *testing.T) {
	if retainedHeap() == 0 {
		t.Error("it has none")
	}
}
