package conntrack_test

import (
	"encoding/binary"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/kube-proxier/kube-proxier/conntrack"
	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A table full of others' flows is read without keeping them, and what is not
// UDP does not even come out of the kernel.
func TestALargeTableOfOthers(t *testing.T) {
	testenv.Long(t, testing.Short(), "fills a table of connections")
	testenv.Need(t, testenv.Root)
	const tcp, udp = 400_000, 100_000
	roomFor(t, tcp+udp)
	node := testenv.StartCluster(t).Node("node1").Host
	before := look(t, node)
	if err := node.Do(func() error { return fill(tcp, udp) }); err != nil {
		t.Fatal(err)
	}
	after := look(t, node)
	t.Logf("with nothing tracked: read in %s; with %d flows of TCP and %d of UDP: read in %s, %d kB of memory at most",
		before.took.Round(10*time.Microsecond), tcp, udp, after.took.Round(time.Millisecond), after.peak>>10)
	if after.seen[conntrack.UDP] != udp || len(after.seen) != 1 {
		t.Errorf("flows seen by protocol: %v, want %d of UDP and nothing else", after.seen, udp)
	}
	if after.peak > 32<<20 {
		t.Errorf("reading took %d MB", after.peak>>20)
	}

	d := conntrack.NewDataplane(table{node})
	served := state(service(exposed))
	start := time.Now()
	p := plan(t, d, served)
	looked := time.Since(start)
	if !p.Empty() {
		t.Errorf("%d flows of others would be deleted", p.Summary().Flows)
	}
	start = time.Now()
	if !plan(t, d, served).Empty() {
		t.Error("flows of others would be deleted at a second look")
	}
	t.Logf("a pass after a change of UDP: %s; a pass after any other change: %s", looked.Round(time.Millisecond), time.Since(start).Round(time.Microsecond))
}

// A reading is what one look at a table found, and what it cost.
type reading struct {
	seen map[uint8]int // by protocol
	took time.Duration
	peak int64 // bytes of the heap more than before, at most
}

func look(t *testing.T, node *testenv.Host) reading {
	t.Helper()
	r := reading{seen: map[uint8]int{}}
	var before, during runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	err := table{node}.Flows(t.Context(), proxier.IPv4, func(f *conntrack.Flow) bool {
		r.seen[f.Protocol]++
		if r.seen[f.Protocol]%5000 == 0 {
			runtime.ReadMemStats(&during)
			r.peak = max(r.peak, int64(during.HeapAlloc)-int64(before.HeapAlloc)) //nolint:gosec // far below the limit
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	r.took = time.Since(start)
	return r
}

// roomFor raises the kernel's limit of connections, which is one for all
// namespaces, until the end of the test.
func roomFor(t *testing.T, flows int) {
	t.Helper()
	const path = "/proc/sys/net/netfilter/nf_conntrack_max"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if limit > flows {
		return
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(flows+10_000)), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Error(err)
		}
	})
}

// fill has the kernel track connections that nobody has.
func fill(tcp, udp int) error {
	handle, err := netlink.NewHandle(syscall.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer handle.Close()
	for i := range tcp + udp {
		f := &netlink.ConntrackFlow{FamilyType: netlink.FAMILY_V4, TimeOut: 600}
		src := binary.BigEndian.AppendUint32(nil, 100<<24|64<<16+uint32(i/16))
		f.Forward = netlink.IPTuple{SrcIP: src, SrcPort: uint16(1024 + i%16), DstIP: net.IPv4(192, 0, 2, 1).To4(), DstPort: nodePort, Protocol: conntrack.UDP}
		if i < tcp {
			f.Forward.Protocol = syscall.IPPROTO_TCP
			f.ProtoInfo = &netlink.ProtoInfoTCP{State: 3} // established
		}
		f.Reverse = f.Forward
		f.Reverse.SrcIP, f.Reverse.SrcPort, f.Reverse.DstIP, f.Reverse.DstPort = f.Forward.DstIP, f.Forward.DstPort, f.Forward.SrcIP, f.Forward.SrcPort
		if err := handle.ConntrackCreate(netlink.ConntrackTable, netlink.FAMILY_V4, f); err != nil {
			return err
		}
	}
	return nil
}
