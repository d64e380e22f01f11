package device

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// Want says which addresses a State needs, sorted.
type Want func(ctx context.Context, state *proxier.State) ([]Address, error)

// A Dataplane keeps one family's Service addresses on kube-ipvs0. It comes after
// those that serve what is sent there.
type Dataplane struct {
	kernel *Cached
	family proxier.Family
	want   Want
	retire func() Retirement // where want is nil

	// left are the family's addresses as the last pass has left them; nil while it
	// writes, or where that is not known. What kernel remembers is no measure of
	// that: the other family may have listed what somebody else did.
	left atomic.Pointer[[]netip.Addr]
}

// New returns the dataplane of a family.
func New(kernel *Cached, family proxier.Family, want Want) *Dataplane {
	return &Dataplane{kernel: kernel, family: family, want: want}
}

// NewRemoval returns the dataplane of a mode that needs no addresses: it removes
// all of the family in the way that retire says, and with the last of both
// families the device.
func NewRemoval(kernel *Cached, family proxier.Family, retire func() Retirement) *Dataplane {
	return &Dataplane{kernel: kernel, family: family, retire: retire}
}

// Name is "addresses".
func (*Dataplane) Name() string { return "addresses" }

// Forget makes the next Plan look at the kernel.
func (d *Dataplane) Forget() { d.kernel.Forget() }

// Plan compares the device with what the State asks for.
func (d *Dataplane) Plan(ctx context.Context, state *proxier.State) (proxier.Plan, error) {
	p := &plan{dataplane: d, kernel: d.kernel, family: d.family}
	var err error
	if p.host, err = d.kernel.List(ctx); err != nil {
		return nil, err
	}
	if d.want == nil {
		p.patch = Remove(d.family, p.host, d.retire())
		return p, nil
	}
	want, err := d.want(ctx, state)
	if err != nil {
		return nil, err
	}
	if p.patch, err = Diff(d.family, p.host, want, state.Node.Addresses); err != nil {
		return nil, err
	}
	if p.Empty() {
		d.leave(p.host)
	}
	return p, nil
}

// leave remembers what a pass leaves.
func (d *Dataplane) leave(host Host) {
	left := host.BoundOf(d.family)
	d.left.Store(&left)
}

// A plan is what one pass does to the device.
type plan struct {
	dataplane *Dataplane
	kernel    Kernel
	family    proxier.Family
	host      Host
	patch     Patch
}

func (p *plan) Empty() bool    { return len(p.patch.Ops) == 0 }
func (p *plan) String() string { return Script(p.patch.Ops) }

// Findings are the Service addresses that are the node's own.
func (p *plan) Findings() proxier.Findings { return proxier.Findings{Problems: p.patch.Problems} }

// Diff shows the addresses that come and go, and the device if it does.
func (p *plan) Diff() string {
	if p.Empty() {
		return ""
	}
	after := p.host.After(p.patch.Ops)
	missing, extra := differences(p.host.BoundOf(p.family), after.BoundOf(p.family))
	retired, released := differences(p.host.RetiredOf(p.family), after.RetiredOf(p.family))
	gone := p.host.as(extra)
	var b strings.Builder
	have, want := len(gone)+len(released), len(missing)+len(retired)
	routes := func(mark string, addrs []netip.Addr) {
		for _, a := range addrs {
			fmt.Fprintf(&b, "%sroute local %s/%d\n", mark, a, a.BitLen())
		}
	}
	lines := func(mark string, addrs []netip.Prefix) {
		for _, a := range addrs {
			fmt.Fprintf(&b, "%s%s\n", mark, a)
		}
	}
	if p.host.Type != "" && after.Type == "" {
		b.WriteString("-device " + Name + " type " + p.host.Type + "\n")
		have++
	}
	lines("-", gone)
	routes("-", released)
	if p.host.Type == "" && after.Type != "" {
		b.WriteString("+device " + Name + " type " + after.Type + "\n")
		want++
	}
	lines("+", after.as(missing))
	routes("+", retired)
	return fmt.Sprintf("--- kernel addresses %[1]s\n+++ wanted addresses %[1]s\n@@ -%[2]s +%[3]s @@\n%[4]s",
		Name, extent(have), extent(want), b.String())
}

// extent is a range of lines as diff -u prints it.
func extent(n int) string {
	if n == 0 {
		return "0,0"
	}
	return fmt.Sprintf("1,%d", n)
}

// Summary counts addresses as rules.
func (p *plan) Summary() proxier.Summary {
	s := proxier.Summary{Bytes: len(p.String())}
	for _, o := range p.patch.Ops {
		if o.Verb == Add {
			s.Rules++
		}
		if o.Verb == Delete {
			s.Deleted++
		}
	}
	return s
}

// Apply makes the changes. An address is refused for no Service: what the node
// has itself stays there, and is served there.
func (p *plan) Apply(ctx context.Context) ([]proxier.Refusal, error) {
	if p.Empty() {
		return nil, nil
	}
	p.dataplane.left.Store(nil)
	if err := p.kernel.Do(ctx, p.patch.Ops); err != nil {
		return nil, err
	}
	p.dataplane.leave(p.host.After(p.patch.Ops))
	return nil, nil
}
