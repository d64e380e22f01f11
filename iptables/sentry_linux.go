package iptables

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/kube-proxier/kube-proxier/iptables/nftcommit"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// suspicion is what a Sentry's Recheck is to pass on.
type suspicion struct {
	dataplane *Dataplane

	mu    sync.Mutex
	doubt Doubt
	tell  func(proxier.Drift) // nil before Watch
	// early is what came before Watch.
	early []proxier.Drift
}

// Dataplane is "iptables".
func (s *suspicion) Dataplane() string { return s.dataplane.Name() }

// Recheck makes the Dataplane's next Plan look at what is suspect.
func (s *suspicion) Recheck() {
	s.mu.Lock()
	doubt := s.doubt
	s.doubt = Doubt{}
	s.mu.Unlock()
	s.dataplane.Doubt(doubt)
}

// raise adds to what is suspect.
func (s *suspicion) raise(doubt Doubt, drift proxier.Drift) {
	s.mu.Lock()
	s.doubt.Add(doubt)
	tell := s.tell
	if tell == nil {
		s.early = append(s.early, drift)
	}
	s.mu.Unlock()
	if tell != nil {
		tell(drift)
	}
}

func (s *suspicion) start(tell func(proxier.Drift)) {
	s.mu.Lock()
	early := s.early
	s.tell, s.early = tell, nil
	s.mu.Unlock()
	for _, drift := range early {
		tell(drift)
	}
}

// A commitSentry is told by the kernel: it is the Sentry of the nft variant.
type commitSentry struct {
	suspicion

	socket *nftcommit.Socket
}

// WatchCommits returns the Sentry of the nft variant. The Tool's own writes are
// not told from now on; all others are.
func WatchCommits(socket *nftcommit.Socket, tool *Tool, dataplane *Dataplane) proxier.Sentry {
	s := &commitSentry{suspicion: suspicion{dataplane: dataplane}, socket: socket}
	family := nftFamily(tool.Family)
	socket.Listen(func(c nftcommit.Commit) {
		if doubt := doubtOf(c, family); !doubt.Empty() {
			s.raise(doubt, proxier.Drift{
				Cause: proxier.Notified, Writer: proxier.Writer{PID: c.PID, Name: c.Process}, What: doubt.String(),
			})
		}
	})
	tool.witnesses = append(tool.witnesses, commitWitness{socket})
	return s
}

// Watch implements proxier.Sentry.
func (s *commitSentry) Watch(ctx context.Context, tell func(proxier.Drift)) error {
	s.start(tell)
	return s.socket.Watch(ctx)
}

// A commitWitness tells a Socket which commits are ours.
type commitWitness struct{ socket *nftcommit.Socket }

// largeWrite is the length of a write, in bytes, from which on announcing it costs more
// than asking for the generation of nf_tables.
const largeWrite = 64 << 10

func (w commitWitness) writing(input string) (started func(pid int), done func(error)) {
	ended := func(error) {}
	started = func(pid int) {
		ended = w.socket.Own(nftcommit.Batch{PID: pid, Commits: strings.Count(input, "\nCOMMIT\n"), Large: len(input) >= largeWrite})
	}
	return started, func(err error) { ended(err) }
}

func nftFamily(family proxier.Family) nftcommit.Family {
	if family == proxier.IPv6 {
		return nftcommit.IPv6
	}
	return nftcommit.IPv4
}

// builtin are the built-in chains that may hold jumps of ours.
var builtin = map[string][]string{ //nolint:gochecknoglobals // a constant table
	NAT:    {"PREROUTING", "OUTPUT", "POSTROUTING"},
	Filter: {"INPUT", "FORWARD", "OUTPUT"},
}

// doubtOf is what somebody else's commit may have changed of ours. Chains of
// others do not matter: a CNI plugin writes some for each pod.
func doubtOf(c nftcommit.Commit, family nftcommit.Family) Doubt {
	if c.Lost {
		return Doubt{All: true}
	}
	var d Doubt
	for p := range c.Places {
		switch {
		case p.Family != family || p.Table != NAT && p.Table != Filter:
		case p.Chain == "":
			d.Table(p.Table)
		case OwnedChain(p.Table, p.Chain) || slices.Contains(builtin[p.Table], p.Chain):
			d.Chain(p.Table, p.Chain)
		}
	}
	return d
}
