package vm

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/kube-proxier/kube-proxier/internal/testenv/vm/wire"
)

const qemuProgram = "qemu-system-x86_64"

// kernelArguments: the console is for what goes wrong, and what goes wrong ends
// the machine (panic=-1 reboots at once, which -no-reboot turns into an exit).
// Watchdogs would complain of the emulation's pauses, and guarding against other
// tenants of the processor only costs time.
const kernelArguments = "console=ttyS0 quiet panic=-1 oops=panic nowatchdog mitigations=off"

// qemu is the process of one machine.
type qemu struct {
	cmd    *exec.Cmd
	output io.Reader // what the guest writes to its port
}

// startQEMU starts the machine. It ends with ctx, or with this thread.
func startQEMU(ctx context.Context, m machine, accelerator string) (*qemu, error) {
	log, err := os.Create(m.qemuLog())
	if err != nil {
		return nil, err
	}
	defer log.Close() // qemu has its own descriptor
	cmd := exec.CommandContext(ctx, qemuProgram, m.arguments(accelerator)...)
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// The port is closed for the guest when its input ends, so the pipe stays open
	// until Wait.
	if _, err := cmd.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &qemu{cmd: cmd, output: output}, nil
}

// stop ends the machine as pulling the plug does: there is nothing to be kept.
func (q *qemu) stop() {
	_ = q.cmd.Process.Kill() // it may have ended
	_ = q.cmd.Wait()         // how it ended is known from its messages
}

func (m machine) arguments(accelerator string) []string {
	args := []string{
		"-nodefaults", "-no-user-config", "-no-reboot",
		"-display", "none", "-monitor", "none",
		"-machine", "q35", "-cpu", "max", "-accel", accelerator,
		"-smp", "2", "-m", "2G",
		"-kernel", m.kernel.image(), "-initrd", m.initrd(), "-append", kernelArguments,
		"-serial", "file:" + escape(m.console()),
		"-virtfs", share("/", wire.RootTag),
		"-virtfs", share(m.kernel.modules(), wire.LibTag),
		"-chardev", "stdio,id=wire,signal=off",
		"-device", "virtio-serial-pci", "-device", "virtserialport,chardev=wire,name=wire",
	}
	if m.watcher.Network {
		args = append(args, "-netdev", "user,id=host,ipv6=off", "-device", "virtio-net-pci,netdev=host")
	}
	return args
}

// share is a folder that the guest can mount and not change.
func share(dir, tag string) string {
	return fmt.Sprintf("local,path=%s,mount_tag=%s,security_model=none,readonly=on,multidevs=remap", escape(dir), tag)
}

// escape keeps commas of a path from ending an option of qemu.
func escape(path string) string { return strings.ReplaceAll(path, ",", ",,") }
