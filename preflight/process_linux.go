package preflight

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// proxies are the Service proxies that run in this network namespace. In a
// container without the host's process namespace only its own processes are
// seen; then a port that is in use tells of them.
func proxies() []Process {
	const proc = "/proc"
	own, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return nil
	}
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil
	}
	var found []Process
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		line, err := os.ReadFile(filepath.Join(proc, entry.Name(), "cmdline"))
		if err != nil {
			continue // it has ended
		}
		name := proxyName(strings.Split(strings.TrimRight(string(line), "\x00"), "\x00"), isOurs(filepath.Join(proc, entry.Name())))
		if name == "" {
			continue
		}
		if namespace, err := os.Readlink(filepath.Join(proc, entry.Name(), "ns/net")); err == nil && namespace == own {
			found = append(found, Process{PID: pid, Name: name})
		}
	}
	return found
}

// isOurs tells whether a process, a folder of /proc, runs this program, whatever
// it was called as: the image has it as kube-proxy, too. It may be another copy
// of it, such as the one of a container.
func isOurs(process string) bool {
	link := filepath.Join(process, "exe")
	path, err := os.Readlink(link)
	if err != nil {
		return false // it has ended, or is none of this user's business
	}
	if strings.TrimSuffix(filepath.Base(path), " (deleted)") == "kube-proxier" {
		return true
	}
	theirs, err := os.Stat(link)
	if err != nil {
		return false
	}
	own, err := os.Stat("/proc/self/exe")
	return err == nil && os.SameFile(own, theirs)
}

// proxyName is the program's name where it is a Service proxy that goes on
// running; "" where not. A command of ours, such as "kube-proxier render", does
// not. What is called kube-proxy may be ours.
func proxyName(args []string, ours bool) string {
	name := filepath.Base(args[0])
	if name == "kube-proxy" && ours {
		name = "kube-proxier"
	}
	if !slices.Contains([]string{"kube-proxy", "kube-proxier", "kube-router"}, name) {
		return ""
	}
	for _, arg := range args[1:] {
		flag := strings.TrimLeft(arg, "-")
		switch flag, _, _ := strings.Cut(flag, "="); flag {
		case "cleanup", "init-only", "init_only", "write-config-to", "dry-run", "version", "help", "cleanup-config":
			return ""
		}
		if flag == "run-service-proxy=false" {
			return ""
		}
	}
	if name == "kube-proxier" && len(args) > 1 && !strings.HasPrefix(args[1], "-") {
		return ""
	}
	return name
}
