package ipvstests

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/internal/testenv/vm"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// wireServices is how large the cluster of TestMessagesFollowTheChange is.
var wireServices = flag.Int("wire.services", 1000, "how many Services TestMessagesFollowTheChange has, with 10 endpoints each")

// What a pass says to the kernel, and is answered, over netlink: two messages for each
// server at the start, four for one endpoint, nothing for nothing. The log has the
// table of docs/ipvs.md.
func TestMessagesFollowTheChange(t *testing.T) {
	vm.Need(t)
	node := testenv.StartCluster(t).Node("node1")
	store := clustergen.Uniform(*wireServices, 10)
	p := newProxy(t, node, store, proxier.IPv4, settings{drainTimeout: ipvs.DefaultDrainTimeout})
	m := newMeter(t, node, p)
	start := m.pass(t, "start", func() {})
	one := m.pass(t, "one endpoint changed", func() {
		store.SetEndpointSlice(clustergen.Slice(*wireServices/2, proxier.IPv4, 10, 1))
	})
	nothing := m.pass(t, "nothing changed", func() {})
	m.pass(t, "comparison with the kernel", p.forget)
	m.table.Flush()
	t.Logf("%d Services of 10 endpoints:\n%s", *wireServices, m.text.String())
	// A message makes a server, and one answers it; a few list what is there.
	if want, have := 2*11**wireServices, start["ipvs"]; have < want || have > want+20 {
		t.Errorf("the start has %d messages for virtual servers, want %d and a few", have, want)
	}
	// The endpoint that went has weight 0 now, and the other is made.
	for dataplane, have := range one {
		if want := map[string]int{"ipvs": 4}[dataplane]; have != want {
			t.Errorf("one endpoint has %d messages of %s, want %d", have, dataplane, want)
		}
	}
	for dataplane, have := range nothing {
		if have != 0 {
			t.Errorf("where nothing has changed there are %d messages of %s", have, dataplane)
		}
	}
}

func (p *proxy) forget() {
	for _, d := range p.reconciler.Dataplanes {
		d.Forget()
	}
}

// A meter counts netlink messages by a device that every message of the node's
// namespace passes, those to the kernel and those from it: nlmon. What one call
// sends or receives is one message, though it may hold many.
type meter struct {
	node  *testenv.Node
	proxy *proxy
	err   error
	last  wire
	by    map[string]int
	order []string
	table *tabwriter.Writer
	text  *strings.Builder
}

// wire is what has passed.
type wire struct{ messages, bytes int }

const meterDevice = "nlmon0"

func newMeter(t *testing.T, node *testenv.Node, p *proxy) *meter {
	t.Helper()
	err := node.Do(func() error {
		link := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Name: meterDevice}, LinkType: "nlmon"}
		if err := netlink.LinkAdd(link); err != nil {
			return fmt.Errorf("make a device of type nlmon: %w", err)
		}
		return netlink.LinkSetUp(link)
	})
	if err != nil {
		t.Fatal(err)
	}
	m := &meter{node: node, proxy: p, text: &strings.Builder{}}
	m.table = tabwriter.NewWriter(m.text, 0, 0, 2, ' ', 0)
	p.reconciler.Reporter = m
	return m
}

// Synced implements proxier.Reporter: what has passed since the last report was of
// this dataplane.
func (m *meter) Synced(r proxier.Report) {
	now, err := readWire()
	if err != nil {
		m.err = err
	}
	if _, again := m.by[r.Dataplane]; again {
		r.Dataplane += " leftovers"
	}
	m.by[r.Dataplane] = now.messages - m.last.messages
	m.order = append(m.order, r.Dataplane)
	m.last = now
}

// pass makes a pass after a change, and adds a line to the table.
func (m *meter) pass(t *testing.T, name string, change func()) map[string]int {
	t.Helper()
	change()
	m.by, m.order = map[string]int{}, nil
	var first wire
	var took, cpu time.Duration
	err := m.node.Do(func() (err error) {
		if first, err = readWire(); err != nil {
			return err
		}
		m.last = first
		start, before := time.Now(), processorTime()
		err = m.proxy.reconciler.Sync(t.Context())
		took, cpu = time.Since(start), processorTime()-before
		return err
	})
	if err == nil {
		err = m.err
	}
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(m.table, "%s\t%d messages\t%d kB\t%v\t%v CPU\t", name, m.last.messages-first.messages, (m.last.bytes-first.bytes)/1000, took.Round(time.Millisecond), cpu.Round(time.Millisecond))
	for _, dataplane := range m.order {
		fmt.Fprintf(m.table, "%s %d\t", dataplane, m.by[dataplane])
	}
	fmt.Fprintln(m.table)
	return m.by
}

// readWire reads the device's counters in the namespace of the calling thread,
// from a file: asking over netlink would count.
func readWire() (wire, error) {
	file, err := os.Open("/proc/thread-self/net/dev")
	if err != nil {
		return wire{}, err
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if counters, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), meterDevice+":"); ok {
			var w wire
			_, err := fmt.Sscan(counters, &w.bytes, &w.messages)
			return w, err
		}
	}
	return wire{}, fmt.Errorf("no device %s", meterDevice)
}

// processorTime is that of this process and of the tools it has run.
func processorTime() time.Duration {
	var sum int64
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err == nil {
			sum += u.Utime.Nano() + u.Stime.Nano()
		}
	}
	return time.Duration(sum)
}
