// Program guest is /init of the virtual machine of package vm.
//
// As process 1 it makes the host's file system its root, starts itself again as
// the runner of the Job, reaps what is orphaned meanwhile, and powers off. The
// runner's words to the host are wire.Messages; the console is for what goes wrong.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/kube-proxier/kube-proxier/internal/testenv/vm/wire"
)

// jobDescriptor is the file descriptor on which the runner finds the Job: after
// the change of root its path is gone.
const jobDescriptor = 3

func main() {
	if os.Getpid() != 1 {
		if err := run(); err != nil {
			fmt.Fprintln(os.Stderr, "guest:", err)
			os.Exit(1)
		}
		return
	}
	if err := boot(); err != nil {
		fmt.Fprintln(os.Stderr, "guest: boot:", err)
	}
	err := syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
	fmt.Fprintln(os.Stderr, "guest: power off:", err) // and the kernel panics
}

// boot returns when the runner has ended.
func boot() error {
	file, err := os.Open(wire.JobFile)
	if err != nil {
		return err
	}
	job, err := readJob(file)
	if err != nil {
		return err
	}
	if err := mountKernelFileSystems(); err != nil {
		return err
	}
	if err := insertModules(job.Insert); err != nil {
		return err
	}
	if err := switchRoot(); err != nil {
		return err
	}
	// Not exec.Cmd: process 1 waits for any child, so nobody else may.
	runner, err := os.StartProcess("/proc/self/exe", []string{"runner"}, &os.ProcAttr{
		Env:   []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr, file},
	})
	if err != nil {
		return fmt.Errorf("start the runner: %w", err)
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return fmt.Errorf("wait for the runner: %w", err)
		case pid == runner.Pid:
			return nil
		}
	}
}

// readJob reads from the beginning of the file, wherever its offset is.
func readJob(file *os.File) (wire.Job, error) {
	var job wire.Job
	if _, err := file.Seek(0, 0); err != nil {
		return job, fmt.Errorf("job: %w", err)
	}
	if err := json.NewDecoder(file).Decode(&job); err != nil {
		return job, fmt.Errorf("job: %w", err)
	}
	return job, nil
}

// tool runs a program of the host and shows what it says if it fails.
func tool(name string, args ...string) error {
	if output, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, output)
	}
	return nil
}
