package ipvs_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/ipvstest"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// These tests talk to a real kernel, in a network namespace of their own.
// Where it has no IPVS, make test-ipvs runs them in a virtual machine.

// inKernel runs the test in a new namespace.
func inKernel(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	testenv.Need(t, testenv.IPVS)
	err := testenv.InNamespace(func() error {
		// Without any address the kernel takes no real server: it has no table
		// to look up what kind of address that is.
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		if err == nil {
			test(t)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// open opens the kernel; it is closed with the test.
func open(t testing.TB, family proxier.Family) *ipvs.Netlink {
	t.Helper()
	kernel, err := ipvs.Open(family)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kernel.Close)
	return kernel
}

func list(t testing.TB, kernel ipvs.Kernel) string {
	t.Helper()
	l, err := kernel.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return ipvs.Text(l.Servers)
}

func do(t testing.TB, kernel ipvs.Kernel, lines ...string) {
	t.Helper()
	for _, line := range lines {
		o, err := ipvs.ParseOp(line)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kernel.Do(context.Background(), []ipvs.Op{o}); err != nil {
			t.Fatal(err)
		}
	}
}

// written has what is special of each family, in the words of ipvsadm.
var written = map[proxier.Family]string{
	proxier.IPv4: `-A --sctp-service 10.96.0.1:3868 -s mh -b mh-fallback,mh-port
-a --sctp-service 10.96.0.1:3868 -r 10.244.1.95:3868 -m -w 7
-A -t 10.96.0.1:80 -s sh -p 600 -b sh-port
-a -t 10.96.0.1:80 -r 10.244.1.2:8080 -m -w 65535
-a -t 10.96.0.1:80 -r 10.244.1.3:8080 -m -w 0
-A -t 10.96.0.1:443 -s wlc -p 10800 -M 255.255.255.0
-A -u 10.96.0.1:53 -s rr -o
-a -u 10.96.0.1:53 -r 10.244.1.2:53 -m -w 1
`,
	proxier.IPv6: `-A -t [fd00:10:96::1]:80 -s rr
-a -t [fd00:10:96::1]:80 -r [fd00:10:244:1::2]:8080 -m -w 1
-A -t [fd00:10:96::1]:443 -s lc -p 600
-A -t [fd00:10:96::1]:444 -s rr -p 600 -M 64
`,
}

// What is written is what is read.
func TestKernelHoldsWhatIsWritten(t *testing.T) {
	for family, text := range written {
		inKernel(t, func(t *testing.T) {
			kernel := open(t, family)
			servers := write(t, kernel, text)
			if diff := cmp.Diff(text, list(t, kernel)); diff != "" {
				t.Errorf("-written +read:\n%s", diff)
			}
			if _, err := kernel.Do(t.Context(), ipvs.Cleanup(servers).Ops); err != nil {
				t.Error(err)
			}
			if left := list(t, kernel); left != "" {
				t.Errorf("after the cleanup there is\n%s", left)
			}
		})
	}
}

func write(t *testing.T, kernel ipvs.Kernel, text string) []*ipvs.VirtualServer {
	t.Helper()
	servers, err := ipvs.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kernel.Do(t.Context(), ipvs.Create(servers)); err != nil {
		t.Fatal(err)
	}
	return servers
}

// Our words are those of the tool.
func TestIPVSAdmSaysTheSame(t *testing.T) {
	testenv.Need(t, testenv.IPVS)
	program, err := exec.LookPath("ipvsadm")
	testenv.Lacking(t, "ipvsadm", err)
	for family, text := range written {
		inKernel(t, func(t *testing.T) {
			write(t, open(t, family), text)
			out, err := exec.CommandContext(t.Context(), program, "-S", "-n").Output()
			if err != nil {
				t.Fatal(err)
			}
			// The tool has its own order, and no space at the ends of lines to speak of.
			var lines []string
			for line := range strings.Lines(string(out)) {
				lines = append(lines, strings.TrimSpace(line)+"\n")
			}
			slices.Sort(lines)
			if diff := cmp.Diff(lines, sorted(text)); diff != "" {
				t.Errorf("-ipvsadm +ours:\n%s", diff)
			}
		})
	}
}

// The stand-in answers as the kernel does.
func TestKernelAnswersAsTheFakeDoes(t *testing.T) {
	inKernel(t, func(t *testing.T) {
		kernels := map[string]ipvs.Kernel{"kernel": open(t, proxier.IPv4), "fake": ipvstest.New(proxier.IPv4)}
		for _, step := range []struct {
			op             string
			want           syscall.Errno
			drift, refused bool
		}{
			{op: "-A -t 10.96.0.1:80 -s rr"},
			{op: "-A -t 10.96.0.1:80 -s rr", want: syscall.EEXIST, drift: true},
			{op: "-E -t 10.96.0.1:80 -s wlc -p 7"},
			{op: "-E -t 10.96.0.1:81 -s wlc", want: syscall.ESRCH, drift: true},
			{op: "-A -t 10.96.0.1:81 -s nonesuch", want: syscall.ENOENT, refused: true},
			{op: "-E -t 10.96.0.1:80 -s nonesuch", want: syscall.ENOENT, refused: true},
			{op: "-a -t 10.96.0.1:80 -r 10.1.0.1:80 -m -w 1"},
			{op: "-a -t 10.96.0.1:80 -r 10.1.0.1:80 -m -w 1", want: syscall.EEXIST, drift: true},
			{op: "-e -t 10.96.0.1:80 -r 10.1.0.1:80 -m -w 0"},
			{op: "-e -t 10.96.0.1:80 -r 10.1.0.2:80 -m -w 0", want: syscall.ENOENT, drift: true},
			{op: "-a -t 10.96.0.1:81 -r 10.1.0.2:80 -m -w 0", want: syscall.ESRCH, drift: true},
			{op: "-d -t 10.96.0.1:80 -r 10.1.0.2:80", want: syscall.ENOENT, drift: true},
			{op: "-d -t 10.96.0.1:81 -r 10.1.0.2:80", want: syscall.ESRCH, drift: true},
			{op: "-d -t 10.96.0.1:80 -r 10.1.0.1:80"},
			{op: "-D -t 10.96.0.1:81", want: syscall.ESRCH, drift: true},
			{op: "-D -t 10.96.0.1:80"},
		} {
			o, err := ipvs.ParseOp(step.op)
			if err != nil {
				t.Fatal(err)
			}
			for name, kernel := range kernels {
				n, err := kernel.Do(t.Context(), []ipvs.Op{o})
				e, _ := errors.AsType[*ipvs.OpError](err)
				switch {
				case step.want == 0 && (err != nil || n != 1):
					t.Errorf("%s: %s: %v", name, step.op, err)
				case step.want != 0 && (e == nil || e.Errno != step.want || e.Drift() != step.drift || e.Refused() != step.refused):
					t.Errorf("%s: %s: error %v, want %v, drift %v, refused %v", name, step.op, err, step.want, step.drift, step.refused)
				}
			}
		}
	})
}

// Random clusters, step by step: the kernel ends with what was wanted.
func TestKernelFollowsTheState(t *testing.T) {
	for _, family := range proxier.Families {
		inKernel(t, func(t *testing.T) {
			kernel := open(t, family)
			now := time.Now()
			c := config()
			c.Now = func() time.Time { return now }
			d := ipvs.NewDataplane(kernel, c)
			cluster := clustergen.NewRandom(3, 30)
			var state *proxier.State
			for range 40 {
				for range 3 {
					cluster.Step()
				}
				state = proxier.Build(state, cluster.Store.Snapshot(), clustergen.Options(family))
				if refused := apply(t, d, state); len(refused) > 0 {
					t.Fatal(refused)
				}
			}
			now = now.Add(ipvs.DefaultDrainTimeout)
			apply(t, d, state)
			if diff := cmp.Diff(ipvs.Text(ipvs.Compile(nil, state, options()).Servers), list(t, kernel)); diff != "" {
				t.Errorf("-want +kernel:\n%s", diff)
			}
			d.Forget()
			mustBeEmpty(t, plan(t, d, state))
		})
	}
}

func TestProbeFindsTheSchedulersAndLeavesNothing(t *testing.T) {
	inKernel(t, func(t *testing.T) {
		available, err := ipvs.Probe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Log(available)
		kernel := open(t, proxier.IPv4)
		if left := list(t, kernel); left != "" {
			t.Errorf("there is\n%s", left)
		}
		for _, scheduler := range proxier.Schedulers {
			o, err := ipvs.ParseOp("-A -t 10.96.0.1:80 -s " + scheduler)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = kernel.Do(t.Context(), []ipvs.Op{o}); (err == nil) != slices.Contains(available, scheduler) {
				t.Errorf("%s: error %v, but available are %v", scheduler, err, available)
			}
			if err == nil {
				do(t, kernel, "-D -t 10.96.0.1:80")
			}
		}
		if !slices.Contains(available, "rr") || !slices.Contains(available, "mh") {
			t.Errorf("available: %v, want at least rr and mh", available)
		}
	})
}

// Whoever may not administer the network is told so, whatever is asked for.
func TestWithoutPermission(t *testing.T) {
	inKernel(t, func(t *testing.T) {
		kernel := open(t, proxier.IPv4)
		do(t, kernel, "-A -t 10.96.0.1:80 -s rr")
		err := testenv.WithoutNetAdmin(func() error {
			_, listErr := kernel.List(t.Context())
			o, err := ipvs.ParseOp("-D -t 10.96.0.1:80")
			if err != nil {
				return err
			}
			_, doErr := kernel.Do(t.Context(), []ipvs.Op{o})
			for what, err := range map[string]error{"List": listErr, "Do": doErr} {
				if !errors.Is(err, syscall.EPERM) || !strings.Contains(err.Error(), "the capability NET_ADMIN is needed") {
					t.Errorf("%s: error %v, want EPERM and the capability's name", what, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if left := list(t, kernel); left == "" {
			t.Error("the virtual server is gone")
		}
	})
}

func TestTimeoutsAreWrittenOnce(t *testing.T) {
	inKernel(t, func(t *testing.T) {
		kernel := open(t, proxier.IPv4)
		for _, want := range []bool{true, false} {
			changed, err := kernel.SetTimeouts(ipvs.Timeouts{TCP: 1000 * time.Second, UDP: 77 * time.Second})
			if err != nil || changed != want {
				t.Errorf("changed %v, error %v; want %v", changed, err, want)
			}
		}
	})
}

// A connection that lives goes on while its real server drains, and the real
// server goes when it has ended.
func TestKernelCountsTheConnectionsThatDrain(t *testing.T) {
	inKernel(t, func(t *testing.T) {
		listeners := loopback(t, "10.96.0.0", "10.244.0.2", "10.244.0.3", "10.247.13.67")
		kernel := open(t, proxier.IPv4)
		store := clustergen.Uniform(1, 1)
		c := config()
		c.Look = time.Millisecond
		d := ipvs.NewDataplane(kernel, c)
		apply(t, d, build(store, proxier.IPv4))
		conn, err := net.Dial("tcp", "10.96.0.0:80")
		if err != nil {
			t.Fatal(err)
		}
		served, err := listeners["10.244.0.2"].Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer served.Close()

		store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv4, 1, 1))
		state := build(store, proxier.IPv4)
		for range 3 { // looks that find the connection
			<-after(c.Look * 2)
			apply(t, d, state)
		}
		d = ipvs.NewDataplane(kernel, c) // a restart
		apply(t, d, state)
		if got := list(t, kernel); !strings.Contains(got, "-r 10.244.0.2:8080 -m -w 0") {
			t.Fatalf("with a connection it does not drain:\n%s", got)
		}
		fresh, err := net.Dial("tcp", "10.96.0.0:80")
		if err != nil {
			t.Fatal(err)
		}
		defer fresh.Close()
		if _, err := listeners["10.247.13.67"].Accept(); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := served.Read(make([]byte, 1)); err != nil {
			t.Fatalf("the old connection broke: %v", err)
		}
		if err := conn.(*net.TCPConn).SetLinger(0); err != nil { // a reset is forgotten within 10 s
			t.Fatal(err)
		}
		conn.Close()
		for deadline := time.Now().Add(time.Minute); ; {
			apply(t, d, state)
			if !strings.Contains(list(t, kernel), "10.244.0.2:8080") {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("its connection has ended, but there is still\n%s", list(t, kernel))
			}
			<-after(100 * time.Millisecond)
		}
	})
}

func after(d time.Duration) <-chan time.Time { return time.After(d) }

// loopback gives lo the addresses and listens on port 8080 of each.
func loopback(t *testing.T, addrs ...string) map[string]net.Listener {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	listeners := map[string]net.Listener{}
	for _, a := range addrs {
		addr := netip.MustParseAddr(a)
		if err := netlink.AddrAdd(lo, &netlink.Addr{IPNet: &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(32, 32)}}); err != nil {
			t.Fatal(err)
		}
		if listeners[a], err = net.Listen("tcp", netip.AddrPortFrom(addr, 8080).String()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listeners[a].Close() })
	}
	return listeners
}

// A start with 1,000 Services of 10 endpoints, one change, and a new look.
func TestKernelTakesALargeCluster(t *testing.T) {
	inKernel(t, func(t *testing.T) {
		kernel := open(t, proxier.IPv4)
		store := clustergen.Uniform(1000, 10)
		r := newReconciler(store, kernel)
		for _, step := range []struct {
			name   string
			change func()
		}{
			{"start", func() {}},
			{"one endpoint", func() { store.SetEndpointSlice(clustergen.Slice(500, proxier.IPv4, 10, 1)) }},
			{"nothing", func() {}},
			{"a new look", func() { r.Dataplanes[0].Forget() }},
		} {
			step.change()
			start := time.Now()
			pass(t, r)
			t.Logf("%s took %v", step.name, time.Since(start))
		}
		if n := strings.Count(list(t, kernel), "\n"); n != 11000 {
			t.Errorf("%d virtual and real servers, want 11000", n)
		}
	})
}

// Both families are in one table, whose dumps go on by counting: what the pass of one
// deletes must not have the other overlook a virtual server.
func TestAListLeavesOutNothingWhileTheOtherFamilyWrites(t *testing.T) {
	inKernel(t, func(t *testing.T) {
		const servers = 100 // several messages of a dump
		var create, remove []ipvs.Op
		ops := func(line string) ipvs.Op {
			o, err := ipvs.ParseOp(line)
			if err != nil {
				t.Fatal(err)
			}
			return o
		}
		v4, v6 := open(t, proxier.IPv4), open(t, proxier.IPv6)
		for i := range servers {
			create = append(create, ops(fmt.Sprintf("-A -t 10.96.0.1:%d -s rr", 1000+i)))
			remove = append(remove, ops(fmt.Sprintf("-D -t 10.96.0.1:%d", 1000+i)))
			do(t, v6, fmt.Sprintf("-A -t [fd00:10:96::1]:%d -s rr", 1000+i))
		}
		ended := make(chan error, 1)
		go func() {
			for range 20 {
				for _, all := range [][]ipvs.Op{create, remove} {
					if _, err := v4.Do(context.Background(), all); err != nil {
						ended <- err
						return
					}
				}
			}
			ended <- nil
		}()
		for lists := 0; ; lists++ {
			listed, err := v6.ListServices(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if len(listed) != servers {
				t.Fatalf("list %d has %d of %d virtual servers", lists, len(listed), servers)
			}
			select {
			case err := <-ended:
				if err != nil || lists == 0 {
					t.Fatalf("%d lists while the other family wrote, error %v", lists, err)
				}
				return
			default:
			}
		}
	})
}
