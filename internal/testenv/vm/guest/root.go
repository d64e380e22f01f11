package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"unsafe"

	"github.com/kube-proxier/kube-proxier/internal/testenv/vm/wire"
)

// mount is one call of mount(2).
type mount struct {
	source, target, kind string
	flags                uintptr
	options              string
}

// do makes the target, where it is missing, and mounts.
func (m mount) do() error {
	if err := os.MkdirAll(m.target, 0o755); err != nil {
		return fmt.Errorf("mount %s: %w", m.target, err)
	}
	if err := syscall.Mount(m.source, m.target, m.kind, m.flags, m.options); err != nil {
		return fmt.Errorf("mount %s %s on %s: %w", m.kind, m.source, m.target, err)
	}
	return nil
}

func mountAll(mounts ...mount) error {
	for _, m := range mounts {
		if err := m.do(); err != nil {
			return err
		}
	}
	return nil
}

// mountKernelFileSystems mounts what every program expects of a kernel.
func mountKernelFileSystems() error {
	return mountAll(
		mount{source: "proc", target: "/proc", kind: "proc"},
		mount{source: "sysfs", target: "/sys", kind: "sysfs"},
		mount{source: "devtmpfs", target: "/dev", kind: "devtmpfs"},
		mount{source: "devpts", target: "/dev/pts", kind: "devpts", options: "ptmxmode=666"},
		mount{source: "tmpfs", target: "/dev/shm", kind: "tmpfs"},
	)
}

// insertModules loads modules from the initial file system, in this order.
func insertModules(names []string) error {
	for _, name := range names {
		image, err := os.ReadFile(filepath.Join(wire.ModuleDir, name))
		if err != nil {
			return err
		}
		parameters := []byte{0}
		_, _, errno := syscall.Syscall(syscall.SYS_INIT_MODULE, uintptr(unsafe.Pointer(&image[0])),
			uintptr(len(image)), uintptr(unsafe.Pointer(&parameters[0])))
		if errno != 0 {
			return fmt.Errorf("insert %s: %w", name, errno)
		}
	}
	return nil
}

// p9 are the options of a 9p mount: nobody else writes to it, as far as the guest
// can see, so it may cache what it likes.
const p9 = "trans=virtio,version=9p2000.L,msize=524288,cache=loose"

// switchRoot makes the host's root, with a writable layer in memory over it, the
// root of this process and of all that it starts.
func switchRoot() error {
	const root, upper = "/root", "/upper"
	if err := mountAll(
		mount{source: wire.RootTag, target: "/lower", kind: "9p", flags: syscall.MS_RDONLY, options: p9},
		mount{source: "tmpfs", target: upper, kind: "tmpfs", options: "size=75%"},
	); err != nil {
		return err
	}
	data, work := filepath.Join(upper, "data"), filepath.Join(upper, "work")
	for _, dir := range []string{data, work} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	layers := fmt.Sprintf("lowerdir=/lower,upperdir=%s,workdir=%s", data, work)
	if err := mountAll(
		mount{source: "overlay", target: root, kind: "overlay", options: layers},
		mount{source: "/dev", target: root + "/dev", flags: syscall.MS_MOVE},
		mount{source: "/sys", target: root + "/sys", flags: syscall.MS_MOVE},
		mount{source: "/proc", target: root + "/proc", flags: syscall.MS_MOVE},
	); err != nil {
		return err
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := syscall.Mount(root, "/", "", syscall.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}
	if err := syscall.Chroot("."); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	// With the new root in place links such as /lib lead where they should.
	return mountAll(
		mount{source: "tmpfs", target: "/run", kind: "tmpfs", options: "mode=755"},
		mount{source: wire.LibTag, target: "/lib/modules", kind: "9p", flags: syscall.MS_RDONLY, options: p9},
	)
}
