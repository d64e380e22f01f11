package main

import (
	"encoding/gob"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/kube-proxier/kube-proxier/internal/testenv/vm/wire"
)

// port matches the only virtio serial port, as devtmpfs names it. Its first number
// is the device's place among all virtio devices.
const port = "/dev/vport*p1"

// outputDelay is how long output may still come after a command has ended, from
// processes that it left behind.
const outputDelay = 5 * time.Second

// speaker sends Messages to the host.
type speaker struct{ gob *gob.Encoder }

func (s speaker) say(m wire.Message) error {
	if err := s.gob.Encode(m); err != nil {
		return fmt.Errorf("speak to the host: %w", err)
	}
	return nil
}

// Write makes the speaker the standard output of commands.
func (s speaker) Write(output []byte) (int, error) {
	return len(output), s.say(wire.Message{Output: output})
}

// run does the job and tells the host of it.
func run() error {
	job, err := readJob(os.NewFile(jobDescriptor, wire.JobFile))
	if err != nil {
		return err
	}
	syscall.CloseOnExec(jobDescriptor)
	file, err := openPort()
	if err != nil {
		return err
	}
	host := speaker{gob.NewEncoder(file)}
	if err := host.say(wire.Message{Ready: true}); err != nil {
		return err
	}
	if err := errors.Join(prepare(job.Load), connect(job.Address)); err != nil {
		return errors.Join(err, host.say(wire.Message{Failure: err.Error()}))
	}
	for _, command := range job.Commands {
		exit := execute(command, host)
		if err := host.say(wire.Message{Exit: &exit}); err != nil {
			return err
		}
	}
	return host.say(wire.Message{Done: true})
}

// openPort waits for the port, which appears some time after its driver.
func openPort() (*os.File, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for {
		if ports, _ := filepath.Glob(port); len(ports) == 1 {
			return os.OpenFile(ports[0], os.O_WRONLY, 0)
		}
		select {
		case <-tick.C:
		case <-deadline:
			return nil, fmt.Errorf("no virtio serial port %s", port)
		}
	}
}

// prepare does what an ordinary machine has done by the time somebody logs in.
func prepare(modules []string) error {
	if err := syscall.Sethostname([]byte("vm")); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("device lo: %w", err)
	}
	if err := netlink.LinkSetUp(loopback); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	if len(modules) == 0 {
		return nil
	}
	return tool("modprobe", append([]string{"-a"}, modules...)...)
}

// connect gives the Ethernet device the address; nothing if there is none.
func connect(address string) error {
	if address == "" {
		return nil
	}
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list devices: %w", err)
	}
	for _, link := range links {
		// Modules make other devices, but those are no pieces of hardware.
		if _, hardware := os.Stat(filepath.Join("/sys/class/net", link.Attrs().Name, "device")); hardware != nil {
			continue
		}
		addr, err := netlink.ParseAddr(address)
		if err == nil {
			err = errors.Join(netlink.LinkSetUp(link), netlink.AddrAdd(link, addr))
		}
		if err != nil {
			return fmt.Errorf("device %s: address %s: %w", link.Attrs().Name, address, err)
		}
		return nil
	}
	return errors.New("there is no Ethernet device")
}

// execute runs the command; both its outputs go to output.
func execute(command wire.Command, output speaker) wire.Exit {
	start := time.Now()
	status, err := wait(command, output)
	if err != nil {
		fmt.Fprintf(output, "%s: %v\n", strings.Join(command.Args, " "), err)
	}
	return wire.Exit{Status: status, Took: time.Since(start)}
}

// wait returns the status as wire.Exit has it, and an error where the status does
// not say everything.
func wait(command wire.Command, output speaker) (int, error) {
	path, err := find(command)
	if err != nil {
		return wire.StatusNotStarted, err
	}
	cmd := &exec.Cmd{
		Path: path, Args: command.Args, Dir: command.Dir, Env: command.Env,
		Stdout: output, Stderr: output, WaitDelay: outputDelay,
	}
	err = cmd.Run()
	if cmd.ProcessState == nil {
		return wire.StatusNotStarted, err
	}
	if exited := (*exec.ExitError)(nil); errors.As(err, &exited) {
		err = nil
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), fmt.Errorf("ended by signal: %s", status.Signal())
	}
	return cmd.ProcessState.ExitCode(), err
}

// find looks the program up in the PATH of the command's environment.
func find(command wire.Command) (string, error) {
	if len(command.Args) == 0 {
		return "", errors.New("empty command")
	}
	for _, entry := range command.Env {
		if path, ok := strings.CutPrefix(entry, "PATH="); ok {
			if err := os.Setenv("PATH", path); err != nil {
				return "", err
			}
		}
	}
	return exec.LookPath(command.Args[0])
}
