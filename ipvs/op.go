package ipvs

import (
	"cmp"
	"fmt"
	"strings"
)

// OpKind is what an Op does.
type OpKind uint8

// The kinds of operations, each one netlink message.
const (
	NewService OpKind = iota
	UpdateService
	DeleteService
	NewServer
	UpdateServer
	DeleteServer
)

// verb is the kind as ipvsadm's option.
func (k OpKind) verb() string {
	return [...]string{"-A", "-E", "-D", "-a", "-e", "-d"}[k]
}

// An Op is one change to the kernel.
type Op struct {
	Kind  OpKind
	Place Place
	// Settings are for NewService and UpdateService.
	Settings Settings
	// Server is for the operations on real servers; DeleteServer reads its
	// address only.
	Server RealServer
}

// OnService reports whether the Op is about a virtual server as such, not about
// one of its real servers.
func (o Op) OnService() bool { return o.Kind <= DeleteService }

// String is the Op as arguments of ipvsadm(8), such as
// "-a -t 10.96.0.1:443 -r 172.18.0.2:6443 -m -w 1".
func (o Op) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", o.Kind.verb(), o.Place)
	switch o.Kind {
	case NewService, UpdateService:
		o.Settings.print(&b, o.Place.Family())
	case NewServer, UpdateServer:
		o.Server.print(&b)
	case DeleteServer:
		fmt.Fprintf(&b, " -r %s", o.Server.Addr)
	case DeleteService: // the place says it all
	}
	return b.String()
}

// OpsText is one line for each Op.
func OpsText(ops []Op) string {
	var b strings.Builder
	for _, o := range ops {
		b.WriteString(o.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// Create are the operations that make the list from nothing; their text is the
// list's Text.
func Create(list []*VirtualServer) []Op {
	var ops []Op
	for _, v := range list {
		ops = append(ops, v.create()...)
	}
	return ops
}

func (v *VirtualServer) create() []Op {
	ops := make([]Op, 0, 1+len(v.Servers))
	ops = append(ops, Op{Kind: NewService, Place: v.Place, Settings: v.Settings})
	for _, r := range v.Servers {
		ops = append(ops, Op{Kind: NewServer, Place: v.Place, Server: r})
	}
	return ops
}

func (o Op) compare(p Op) int {
	return cmp.Or(o.Place.Compare(p.Place), cmp.Compare(o.Kind, p.Kind), o.Server.Addr.Compare(p.Server.Addr))
}
