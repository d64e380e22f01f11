// Package wire is what a virtual machine and its host say to each other.
//
// The host puts a Job into the initial file system; the guest answers with a gob
// stream of Messages over a virtio serial port. Both sides are always built from
// the same sources, so the format has no versions.
package wire

import "time"

// Names and paths that both sides know.
const (
	// JobFile has the Job as JSON, in the initial file system.
	JobFile = "/job.json"
	// ModuleDir has the modules that the guest needs to reach the host's files,
	// in the initial file system.
	ModuleDir = "/modules"
	// RootTag is the 9p mount tag of the host's root.
	RootTag = "host"
	// LibTag is the 9p mount tag of the folder that becomes /lib/modules.
	LibTag = "modules"
)

// Job is what a guest does in its life.
type Job struct {
	// Insert are names of files in ModuleDir, each after those it depends on.
	Insert []string
	// Load are modules to load with modprobe before any command is run.
	Load []string
	// Address, if not empty, is what the guest's only Ethernet device gets: an
	// address with the length of its network's prefix.
	Address string
	// Commands are run one after another, whatever their status.
	Commands []Command
}

// Command is a program to run as root in the guest.
type Command struct {
	// Args are the program, looked up in the PATH of Env, and its arguments.
	Args []string
	// Dir is the working directory, a path of the host.
	Dir string
	// Env is the whole environment.
	Env []string
}

// Message is one thing that the guest says. Exactly one field is set.
type Message struct {
	// Ready says that the guest has booted and heard of its job.
	Ready bool
	// Output is what the command that runs wrote to its standard output and error.
	Output []byte
	// Exit tells how the command ended that ran.
	Exit *Exit
	// Failure says why the guest cannot do its job. It is the last message.
	Failure string
	// Done says that all commands have run. It is the last message.
	Done bool
}

// Exit is how a command ended.
type Exit struct {
	// Status is the exit status, 128 + N after signal N, or StatusNotStarted.
	Status int
	// Took is how long it ran, by the guest's clock.
	Took time.Duration
}

// StatusNotStarted is the status of a program that could not be started; Output
// says why. Shells use the same number.
const StatusNotStarted = 127
