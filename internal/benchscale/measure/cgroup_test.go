package measure

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// Also what a program runs counts, and counts after it has ended.
func TestCPUOfAGroupIsThatOfAllItsProcesses(t *testing.T) {
	testenv.Need(t, testenv.Root)
	group, err := NewCgroup(fmt.Sprintf("kpx-test-%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	before, err := group.CPU()
	if err != nil {
		t.Fatal(err)
	}
	command := group.Enter("sh", "-c", "(i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done); sleep 100 & exit 3")
	cmd := exec.Command(command[0], command[1:]...)
	if _ = cmd.Run(); cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("the command's status is %s, want its own, 3", cmd.ProcessState)
	}
	after, err := group.CPU()
	if err != nil {
		t.Fatal(err)
	}
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if after-before < used/2 || used == 0 {
		t.Errorf("the group has used %s, and its processes %s", after-before, used)
	}
	if err := group.Close(); err != nil { // with the sleep still in it
		t.Error(err)
	}
}
