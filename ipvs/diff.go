package ipvs

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// A Patch turns what the kernel has into what it should have.
type Patch struct {
	// Ops are to be done in this order. Each one leaves every virtual server
	// with what it had or with what it should have.
	Ops []Op
	// Drained counts the Ops that end a drain: time brought them about, nobody's
	// wish and nobody's interference.
	Drained int
	// Draining are the real servers that are left to drain when the Ops are
	// done, and since when they do.
	Draining map[RealPlace]time.Time
	// Drains counts them, and what has become of those that drained before.
	Drains proxier.Drains

	have []*VirtualServer
}

// Diff compares two sorted lists: have are our virtual servers in the kernel.
// Those in a place where want has no frontend go at once, unless they retire;
// elsewhere unwanted real servers are drained as d says.
//
// The order is: new virtual servers and what more there should be, then what
// should be less, then virtual servers to delete.
func Diff(have []*VirtualServer, want *Compiled, d Drain) *Patch {
	p := &patcher{drain: &d, patch: &Patch{have: have, Draining: map[RealPlace]time.Time{}}}
	old, next := have, want.Servers
	for len(old) > 0 || len(next) > 0 {
		var order int
		switch {
		case len(next) == 0:
			order = -1
		case len(old) == 0:
			order = 1
		case old[0] != next[0]:
			order = old[0].Compare(next[0].Place)
		}
		switch {
		case order < 0:
			p.unwanted(old[0], d.Retire || want.Frontend(old[0].Place) != nil)
			old = old[1:]
		case order > 0:
			p.more = append(p.more, next[0].create()...)
			next = next[1:]
		default:
			p.changed(old[0], next[0])
			old, next = old[1:], next[1:]
		}
	}
	p.patch.Ops = slices.Concat(p.more, p.less, p.gone)
	p.patch.Drains = d.outcome(want, p.patch.Draining)
	return p.patch
}

// Cleanup deletes virtual servers, with their real servers.
func Cleanup(own []*VirtualServer) *Patch {
	return Diff(own, &Compiled{}, Drain{})
}

type patcher struct {
	patch *Patch
	drain *Drain
	// The operations by kind: those that add, those that take away from virtual
	// servers that stay, those that delete virtual servers.
	more, less, gone []Op
}

// unwanted handles a virtual server that nobody should answer at. It goes at
// once where it is not to drain, for no Service has its place any more, else with
// the last real server that drains.
func (p *patcher) unwanted(v *VirtualServer, drains bool) {
	var ops []Op
	deletes, ended := 0, 0
	if drains {
		for _, r := range v.Servers {
			op, over := p.unwantedServer(v, r)
			if op.Kind == DeleteServer {
				deletes++
			}
			if over {
				ended++
			}
			ops = appendOp(ops, op)
		}
	}
	if drains && deletes < len(v.Servers) {
		p.less = append(p.less, ops...)
		p.patch.Drained += ended
		return
	}
	if ended > 0 && ended == len(v.Servers) {
		p.patch.Drained++
	}
	p.gone = append(p.gone, Op{Kind: DeleteService, Place: v.Place})
}

func appendOp(ops []Op, op Op) []Op {
	if op == (Op{}) {
		return ops
	}
	return append(ops, op)
}

// unwantedServer is the next step in draining a real server, the zero Op to let
// it be; ended tells that a drain is over. What stays is noted as draining.
func (p *patcher) unwantedServer(v *VirtualServer, r RealServer) (op Op, ended bool) {
	place := RealPlace{v.Place, r.Addr}
	next := p.drain.step(place, r)
	if next == remove {
		ended = r.Weight == 0 && p.drain.Timeout > 0 && place.drains()
		return Op{Kind: DeleteServer, Place: v.Place, Server: RealServer{Addr: r.Addr}}, ended
	}
	since, known := p.drain.Since[place]
	if !known {
		since = p.drain.Now
	}
	p.patch.Draining[place] = since
	if next == wait {
		return Op{}, false
	}
	r.Weight = 0
	return Op{Kind: UpdateServer, Place: v.Place, Server: r}, false
}

func (p *patcher) changed(have, want *VirtualServer) {
	if have == want {
		return
	}
	if have.Settings != want.Settings {
		p.more = append(p.more, Op{Kind: UpdateService, Place: want.Place, Settings: want.Settings})
	}
	old, next := have.Servers, want.Servers
	for len(old) > 0 || len(next) > 0 {
		switch {
		case len(next) == 0 || len(old) > 0 && old[0].Addr.Compare(next[0].Addr) < 0:
			op, ended := p.unwantedServer(have, old[0])
			if ended {
				p.patch.Drained++
			}
			p.less = appendOp(p.less, op)
			old = old[1:]
		case len(old) == 0 || next[0].Addr.Compare(old[0].Addr) < 0:
			p.more = append(p.more, Op{Kind: NewServer, Place: want.Place, Server: next[0]})
			next = next[1:]
		default:
			if old[0] != next[0] {
				p.update(want.Place, old[0], next[0])
			}
			old, next = old[1:], next[1:]
		}
	}
}

func (p *patcher) update(place Place, have, want RealServer) {
	op := Op{Kind: UpdateServer, Place: place, Server: want}
	if want.Weight < have.Weight {
		p.less = append(p.less, op)
	} else {
		p.more = append(p.more, op)
	}
}

// Unified shows the patch like diff -u, one part for each virtual server.
func (p *Patch) Unified() string {
	places := map[Place]bool{}
	for _, o := range p.Ops {
		places[o.Place] = true
	}
	after := After(p.have, p.Ops)
	var b strings.Builder
	for _, place := range slices.SortedFunc(maps.Keys(places), Place.Compare) {
		b.Write(unified(place, Find(p.have, place), Find(after, place)))
	}
	return b.String()
}

func unified(place Place, have, want *VirtualServer) []byte {
	text := func(v *VirtualServer) []byte {
		if v == nil {
			return nil
		}
		return []byte(v.String())
	}
	out := diff.Diff("kernel ipvs "+place.String(), text(have), "wanted ipvs "+place.String(), text(want))
	_, hunks, _ := bytes.Cut(out, []byte("\n")) // the first line repeats the names as a command
	return hunks
}
