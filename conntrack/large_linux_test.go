package conntrack_test

import (
	"encoding/binary"
	"net"
	"runtime"
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
	if testing.Short() {
		t.Skip("fills a table of connections: left out by -short")
	}
	testenv.Need(t, testenv.Root)
	const tcp, udp = 150_000, 50_000
	node := testenv.StartCluster(t).Node("node1").Host
	if err := node.Do(func() error { return fill(tcp, udp) }); err != nil {
		t.Fatal(err)
	}
	var before, during runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	peak, seen := uint64(0), map[uint8]int{}
	start := time.Now()
	err := table{node}.Flows(t.Context(), proxier.IPv4, func(f *conntrack.Flow) bool {
		seen[f.Protocol]++
		if seen[f.Protocol]%5000 == 0 {
			runtime.ReadMemStats(&during)
			peak = max(peak, during.HeapAlloc)
		}
		return true
	})
	took := time.Since(start)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d flows of TCP and %d of UDP: read in %s, %d MB of memory at most", tcp, udp, took.Round(time.Millisecond), int64(peak-before.HeapAlloc)>>20)
	if seen[conntrack.UDP] != udp || len(seen) != 1 {
		t.Errorf("flows seen by protocol: %v, want %d of UDP and nothing else", seen, udp)
	}
	if grown := int64(peak - before.HeapAlloc); grown > 32<<20 {
		t.Errorf("reading took %d MB", grown>>20)
	}

	d := conntrack.NewDataplane(table{node})
	if p := plan(t, d, state(service(exposed))); !p.Empty() {
		t.Errorf("%d flows of others would be deleted", p.Summary().Flows)
	}
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
