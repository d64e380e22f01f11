package vm

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

func TestKernelIsFoundAmongDependencies(t *testing.T) {
	have, err := dependency("linux-image-amd64\n  Depends: linux-image-6.1.0-56-amd64\n  Conflicts: <x>\n")
	if err != nil || have != "linux-image-6.1.0-56-amd64" {
		t.Errorf("have %q, %v", have, err)
	}
	for _, output := range []string{"", "linux-image-amd64\n", "x\n  Depends: libc6\n"} {
		if have, err := dependency(output); err == nil {
			t.Errorf("%q: have %q, want an error", output, have)
		}
	}
}

func TestModulesAreWhereDepmodLooks(t *testing.T) {
	for name, lib := range map[string]string{"before the merge": "lib", "after the merge": "usr/lib"} {
		root := t.TempDir()
		if err := os.MkdirAll(filepath.Join(root, lib, "modules", "6.1.0"), 0o755); err != nil {
			t.Fatal(err)
		}
		version, err := normalize(root)
		if err != nil || version != "6.1.0" {
			t.Errorf("%s: version %q, %v", name, version, err)
		}
		if _, err := os.Stat(filepath.Join(root, "lib", "modules", "6.1.0")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if version, err := normalize(t.TempDir()); err == nil {
		t.Errorf("no modules: version %q, want an error", version)
	}
}

func TestCacheHasTheNewestKernelOrNone(t *testing.T) {
	cache := t.TempDir()
	if kernel, ok := cached(cache); ok {
		t.Errorf("empty cache: %+v", kernel)
	}
	for _, dir := range []string{".download-1", "kube-v1.36.3", "vm-6.1.0-55-amd64", "vm-6.1.0-56-amd64"} {
		if err := os.Mkdir(filepath.Join(cache, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	kernel, ok := cached(cache)
	want := filepath.Join(cache, "vm-6.1.0-56-amd64", "boot", "vmlinuz-6.1.0-56-amd64")
	if !ok || kernel.image() != want {
		t.Errorf("kernel %+v has image %s, want %s", kernel, kernel.image(), want)
	}
}

func TestCompressedModulesAreUnpacked(t *testing.T) {
	_, err := exec.LookPath("xz")
	testenv.Lacking(t, "xz", err)
	file := filepath.Join(t.TempDir(), "dummy.ko")
	if err := os.WriteFile(file, []byte("module"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := exec.CommandContext(t.Context(), "xz", file).Run(); err != nil {
		t.Fatal(err)
	}
	if image, err := readModule(t.Context(), file+".xz"); err != nil || string(image) != "module" {
		t.Errorf("have %q, %v", image, err)
	}
}

// The format as the kernel documents it, byte for byte.
func TestArchiveIsNewc(t *testing.T) {
	var archive cpio
	archive.add("/a", programMode, []byte("xyz"))
	have := string(archive.close())
	zeros := strings.Repeat("0", 8)
	entry := func(ino, mode, size, nameSize, name string) string {
		return "070701" + ino + mode + zeros + zeros + "00000001" + zeros + size +
			strings.Repeat(zeros, 4) + nameSize + zeros + name
	}
	want := entry("00000001", "000081ED", "00000003", "00000002", "a\x00") + "xyz\x00" +
		entry("00000002", "00000000", "00000000", "0000000B", "TRAILER!!!\x00") + "\x00\x00\x00"
	if have != want {
		t.Errorf("have %q\nwant %q", have, want)
	}
}

func TestCommasInPathsEndNoOption(t *testing.T) {
	want := "local,path=/a,,b,mount_tag=host,security_model=none,readonly=on,multidevs=remap"
	if have := share("/a,b", "host"); have != want {
		t.Errorf("have %s, want %s", have, want)
	}
}
