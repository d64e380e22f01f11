package measure

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory is what a process holds in RAM, in bytes.
type Memory struct {
	// Resident is the size now, Peak the largest it has been.
	Resident, Peak int64
}

// MemoryOf reads the memory of a process, its children not included.
func MemoryOf(pid int) (Memory, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Memory{}, err
	}
	return parseStatus(string(text))
}

// parseStatus reads /proc/PID/status (proc_pid_status(5)), which is in KiB.
func parseStatus(text string) (Memory, error) {
	var m Memory
	for _, field := range []struct {
		name string
		to   *int64
	}{{"VmRSS:", &m.Resident}, {"VmHWM:", &m.Peak}} {
		_, rest, found := strings.Cut(text, field.name)
		words := strings.Fields(rest)
		if !found || len(words) < 2 || words[1] != "kB" {
			return Memory{}, fmt.Errorf("process status has no %s in kB", field.name)
		}
		n, err := strconv.ParseInt(words[0], 10, 64)
		if err != nil {
			return Memory{}, fmt.Errorf("process status: %s %w", field.name, err)
		}
		*field.to = n * 1024
	}
	return m, nil
}
