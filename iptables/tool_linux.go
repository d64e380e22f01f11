package iptables

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

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
	// witnesses are told of each write.
	witnesses []witness
	// tables is nil where the variant has no lock.
	tables *tablesLock
}

// A witness is told of a Tool's writes, so that it takes none of them for
// somebody else's. Its calls come from any goroutine.
type witness interface {
	// writing is called before a write of iptables-restore's input begins. started
	// is called with the number of the process that is to write, before it can; done
	// when the write has ended, with what became of it.
	writing(input string) (started func(pid int), done func(error))
}

// lockSeconds is how long a call waits for others who write at the same time.
const lockSeconds = 5

// maxNames bounds one call of the nft variant, whose tool takes time that grows
// with the square of the number of names. The legacy variant rewrites the whole
// table in each call, and is best called once.
const maxNames = 1000

// Clone is the same tool, whose writes are watched apart.
func (t *Tool) Clone() *Tool {
	c := *t
	c.witnesses = nil
	return &c
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

// Save runs iptables-save for one table. A table with a rule that it cannot show is
// an error: it shows nothing of it then, and says that all is well.
func (t *Tool) Save(ctx context.Context, table string) (string, error) {
	cmd := t.run(ctx, "-save", "-t", table)
	var out strings.Builder // and not a Buffer, whose String copies
	var problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s-save: %w", t.command, failure(err, problem.String()))
	}
	if problem := incompatible(out.String()); problem != "" {
		return "", fmt.Errorf("%s-save: %s somebody has written a rule there with nft that iptables cannot show, and that belongs in a table of its own: see nft list table %s %s",
			t.command, problem, map[proxier.Family]string{proxier.IPv4: "ip", proxier.IPv6: "ip6"}[t.Family], table)
	}
	return out.String(), nil
}

// ErrNoKernel means that the kernel does not have what the nft variant speaks to, so
// that there are no rules of it either.
var ErrNoKernel = errors.New("the kernel has no nf_tables")

// failure is the error of a tool that has read, with what it has said.
func failure(err error, output string) error {
	output = strings.TrimSpace(output)
	// In words of the C library for what nfnetlink answers where nobody else does, or the
	// kernel where there is no nfnetlink.
	unknown := strings.Contains(output, "Invalid argument") || strings.Contains(output, "not supported")
	if unknown && (strings.Contains(output, "Could not fetch rule set generation id") || strings.Contains(output, "Failed to initialize nft")) {
		return fmt.Errorf("%w: %s", ErrNoKernel, output)
	}
	return fmt.Errorf("%w: %s", err, output)
}

// incompatible is the line of iptables-nft-save that stands for a table; empty where
// there is none.
func incompatible(save string) string {
	for line := range strings.Lines(save) {
		if !strings.HasPrefix(line, "#") {
			break
		}
		if strings.HasPrefix(line, "# Table `") && strings.Contains(line, "is incompatible") {
			return strings.TrimSpace(strings.TrimPrefix(line, "# "))
		}
	}
	return ""
}

// Counters runs iptables-save --counters for one table, and yields its lines as they
// come: all of them at once may be many megabytes. A table that does not exist is
// not created, and has no lines.
//
// Who replaces a legacy table adds the old one's counters to the new one afterwards;
// what the kernel shows in between is 0. So others wait until it has given its copy,
// which is before there is a first line.
func (t *Tool) Counters(ctx context.Context, table string, yield func(line string) error) error {
	if !t.MayHold(table) {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	copied := func() {}
	if t.tables != nil {
		var err error
		if copied, err = t.tables.share(ctx); err != nil {
			return err
		}
	}
	cmd := t.run(ctx, "-save", "--counters", "-t", table)
	var problem bytes.Buffer
	cmd.Stderr = &problem
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		copied()
		return fmt.Errorf("%s-save --counters: %w", t.command, err)
	}
	lines := bufio.NewScanner(out)
	more := lines.Scan()
	copied()
	var refused error
	for ; more && refused == nil; more = lines.Scan() {
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
		return "", fmt.Errorf("%s -S: %w", t.command, failure(err, problem.String()))
	}
	return out.String(), nil
}

// Restore runs iptables-restore --noflush.
func (t *Tool) Restore(ctx context.Context, input string) (err error) {
	started := make([]func(int), 0, len(t.witnesses))
	for _, w := range t.witnesses {
		start, done := w.writing(input)
		started = append(started, start)
		defer func() { done(err) }()
	}
	cmd := t.run(ctx, "-restore", "--noflush", "-w", strconv.Itoa(lockSeconds))
	return restore(cmd, input, started...)
}

func (t *Tool) run(ctx context.Context, suffix string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, t.command+suffix, args...)
	cmd.WaitDelay = time.Second
	return cmd
}

// Read reads tables, what belongs to others included. One that does not exist is
// not created, and not in the result.
func (t *Tool) Read(ctx context.Context, tables ...string) (Ruleset, error) {
	return readTables(ctx, t, slices.DeleteFunc(slices.Clone(tables), func(table string) bool { return !t.MayHold(table) }))
}
