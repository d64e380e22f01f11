package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// machine describes where it was measured, in one line.
func machine(ctx context.Context) string {
	parts := []string{fmt.Sprintf("%d × %s", runtime.NumCPU(), processor()), "Linux " + release()}
	for _, tool := range []string{"iptables", "nft"} {
		if output, err := exec.CommandContext(ctx, tool, "--version").Output(); err == nil {
			parts = append(parts, strings.Join(firstTwo(strings.Fields(string(output))), " "))
		}
	}
	return strings.Join(append(parts, runtime.Version()), ", ")
}

func firstTwo(words []string) []string { return words[:min(2, len(words))] }

// processor is the first one's name.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
				return strings.TrimSpace(value)
			}
		}
	}
	return runtime.GOARCH
}

func release() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "of an unknown release"
	}
	return unix.ByteSliceToString(name.Release[:])
}
