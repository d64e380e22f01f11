package vm

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/testenv/vm/wire"
)

// guestPackage is what runs inside as /init.
const guestPackage = "github.com/kube-proxier/kube-proxier/internal/testenv/vm/guest"

// hardwareBoot is how long a machine with hardware support may take until it
// speaks; it takes two seconds. Where /dev/kvm can be opened but does not work, as
// inside of some virtual machines, it never does.
const hardwareBoot = 20 * time.Second

// Command is a program to run as root in the machine: Args, Dir, Env.
type Command = wire.Command

// Exit is how a Command ended: Status, Took.
type Exit = wire.Exit

// Watcher hears what happens in a machine, in order and from one goroutine.
type Watcher struct {
	// Output gets what the commands write, both outputs in one, as they write it.
	Output io.Writer
	// Log gets a line for what takes long before the first command.
	Log io.Writer
	// Exit, if not nil, is called when commands[i] has ended.
	Exit func(i int, exit Exit)
	// Network gives the machine a device by which it reaches what listens on this
	// host's loopback, at HostLoopback.
	Network bool
}

// HostLoopback is the host's 127.0.0.1 as a machine with a network sees it: what
// qemu's user mode network calls the gateway.
func HostLoopback() netip.Addr { return netip.MustParseAddr("10.0.2.2") }

// Run boots a machine with the modules that Modules lists, runs the commands in it
// one after another whatever their statuses are, and returns how they ended. When
// ctx ends, the machine does.
//
// It builds the guest's program, so it must be called inside of this Go module. An
// error tells that the machine could not run all commands, with the end of its
// console; the exits are then those of the commands that did end.
func Run(ctx context.Context, watcher Watcher, commands ...Command) ([]Exit, error) {
	kernel, err := prerequisites(ctx, watcher.Log)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	dir, err := os.MkdirTemp("", "vm-*")
	if err != nil {
		return nil, fmt.Errorf("virtual machine: %w", err)
	}
	defer os.RemoveAll(dir)
	m := machine{kernel: kernel, dir: dir, watcher: watcher}
	if err := m.writeInitrd(ctx, commands); err != nil {
		return nil, fmt.Errorf("virtual machine: %w", err)
	}
	exits, err := m.run(ctx)
	if err != nil {
		return exits, fmt.Errorf("virtual machine: %w", err)
	}
	return exits, nil
}

// ErrUnavailable says that no machine can be had here: not this processor, no qemu,
// or no kernel.
var ErrUnavailable = errors.New("virtual machine unavailable")

// prerequisites are what the host must have, or be able to get.
func prerequisites(ctx context.Context, log io.Writer) (Kernel, error) {
	if _, err := exec.LookPath(qemuProgram); err != nil {
		return Kernel{}, fmt.Errorf("%w (Debian has it in the package qemu-system-x86)", err)
	}
	return Prepare(ctx, log)
}

// machine is one run of Run.
type machine struct {
	kernel  Kernel
	dir     string // temporary files
	watcher Watcher
}

func (m machine) initrd() string  { return filepath.Join(m.dir, "initrd") }
func (m machine) qemuLog() string { return filepath.Join(m.dir, "qemu.log") }
func (m machine) console() string { return filepath.Join(m.dir, "console.log") }

func (m machine) writeInitrd(ctx context.Context, commands []Command) error {
	guest := filepath.Join(m.dir, "guest")
	if err := goBuild(ctx, "build", guest, guestPackage); err != nil {
		return err
	}
	return writeInitrd(ctx, m.initrd(), m.kernel, guest, m.job(commands))
}

func (m machine) job(commands []Command) wire.Job {
	job := wire.Job{Load: Modules(), Commands: commands}
	if m.watcher.Network {
		job.Load = append(job.Load, "virtio_net")
		job.Address = guestAddress
	}
	return job
}

// guestAddress is the first one that qemu's user mode network gives to guests.
const guestAddress = "10.0.2.15/24"

// run tries hardware support first, where there seems to be some.
func (m machine) run(ctx context.Context) ([]Exit, error) {
	if hasHardwareSupport() {
		exits, err := m.attempt(ctx, "kvm", hardwareBoot)
		if !errors.Is(err, errNeverReady) || ctx.Err() != nil {
			return exits, err
		}
		fmt.Fprintln(m.watcher.Log, "vm: /dev/kvm does not work here, going on without")
	}
	return m.attempt(ctx, "tcg,thread=multi", 0)
}

// hasHardwareSupport tells whether KVM lets us in.
func hasHardwareSupport() bool {
	file, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	return err == nil && file.Close() == nil
}

// errNeverReady is a machine that did not even boot.
var errNeverReady = errors.New("the guest did not boot")

// attempt runs the machine once. A machine that ends without having booted, or has
// not booted after patience (0: no limit), is errNeverReady.
func (m machine) attempt(ctx context.Context, accelerator string, patience time.Duration) ([]Exit, error) {
	// qemu gets a signal when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	q, err := startQEMU(ctx, m, accelerator)
	if err != nil {
		return nil, err
	}
	ready := func() {}
	if patience > 0 {
		timer := time.AfterFunc(patience, func() { cancel(errNeverReady) })
		ready = func() { timer.Stop() }
		defer timer.Stop()
	}
	exits, err := listen(q.output, m.watcher, ready)
	cause := context.Cause(ctx)
	q.stop()
	switch {
	case err == nil:
		return exits, nil
	case cause != nil:
		err = cause
	}
	return exits, fmt.Errorf("%w; the end of its console:\n%s", err, m.lastWords())
}

// listen reads the guest's messages up to its last one.
func listen(guest io.Reader, watcher Watcher, ready func()) ([]Exit, error) {
	var exits []Exit
	messages := gob.NewDecoder(guest)
	ended := errNeverReady
	for {
		var message wire.Message
		if err := messages.Decode(&message); err != nil {
			return exits, ended
		}
		switch {
		case message.Ready:
			ready()
			ended = errors.New("it ended before its commands did")
		case message.Exit != nil:
			exits = append(exits, *message.Exit)
			if watcher.Exit != nil {
				watcher.Exit(len(exits)-1, *message.Exit)
			}
		case message.Failure != "":
			return exits, errors.New(message.Failure)
		case message.Done:
			return exits, nil
		default:
			if _, err := watcher.Output.Write(message.Output); err != nil {
				return exits, fmt.Errorf("write output: %w", err)
			}
		}
	}
}

// consoleLines are enough for a panic with its backtrace.
const consoleLines = 60

// lastWords are the ends of what qemu and the guest's kernel said.
func (m machine) lastWords() string {
	var words []string
	for _, log := range []string{m.qemuLog(), m.console()} {
		text, err := os.ReadFile(log)
		if err != nil {
			words = append(words, err.Error())
			continue
		}
		words = append(words, lastLines(string(text), consoleLines)...)
	}
	return strings.Join(words, "\n")
}

// lastLines returns the last lines of a console, at most limit, without what only
// a terminal understands.
func lastLines(text string, limit int) []string {
	text = regexp.MustCompile(`\x1b(\[[0-9;?]*[A-Za-z]|c)|[\r\x00]`).ReplaceAllString(text, "")
	text = strings.TrimSpace(text)
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	return lines[max(0, len(lines)-limit):]
}
