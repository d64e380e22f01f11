package main

import (
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
				m := &memoryReporter{retained: func() uint64 { return test.retained }, free: func() { freed++ }}
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
		m := &memoryReporter{retained: func() uint64 { return worthFreeing }, free: func() { <-more; freed++ }}
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
		m := &memoryReporter{retained: func() uint64 { return retained }, free: func() { freed++ }}
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

func TestTheProcessHasHeap(t *testing.T) {
	if retainedHeap() == 0 {
		t.Error("it has none")
	}
}
