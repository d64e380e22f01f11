package main

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// How much garbage, in percent of what is in use, may gather before it is
// collected. Go's default, 100, makes the process twice as large as its objects;
// collecting more often costs little where passes are seconds apart. At the start,
// when the objects become ever more, it would cost as much as all the rest.
//
// Without passes there is little garbage, but Go looks through all objects each two
// minutes nevertheless: half of what an idle node with 10,000 Services costs. At rest,
// after giving back what the passes left, it does so only when it has gathered.
const (
	gcPercent        = 50
	gcPercentAtStart = 300
	restAfter        = time.Minute
)

// A memoryReporter bounds the memory: that of the first passes by what they need,
// later by what serving needs. It gives memory back to the system when there are no
// more passes, and after those that compare with the kernel: reading all rules, and at
// the start all objects, takes for a moment several times as much, and Go would keep
// that for minutes.
type memoryReporter struct {
	// retained is how many bytes of heap the process has from the system, free
	// gives back those without objects, collect sets the percentage, and rest says
	// whether that much garbage is the only reason to collect it.
	retained func() uint64
	free     func()
	collect  func(percent int)
	rest     func(bool)

	mu sync.Mutex
	// starting are the families without a pass so far.
	starting map[proxier.Family]bool
	// idle runs since the last pass after the start; resting is whether it ended.
	idle    *time.Timer
	resting bool

	// freeing is held while memory is given back, beside the passes.
	freeing sync.Mutex
	// kept is what was retained after that.
	kept atomic.Uint64
}

// newMemoryReporter is for passes with these tools, one for each family. The
// environment variables GOGC and GOMEMLIMIT overrule what it says of garbage.
func newMemoryReporter(tools []*iptables.Tool) *memoryReporter {
	m := &memoryReporter{
		retained: retainedHeap, free: debug.FreeOSMemory, rest: rest,
		collect:  func(percent int) { debug.SetGCPercent(percent) },
		starting: map[proxier.Family]bool{},
	}
	if os.Getenv("GOGC") != "" {
		m.collect = func(int) {}
	}
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		m.rest = func(bool) {}
	}
	for _, tool := range tools {
		m.starting[tool.Family] = true
	}
	m.collect(gcPercentAtStart)
	return m
}

// worthFreeing is by how much a process may grow before memory is given back: looking
// for less than this would cost more than it is worth.
const worthFreeing = 24 << 20

// freeAfter is when memory is given back: the pass itself holds on to what it has
// read and written until all have been told of it.
const freeAfter = time.Second

// Synced looks at the memory when a pass is over.
func (m *memoryReporter) Synced(r proxier.Report) {
	if r.Following || !r.Last {
		return
	}
	if m.started(r.Family) {
		m.kept.Store(0) // another family may have been measured in the middle of it
	}
	m.work()
	if !r.Compared || m.retained() < m.kept.Load()+worthFreeing || !m.freeing.TryLock() {
		return
	}
	time.AfterFunc(freeAfter, func() {
		defer m.freeing.Unlock()
		m.giveBack()
	})
}

// giveBack is called with freeing held.
func (m *memoryReporter) giveBack() {
	m.free()
	m.kept.Store(m.retained())
}

// started reports whether a pass is its family's first. The start ends with that
// of the last.
func (m *memoryReporter) started(family proxier.Family) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.starting[family] {
		return false
	}
	delete(m.starting, family)
	if len(m.starting) == 0 {
		m.collect(gcPercent)
	}
	return true
}

// work ends the rest, if there is one, until the next.
func (m *memoryReporter) work() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.starting) > 0 {
		return
	}
	if m.resting {
		m.resting = false
		m.rest(false)
	}
	if m.idle == nil {
		m.idle = time.AfterFunc(restAfter, m.pause)
	}
	m.idle.Reset(restAfter)
}

func (m *memoryReporter) pause() {
	m.freeing.Lock()
	m.giveBack()
	m.freeing.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.resting = true
	m.rest(true)
}

// rest replaces the percentage by a limit for the whole process that leaves as much
// room, or the other way round. Go collects each two minutes only where there is a
// percentage.
func rest(yes bool) {
	percent, limit := gcPercent, int64(math.MaxInt64)
	if yes {
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		percent, limit = -1, int64(stats.Sys-stats.HeapReleased)*(100+gcPercent)/100
	}
	debug.SetMemoryLimit(limit)
	debug.SetGCPercent(percent)
}

func retainedHeap() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapSys - stats.HeapReleased
}
