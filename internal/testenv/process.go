package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// process is a server program that writes its output to a file.
type process struct {
	name string
	log  string
	cmd  *exec.Cmd
	done <-chan struct{} // closed when it has ended
}

// startProcess starts a program whose output goes to <dir>/<name>.log, after
// what is in it. It does not outlive this process, even if that is killed.
func startProcess(dir, name string, args ...string) (*process, error) {
	p := &process{name: filepath.Base(name)}
	p.log = filepath.Join(dir, p.name+".log")
	file, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer file.Close() // the program has its own
	p.cmd = exec.Command(name, args...)
	p.cmd.Stdout, p.cmd.Stderr = file, file
	if p.done, err = StartMortal(p.cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	return p, nil
}

// kill ends the process at once and waits for it. A nil process is ended already.
func (p *process) kill() error {
	if p == nil {
		return nil
	}
	err := p.cmd.Process.Kill()
	<-p.done
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// pollEvery is how often await asks whether a server is ready.
const pollEvery = 50 * time.Millisecond

// await polls ready until it returns nil. It gives up when ctx or the process
// ends, with the last reason for not being ready and the end of the log.
func (p *process) await(ctx context.Context, ready func(context.Context) error) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.done:
			return fmt.Errorf("%s ended, %s:\n%s", p.name, p.cmd.ProcessState, p.logTail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w (%w):\n%s", p.name, err, context.Cause(ctx), p.logTail())
		}
	}
}

// logTail is the end of the log, to be shown with an error.
func (p *process) logTail() []byte {
	const lines = 15
	text, err := os.ReadFile(p.log)
	if err != nil {
		return []byte(err.Error())
	}
	all := bytes.SplitAfter(text, []byte("\n"))
	return bytes.Join(all[max(0, len(all)-lines):], nil)
}
