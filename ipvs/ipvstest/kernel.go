// Package ipvstest has a strict stand-in for the kernel's virtual servers, for
// tests of whatever writes to them.
package ipvstest

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A Kernel keeps the virtual servers of one family like the real one, and
// answers with its error numbers to what it would not do.
type Kernel struct {
	// Schedulers are those it has; nil for all.
	Schedulers []string
	// Refuse, if set, says whether the kernel would not take an Op (EINVAL).
	Refuse func(ipvs.Op) bool
	// FailOp, if set, is asked before each Op, counted from 1; what it returns is
	// the call's error, before the Op is done.
	FailOp func(n int) error

	family proxier.Family

	mu          sync.Mutex
	servers     map[ipvs.Place]*ipvs.VirtualServer
	connections map[ipvs.RealPlace]int
	asked       int
	ops         []ipvs.Op
	lists, look int
}

// New returns a kernel without virtual servers.
func New(family proxier.Family) *Kernel {
	return &Kernel{family: family, servers: map[ipvs.Place]*ipvs.VirtualServer{}, connections: map[ipvs.RealPlace]int{}}
}

// List returns the virtual servers at some places, or all.
func (k *Kernel) List(_ context.Context, only ...ipvs.Place) (ipvs.Listing, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := ipvs.Listing{Connections: map[ipvs.RealPlace]int{}}
	if len(only) == 0 {
		k.lists++
		l.Servers = k.sorted()
	} else {
		k.look++
	}
	for _, place := range only {
		if v := k.servers[place]; v != nil {
			l.Servers = append(l.Servers, v)
		}
	}
	for p, n := range k.connections {
		if n > 0 && ipvs.Find(l.Servers, p.Place) != nil {
			l.Connections[p] = n
		}
	}
	return l, nil
}

// ListServices returns all virtual servers without their real servers.
func (k *Kernel) ListServices(context.Context) ([]*ipvs.VirtualServer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	servers := k.sorted()
	for i, v := range servers {
		servers[i] = &ipvs.VirtualServer{Place: v.Place, Settings: v.Settings}
	}
	return servers, nil
}

// Do does operations until one fails.
func (k *Kernel) Do(_ context.Context, ops []ipvs.Op) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, o := range ops {
		k.asked++
		if k.FailOp != nil {
			if err := k.FailOp(k.asked); err != nil {
				return i, err
			}
		}
		if errno := k.do(o); errno != 0 {
			return i, &ipvs.OpError{Op: o, Errno: errno}
		}
		k.ops = append(k.ops, o)
	}
	return len(ops), nil
}

// do does one Op.
func (k *Kernel) do(o ipvs.Op) syscall.Errno {
	if k.Refuse != nil && k.Refuse(o) || o.Place.Family() != k.family {
		return syscall.EINVAL
	}
	v := k.servers[o.Place]
	switch {
	case o.Kind == ipvs.NewService && v != nil:
		return syscall.EEXIST
	case o.Kind != ipvs.NewService && v == nil:
		return syscall.ESRCH
	case o.Kind == ipvs.NewService || o.Kind == ipvs.UpdateService:
		if errno := k.check(o); errno != 0 {
			return errno
		}
	case !o.OnService():
		if errno := checkServer(v, o); errno != 0 {
			return errno
		}
	}
	var before []*ipvs.VirtualServer
	if v != nil {
		before = append(before, v)
	}
	delete(k.servers, o.Place)
	for _, after := range ipvs.After(before, []ipvs.Op{o}) {
		k.servers[o.Place] = after
	}
	maps.DeleteFunc(k.connections, func(p ipvs.RealPlace, _ int) bool {
		return p.Place == o.Place && (o.Kind == ipvs.DeleteService || o.Kind == ipvs.DeleteServer && p.Real == o.Server.Addr)
	})
	return 0
}

func (k *Kernel) sorted() []*ipvs.VirtualServer {
	return slices.SortedFunc(maps.Values(k.servers), func(a, b *ipvs.VirtualServer) int { return a.Compare(b.Place) })
}

// check is what the kernel says of settings.
func (k *Kernel) check(o ipvs.Op) syscall.Errno {
	has := k.Schedulers
	if has == nil {
		has = proxier.Schedulers
	}
	switch s := o.Settings; {
	case !slices.Contains(has, s.Scheduler):
		return syscall.ENOENT
	case s.Flags&ipvs.Persistent != 0 && (int(s.ClientBits) > k.family.Bits() || s.ClientBits == 0):
		return syscall.EINVAL
	default:
		return 0
	}
}

// checkServer is what the kernel says of an Op on a real server.
func checkServer(v *ipvs.VirtualServer, o ipvs.Op) syscall.Errno {
	exists := slices.ContainsFunc(v.Servers, func(r ipvs.RealServer) bool { return r.Addr == o.Server.Addr })
	switch {
	case o.Kind == ipvs.NewServer && exists:
		return syscall.EEXIST
	case o.Kind != ipvs.NewServer && !exists:
		return syscall.ENOENT
	case !o.Server.Addr.IsValid() || proxier.FamilyOf(o.Server.Addr.Addr()) != v.Family():
		return syscall.EINVAL
	default:
		return 0
	}
}

// String is all virtual servers as ipvsadm -S -n prints them.
func (k *Kernel) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return ipvs.Text(k.sorted())
}

// Must does what somebody else's ipvsadm does, one command a line; it panics
// when that is wrong, for that is the test's mistake.
func (k *Kernel) Must(commands ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, command := range commands {
		o, err := ipvs.ParseOp(command)
		if err != nil {
			panic(err)
		}
		refuse := k.Refuse
		k.Refuse = nil
		errno := k.do(o)
		k.Refuse = refuse
		if errno != 0 {
			panic(&ipvs.OpError{Op: o, Errno: errno})
		}
	}
}

// Connect sets how many connections a real server has. Virtual server and real
// server are written as in ipvsadm, such as "-t 10.96.0.1:80", "10.244.0.5:80".
func (k *Kernel) Connect(virtual, real string, n int) {
	o, err := ipvs.ParseOp("-D " + virtual)
	if err != nil {
		panic(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.connections[ipvs.RealPlace{Place: o.Place, Real: netip.MustParseAddrPort(real)}] = n
}

// Ops are all operations that were done, in order.
func (k *Kernel) Ops() []ipvs.Op {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.ops)
}

// Lists counts full listings; looks those of some virtual servers only.
func (k *Kernel) Lists() (lists, looks int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lists, k.look
}
