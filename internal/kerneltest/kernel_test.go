package kerneltest

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// kernel is the real tables of one host and family, by one variant's tool. It
// remembers what went through it.
type kernel struct {
	host *testenv.Host
	tool *iptables.Tool
	// spoil, where not nil, changes what is sent to iptables-restore.
	spoil func(input string) string
	// withoutBPF pretends that the kernel has no xt_bpf.
	withoutBPF bool

	mu       sync.Mutex
	saves    map[string]string // the last of each table
	reads    int               // how many tables were read
	chains   int               // how many single chains were read
	restores []string          // all inputs
}

// newKernel finds the variant's tool for the family.
func newKernel(t testing.TB, host *testenv.Host, variant testenv.Variant, family proxier.Family) *kernel {
	t.Helper()
	k := &kernel{host: host, saves: map[string]string{}}
	err := host.Do(func() (err error) {
		if k.tool, err = iptables.FindTool(t.Context(), family); err == nil && string(k.tool.Variant) != string(variant) {
			k.tool, err = k.tool.OtherVariant()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// newKernels is newKernel for both families.
func newKernels(t *testing.T, host *testenv.Host, variant testenv.Variant) map[proxier.Family]*kernel {
	t.Helper()
	kernels := map[proxier.Family]*kernel{}
	for _, family := range proxier.Families {
		kernels[family] = newKernel(t, host, variant, family)
	}
	return kernels
}

// Save implements iptables.Kernel.
func (k *kernel) Save(ctx context.Context, table string) (text string, err error) {
	err = k.host.Do(func() (err error) {
		text, err = k.tool.Save(ctx, table)
		return err
	})
	k.mu.Lock()
	defer k.mu.Unlock()
	k.saves[table] = text
	k.reads++
	return text, err
}

// SaveChain implements iptables.Kernel.
func (k *kernel) SaveChain(ctx context.Context, table, chain string) (text string, err error) {
	err = k.host.Do(func() (err error) {
		text, err = k.tool.SaveChain(ctx, table, chain)
		return err
	})
	k.mu.Lock()
	defer k.mu.Unlock()
	k.chains++
	return text, err
}

// looks are how many tables and single chains were read so far.
func (k *kernel) looks() (tables, chains int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.reads, k.chains
}

// Restore implements iptables.Kernel.
func (k *kernel) Restore(ctx context.Context, input string) error {
	k.mu.Lock()
	k.restores = append(k.restores, input)
	k.mu.Unlock()
	if k.spoil != nil {
		input = k.spoil(input)
	}
	return k.host.Do(func() error { return k.tool.Restore(ctx, input) })
}

// sent is how many calls of iptables-restore there were.
func (k *kernel) sent() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.restores)
}

// config is the one a daemon would choose for these tools.
func (k *kernel) config(t *testing.T, masqueradeBit int) iptables.Config {
	t.Helper()
	found := features(t, k.tool)
	found.BPF = found.BPF && !k.withoutBPF
	return iptables.Config{
		Options:  iptables.Options{Features: found, MasqueradeBit: masqueradeBit},
		MaxNames: k.tool.MaxNames(),
	}
}

// probed keeps what Probe finds: it is the same in every namespace.
var probed sync.Map

func features(t *testing.T, tool *iptables.Tool) iptables.Features {
	t.Helper()
	if found, ok := probed.Load(tool.String()); ok {
		return found.(iptables.Features)
	}
	found := tool.Probe(t.Context())
	probed.Store(tool.String(), found)
	return found
}

// apply brings the tables into the State's shape in one pass.
func apply(t *testing.T, d *iptables.Dataplane, state *proxier.State) (proxier.Plan, []proxier.Refusal) {
	t.Helper()
	plan := planOf(t, d, state)
	refused, err := plan.Apply(t.Context())
	if err != nil {
		t.Fatalf("%v; the plan was\n%s", err, plan)
	}
	return plan, refused
}

// serve is apply for a State the kernel must take as a whole.
func serve(t *testing.T, d *iptables.Dataplane, state *proxier.State) proxier.Plan {
	t.Helper()
	plan, refused := apply(t, d, state)
	for _, r := range refused {
		t.Errorf("%s is refused: %v", r.Target.Name, r.Err)
	}
	return plan
}

func planOf(t *testing.T, d *iptables.Dataplane, state *proxier.State) proxier.Plan {
	t.Helper()
	plan, err := d.Plan(t.Context(), state)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// mustBeRight asks a dataplane that has just started whether anything is to be
// done, which must not be.
func mustBeRight(t *testing.T, k *kernel, config iptables.Config, state *proxier.State) {
	t.Helper()
	if plan := planOf(t, iptables.NewDataplane(k, config), state); !plan.Empty() {
		t.Errorf("%s: a second pass would send\n%s", k.tool, plan)
	}
}

// eachVariant runs the test with both, at the same time.
func eachVariant(t *testing.T, test func(t *testing.T, variant testenv.Variant)) {
	t.Parallel()
	for _, variant := range testenv.Variants() {
		t.Run(string(variant), func(t *testing.T) {
			t.Parallel()
			testenv.Need(t, testenv.Root, variant.Capability())
			test(t, variant)
		})
	}
}

// rulesOf are the lines "-A CHAIN …" of a save, by chain.
func rulesOf(save string) map[string][]string {
	chains := map[string][]string{}
	for line := range strings.Lines(save) {
		line = strings.TrimSuffix(line, "\n")
		if name, ok := strings.CutPrefix(line, ":"); ok {
			name, _, _ = strings.Cut(name, " ")
			chains[name] = nil
		}
		if rest, ok := strings.CutPrefix(line, "-A "); ok {
			name, _, _ := strings.Cut(rest, " ")
			chains[name] = append(chains[name], line)
		}
	}
	return chains
}
