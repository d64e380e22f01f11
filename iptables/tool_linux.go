package iptables

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	goiptables "github.com/coreos/go-iptables/iptables"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// Variant is which of the kernel's two implementations a tool speaks to. Each
// has tables of its own, and the packets pass through both.
type Variant string

// The variants.
const (
	VariantNFT    Variant = "nft"
	VariantLegacy Variant = "legacy"
)

// Other is the other variant.
func (v Variant) Other() Variant {
	if v == VariantNFT {
		return VariantLegacy
	}
	return VariantNFT
}

// A Tool runs iptables-save and iptables-restore of one family and variant. It
// is the real Kernel.
type Tool struct {
	Family  proxier.Family
	Variant Variant
	// Version is such as "1.8.9".
	Version string

	command string // "iptables", "ip6tables-legacy"...
	random  bool
	// witnesses are told of each write.
	witnesses []witness
}

// A witness is told of a Tool's writes, so that it takes none of them for
// somebody else's. Its calls come from any goroutine.
type witness interface {
	// writing is called before a write begins. started is called with the number
	// of the process that is to write, before it can; done when the write has
	// ended.
	writing() (started func(pid int), done func())
}

// lockSeconds is how long a call waits for others who write at the same time.
const lockSeconds = 5

// maxNames bounds one call of the nft variant, whose tool takes time that grows
// with the square of the number of names. The legacy variant rewrites the whole
// table in each call, and is best called once.
const maxNames = 1000

// FindTool finds the tool of the variant that is in use on this host: the one
// in whose tables the kubelet has left its hint, else the one called iptables
// in PATH.
func FindTool(ctx context.Context, family proxier.Family) (*Tool, error) {
	t, err := newTool(family, baseCommand(family))
	if err != nil {
		return nil, err
	}
	if !t.hinted(ctx) {
		if other, err := t.OtherVariant(); err == nil && other.hinted(ctx) {
			t = other
		}
	}
	return t, t.mayRead(ctx)
}

func baseCommand(family proxier.Family) string {
	if family == proxier.IPv6 {
		return "ip6tables"
	}
	return "iptables"
}

// Clone is the same tool, whose writes are watched apart.
func (t *Tool) Clone() *Tool {
	c := *t
	c.witnesses = nil
	return &c
}

// OtherVariant is the tool of the variant that is not in use; an error when it
// is not installed.
func (t *Tool) OtherVariant() (*Tool, error) {
	return newTool(t.Family, baseCommand(t.Family)+"-"+string(t.Variant.Other()))
}

func newTool(family proxier.Family, command string) (*Tool, error) {
	path, err := exec.LookPath(command)
	if err != nil {
		return nil, fmt.Errorf("%s is not in PATH: install iptables 1.8 or newer: %w", command, err)
	}
	protocol := goiptables.ProtocolIPv4
	if family == proxier.IPv6 {
		protocol = goiptables.ProtocolIPv6
	}
	probe, err := goiptables.New(goiptables.IPFamily(protocol), goiptables.Path(path))
	if err != nil {
		return nil, fmt.Errorf("%s --version: %w", command, err)
	}
	major, minor, patch := probe.GetIptablesVersion()
	t := &Tool{
		Family: family, Version: fmt.Sprintf("%d.%d.%d", major, minor, patch),
		command: command, random: probe.HasRandomFully(),
	}
	if major < 1 || major == 1 && minor < 6 {
		return nil, fmt.Errorf("%s is version %s, too old: 1.6.0 or newer is needed, for iptables-restore --wait", command, t.Version)
	}
	if t.Variant, err = variantOf(path); err != nil {
		return nil, err
	}
	return t, nil
}

// variantOf asks for the version, which ends in "(nf_tables)" or "(legacy)"
// since iptables 1.8; before, there was only what is called legacy now.
func variantOf(path string) (Variant, error) {
	out, err := exec.Command(path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", path, err)
	}
	if bytes.Contains(out, []byte("nf_tables")) {
		return VariantNFT, nil
	}
	return VariantLegacy, nil
}

// hinted reports whether the kubelet uses this variant (KEP-3178).
func (t *Tool) hinted(ctx context.Context) bool {
	if !t.MayHold(Mangle) {
		return false
	}
	for _, chain := range []string{"KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY"} {
		if text, err := t.glance(ctx, Mangle, chain); err == nil && strings.Contains(text, chain) {
			return true
		}
	}
	return false
}

// glance reads a table as far as it takes to see a chain. The nft variant's save
// takes as long for a small table as for all there are, since the kernel goes
// through the rules of every one: half a second at 10,000 Services. The legacy
// variant reads one table, and without the lock that listing a chain needs.
func (t *Tool) glance(ctx context.Context, table, chain string) (string, error) {
	if t.Variant == VariantLegacy {
		return t.Save(ctx, table)
	}
	return t.SaveChain(ctx, table, chain)
}

// MayHold reports whether the table may hold something. Merely looking at a
// legacy table that does not exist would create it, and with it hooks that
// every packet passes.
func (t *Tool) MayHold(table string) bool {
	if t.Variant == VariantNFT {
		return true
	}
	names, err := os.ReadFile(namesFile(t.Family))
	return err == nil && slices.Contains(strings.Fields(string(names)), table)
}

// namesFile lists the tables of the legacy variant. The tool runs in the network
// namespace of this thread; /proc/net would be that of the process's first one.
func namesFile(family proxier.Family) string {
	if family == proxier.IPv6 {
		return "/proc/thread-self/net/ip6_tables_names"
	}
	return "/proc/thread-self/net/ip_tables_names"
}

// Observe reads what is ours in all tables, without creating any.
func (t *Tool) Observe(ctx context.Context) (Observation, error) {
	kernel, err := t.Read(ctx, NAT, Filter, Mangle)
	return Observe(kernel), err
}

// mayRead says at once when a permission is missing. The filter table is as good
// for that as nat, which may hold a hundred thousand rules.
func (t *Tool) mayRead(ctx context.Context) error {
	_, err := t.glance(ctx, Filter, "FORWARD")
	if err == nil {
		return nil
	}
	hint := "is the kernel built with netfilter?"
	if s := err.Error(); strings.Contains(s, "ermission") || strings.Contains(s, "not permitted") {
		hint = "root or CAP_NET_ADMIN and CAP_NET_RAW are needed"
	}
	return fmt.Errorf("cannot read the %s filter table: %w (%s)", t.Family, err, hint)
}

// MaxNames is the bound for Config.MaxNames that suits the variant.
func (t *Tool) MaxNames() int {
	if t.Variant == VariantNFT {
		return maxNames
	}
	return 0
}

// String is such as "ip6tables 1.8.9 (nft)".
func (t *Tool) String() string {
	return fmt.Sprintf("%s %s (%s)", baseCommand(t.Family), t.Version, t.Variant)
}

// Save runs iptables-save for one table.
func (t *Tool) Save(ctx context.Context, table string) (string, error) {
	cmd := t.run(ctx, "-save", "-t", table)
	var out strings.Builder // and not a Buffer, whose String copies
	var problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s-save: %w: %s", t.command, err, strings.TrimSpace(problem.String()))
	}
	return out.String(), nil
}

// Counters runs iptables-save --counters for one table, and yields its lines as they
// come: all of them at once may be many megabytes. A table that does not exist is
// not created, and has no lines.
func (t *Tool) Counters(ctx context.Context, table string, yield func(line string) error) error {
	if !t.MayHold(table) {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := t.run(ctx, "-save", "--counters", "-t", table)
	var problem bytes.Buffer
	cmd.Stderr = &problem
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("%s-save --counters: %w", t.command, err)
	}
	lines := bufio.NewScanner(out)
	var refused error
	for refused == nil && lines.Scan() {
		refused = yield(lines.Text())
	}
	if refused != nil || lines.Err() != nil {
		cancel() // nobody reads the rest
	}
	err = cmd.Wait()
	switch {
	case refused != nil:
		return fmt.Errorf("%s-save --counters: %w", t.command, refused)
	case lines.Err() != nil:
		return fmt.Errorf("%s-save --counters: %w", t.command, lines.Err())
	case err != nil:
		return fmt.Errorf("%s-save --counters: %w: %s", t.command, err, strings.TrimSpace(problem.String()))
	}
	return nil
}

// SaveChain runs iptables -S for one chain.
func (t *Tool) SaveChain(ctx context.Context, table, chain string) (string, error) {
	cmd := t.run(ctx, "", "-w", strconv.Itoa(lockSeconds), "-t", table, "-S", chain)
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	err := cmd.Run()
	if err != nil && strings.Contains(problem.String(), "No chain/target/match by that name") {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("%s -S: %w: %s", t.command, err, strings.TrimSpace(problem.String()))
	}
	return out.String(), nil
}

// Restore runs iptables-restore --noflush.
func (t *Tool) Restore(ctx context.Context, input string) error {
	started := make([]func(int), 0, len(t.witnesses))
	for _, w := range t.witnesses {
		start, done := w.writing()
		started = append(started, start)
		defer done()
	}
	cmd := t.run(ctx, "-restore", "--noflush", "-w", strconv.Itoa(lockSeconds))
	return restore(cmd, input, started...)
}

func (t *Tool) run(ctx context.Context, suffix string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, t.command+suffix, args...)
	cmd.WaitDelay = time.Second
	return cmd
}

// The tools say "line 4: RULE_APPEND failed", "Error occurred at line: 4" or
// "line 4 failed".
var lineNumber = regexp.MustCompile(`\bline:? (\d+)`)

// maxToolStatus is above the exit statuses that the tools have for their input,
// 1 to 4.
const maxToolStatus = 125

// exhausted reports whether a tool complains about memory: "can't alloc memory!",
// "line 7 failed: Memory allocation problem", or in the C library's words for
// ENOMEM and ENOBUFS.
func exhausted(output string) bool {
	for _, words := range []string{"alloc memory", "Memory allocation", "Cannot allocate memory", "No buffer space available"} {
		if strings.Contains(output, words) {
			return true
		}
	}
	return false
}

func restore(cmd *exec.Cmd, input string, started ...func(pid int)) error {
	_, err := runRestore(cmd, input, started...)
	return err
}

// runRestore sends the input once all who want to know have been told of the
// process, and returns what the tool has said.
func runRestore(cmd *exec.Cmd, input string, started ...func(pid int)) (string, error) {
	var output bytes.Buffer
	// If this process is killed, the tool must not write what is old by then
	// over what the next one has written; it may be waiting for the lock. The
	// signal comes with the end of the thread that started it (prctl(2)).
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.Stdout, cmd.Stderr = &output, &output
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		for _, f := range started {
			f(cmd.Process.Pid)
		}
		_, _ = io.WriteString(stdin, input) // one that ends before it has read all says why
		_ = stdin.Close()
		err = cmd.Wait()
	}
	if err == nil {
		return output.String(), nil
	}
	exit, ran := errors.AsType[*exec.ExitError](err)
	// Not found, killed, or the loader failed (exit status 127, as in a shell): it
	// says nothing about the input.
	if !ran || !exit.Exited() || exit.ExitCode() > maxToolStatus {
		return "", fmt.Errorf("%s: %w: %s", cmd.Path, err, strings.TrimSpace(output.String()))
	}
	e := &RestoreError{Output: output.String(), Locked: strings.Contains(output.String(), "xtables lock"), Exhausted: exhausted(output.String())}
	if m := lineNumber.FindStringSubmatch(e.Output); m != nil {
		e.Line, _ = strconv.Atoi(m[1]) // digits, by the expression
	}
	return output.String(), e
}

// Probe finds out what the kernel is able to do, by trial in a network
// namespace of its own, so that nothing is touched.
func (t *Tool) Probe(ctx context.Context) Features {
	w := writer{state: &proxier.State{Family: t.Family}}
	return Features{
		RandomFully: t.random,
		BPF:         t.try(ctx, w.selfMatch()+" -j RETURN"),
		DropInvalid: !liberal(),
	}
}

func (t *Tool) try(ctx context.Context, rule string) bool {
	_, no := refused(t.tryAlone(ctx, trial([]Need{{Table: NAT, Rule: rule}})))
	return !no
}

// tryAlone sends the input to the kernel in a network namespace that is gone
// afterwards. Where that is not permitted, to a container without CAP_SYS_ADMIN,
// it is only tested.
func (t *Tool) tryAlone(ctx context.Context, input string) error {
	cmd := t.run(ctx, "-restore", "--noflush", "-w", strconv.Itoa(lockSeconds))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	err := restore(cmd, input)
	if errors.Is(err, syscall.EPERM) {
		return t.test(ctx, input)
	}
	return err
}

// test writes nothing. The tool asks the kernel for each match and target, and
// merely warns of one that it lacks.
func (t *Tool) test(ctx context.Context, input string) error {
	output, err := runRestore(t.run(ctx, "-restore", "--noflush", "--test", "-w", strconv.Itoa(lockSeconds)), input)
	if err == nil && strings.Contains(output, "missing kernel module") {
		return &RestoreError{Output: output}
	}
	return err
}

// Missing finds out by trial, in a network namespace of its own, which of the
// needs the kernel or the tool does not meet. An error says that trying is not
// possible.
func (t *Tool) Missing(ctx context.Context, needs []Need) ([]Need, error) {
	err := t.tryAlone(ctx, trial(needs))
	if _, no := refused(err); !no {
		return nil, err
	}
	if err := t.tryAlone(ctx, "*nat\nCOMMIT\n"); err != nil { // it is not for what the rules use
		return nil, err
	}
	var missing []Need
	for _, need := range needs {
		err := t.tryAlone(ctx, trial([]Need{need}))
		_, no := refused(err)
		switch {
		case no:
			missing = append(missing, need)
		case err != nil:
			return nil, err
		}
	}
	return missing, nil
}

// Read reads tables, what belongs to others included. One that does not exist is
// not created, and not in the result.
func (t *Tool) Read(ctx context.Context, tables ...string) (Ruleset, error) {
	return read(ctx, t, slices.DeleteFunc(slices.Clone(tables), func(table string) bool { return !t.MayHold(table) }))
}

// liberal reports whether conntrack is told to take TCP packets out of the
// window for valid (nf_conntrack-sysctl in the kernel's documentation).
func liberal() bool {
	value, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal")
	return err == nil && strings.TrimSpace(string(value)) != "0"
}
