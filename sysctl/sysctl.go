package sysctl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// Root is where the kernel shows its parameters.
const Root = "/proc/sys"

// A Parameter is a kernel parameter and the value it should have.
type Parameter struct {
	// Name is as sysctl(8) has it, such as "net.ipv4.ip_forward".
	Name string
	Want string
	// Why says what goes wrong without it, and what to do where it cannot be
	// set; it ends an error.
	Why string
	// Needed says whether a State needs it; nil for always.
	Needed func(state *proxier.State) bool
	// Optional parameters may be missing in the kernel.
	Optional bool
	// AtLeast parameters are numbers that are raised and never lowered.
	AtLeast bool
	// ZeroIsNone parameters are limits, of which 0 is none at all.
	ZeroIsNone bool
	// Capability is that which a process needs to set it, of capabilities(7); 0
	// where the permissions of the file decide.
	Capability int
	// File is where a parameter is that is none of /proc/sys; Name is then for
	// people only.
	File string
}

// String is the command that sets it.
func (p Parameter) String() string {
	if p.File != "" {
		return fmt.Sprintf("echo %s > %s", p.Want, p.File)
	}
	return fmt.Sprintf("sysctl %s=%s", p.Name, p.Want)
}

// satisfied reports whether a value will do.
func (p Parameter) satisfied(have string) bool {
	return have == p.Want || p.AtLeast && p.exceeded(have) || p.ZeroIsNone && have == "0"
}

// exceeded reports whether a value is a number above the wanted one.
func (p Parameter) exceeded(have string) bool {
	is, err := strconv.Atoi(have)
	want, errWant := strconv.Atoi(p.Want)
	return err == nil && errWant == nil && is > want
}

// Path is the parameter's file, below root where it is one of /proc/sys.
func (p Parameter) Path(root string) string {
	if p.File != "" {
		return p.File
	}
	return filepath.Join(root, filepath.FromSlash(strings.ReplaceAll(p.Name, ".", "/")))
}

// A Dataplane keeps parameters at their values. It reads them in each pass.
type Dataplane struct {
	root       string
	parameters []Parameter
}

// New returns a dataplane of the parameters below root, in that order.
func New(root string, parameters []Parameter) *Dataplane {
	return &Dataplane{root: root, parameters: parameters}
}

// Name is "sysctl".
func (*Dataplane) Name() string { return "sysctl" }

// Forget does nothing: nothing is remembered.
func (*Dataplane) Forget() {}

// Plan reads the parameters that the State needs.
func (d *Dataplane) Plan(_ context.Context, state *proxier.State) (proxier.Plan, error) {
	changes, err := d.changes(state)
	if err != nil {
		return nil, err
	}
	return &plan{d.root, changes}, nil
}

// Writable tells why what the State needs could not be set. Nothing is written.
func (d *Dataplane) Writable(state *proxier.State) error {
	changes, err := d.changes(state)
	if err != nil {
		return err
	}
	var failed []error
	for _, c := range changes {
		if err := c.writable(d.root); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func (d *Dataplane) changes(state *proxier.State) ([]change, error) {
	var changes []change
	for _, parameter := range d.parameters {
		if parameter.Needed != nil && !parameter.Needed(state) {
			continue
		}
		value, err := os.ReadFile(parameter.Path(d.root))
		if errors.Is(err, fs.ErrNotExist) && parameter.Optional {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("sysctl %s: %w: %s", parameter.Name, err, parameter.Why)
		}
		if have := string(bytes.TrimSpace(value)); !parameter.satisfied(have) {
			changes = append(changes, change{parameter, have})
		}
	}
	return changes, nil
}

type change struct {
	Parameter
	have string
}

func (c change) set(root string) error { return c.explain(write(c.Path(root), c.Want)) }

// writable opens the file, which is what a read-only /proc/sys refuses.
func (c change) writable(root string) error {
	f, err := os.OpenFile(c.Path(root), os.O_WRONLY, 0)
	if err == nil {
		err = f.Close()
	}
	return c.explain(err)
}

// explain says what an error means, if there is one.
func (c change) explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s is %s and cannot be set to %s: %w: %s", c.Name, c.have, c.Want, err, c.Why)
}

// A plan is the parameters to be changed.
type plan struct {
	root    string
	changes []change
}

func (p *plan) Empty() bool { return len(p.changes) == 0 }

// String is a line for each parameter, such as "sysctl net.ipv4.ip_forward=1".
func (p *plan) String() string {
	var b strings.Builder
	for _, c := range p.changes {
		fmt.Fprintln(&b, c.Parameter)
	}
	return b.String()
}

func (p *plan) Diff() string {
	var b strings.Builder
	for _, c := range p.changes {
		fmt.Fprintf(&b, "--- kernel %[1]s\n+++ wanted %[1]s\n@@ -1 +1 @@\n-%[2]s\n+%[3]s\n", c.Name, c.have, c.Want)
	}
	return b.String()
}

// Summary counts bytes only.
func (p *plan) Summary() proxier.Summary { return proxier.Summary{Bytes: len(p.String())} }

// Findings are none.
func (*plan) Findings() proxier.Findings { return proxier.Findings{} }

// Apply writes the parameters. All are tried, also after one that failed.
func (p *plan) Apply(context.Context) ([]proxier.Refusal, error) {
	var failed []error
	for _, c := range p.changes {
		if err := c.set(p.root); err != nil {
			failed = append(failed, err)
		}
	}
	return nil, errors.Join(failed...)
}

// write does not create the file, unlike os.WriteFile.
func write(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value + "\n")
	return errors.Join(err, f.Close())
}
