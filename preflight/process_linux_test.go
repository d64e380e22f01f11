package preflight

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestProxyName(t *testing.T) {
	for line, want := range map[string]string{
		"/usr/local/bin/kube-proxy --config=/c":       "kube-proxy",
		"kube-proxier":                                "kube-proxier",
		"/bin/kube-proxier --config=/c -v=2":          "kube-proxier",
		"kube-proxier check":                          "",
		"kube-proxier render -f x":                    "",
		"kube-proxy --cleanup":                        "",
		"kube-proxy --init_only":                      "",
		"kube-proxier --dry-run":                      "",
		"kube-router --run-router=true":               "kube-router",
		"kube-router --run-service-proxy=false":       "",
		"/usr/bin/kube-proxy-exporter --kube-proxy=x": "",
		"": "",
	} {
		if have := proxyName(strings.Split(line, " "), false); have != want {
			t.Errorf("%s: %q, want %q", line, have, want)
		}
	}
	for line, want := range map[string]string{
		"/usr/local/bin/kube-proxy --config=/c": "kube-proxier",
		"kube-proxy check":                      "",
		"kube-router":                           "kube-router",
	} {
		if have := proxyName(strings.Split(line, " "), true); have != want {
			t.Errorf("%s, which is ours: %q, want %q", line, have, want)
		}
	}
}

// The image's kube-proxy is a link to kube-proxier.
func TestProxies(t *testing.T) {
	for program, want := range map[string]string{"kube-proxier": "kube-proxier", "another": "kube-proxy"} {
		t.Run(program, func(t *testing.T) {
			pid := startAsKubeProxy(t, program)
			found := proxies()
			if !slices.Contains(found, Process{PID: pid, Name: want}) {
				t.Errorf("process %d is not %s in %v", pid, want, found)
			}
		})
	}
}

// startAsKubeProxy starts a file of that name, which waits for its input to end,
// by a link called kube-proxy.
func startAsKubeProxy(t *testing.T, program string) (pid int) {
	t.Helper()
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(cat)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, program), text, 0o700), os.Symlink(program, filepath.Join(dir, "kube-proxy"))); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "kube-proxy"))
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(input.Close(), cmd.Wait()) })
	return cmd.Process.Pid
}

func TestThisProgramIsKnownByItsFile(t *testing.T) {
	if !isOurs("/proc/self") {
		t.Error("this process does not run its own file")
	}
}
