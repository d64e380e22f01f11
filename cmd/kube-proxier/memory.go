package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// gcPercent is how much garbage, in percent of what is in use, may gather before it
// is collected. Go's default, 100, makes the process twice as large as its objects;
// collecting more often costs little where passes are seconds apart.
const gcPercent = 50

// boundGarbage sets gcPercent, unless the environment variable GOGC says otherwise.
func boundGarbage() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// A memoryReporter gives memory back to the system after passes that compare with
// the kernel: reading all rules, and at the start all objects, takes for a moment
// several times what serving needs, and Go would keep that for minutes.
type memoryReporter struct {
	// retained is how many bytes of heap the process has from the system, and free
	// gives back those without objects.
	retained func() uint64
	free     func()

	// freeing is held while that goes on, beside the passes.
	freeing sync.Mutex
}

func newMemoryReporter() *memoryReporter {
	return &memoryReporter{retained: retainedHeap, free: debug.FreeOSMemory}
}

// worthFreeing is what a process may keep: looking through less than this for what
// is not in use would cost more than it is worth.
const worthFreeing = 64 << 20

// Synced looks at the memory when a pass is over.
func (m *memoryReporter) Synced(r proxier.Report) {
	if r.Following || !r.Last || !r.Compared || m.retained() < worthFreeing || !m.freeing.TryLock() {
		return
	}
	go func() {
		defer m.freeing.Unlock()
		m.free()
	}()
}

func retainedHeap() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapSys - stats.HeapReleased
}
