package iptables

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kube-proxier/kube-proxier/iptables/legacytable"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A legacySentry looks by itself: it is the Sentry of the legacy variant, whose
// kernel side tells nobody of changes.
type legacySentry struct {
	suspicion

	// mu is held while our own process writes, so that nothing is looked at
	// then.
	mu     sync.Mutex
	socket *legacytable.Socket
	lock   *lockWatch
	tables map[string]*tableWatch
}

// WatchTables returns the Sentry of the legacy variant, for the network
// namespace of the calling thread. The Tool's own writes are not told from now
// on. Who changes neither number nor size of the entries between such a write and
// the look that follows it is left to the regular comparison.
func WatchTables(tool *Tool, dataplane *Dataplane) (proxier.Sentry, error) {
	socket, err := legacytable.Open(tool.Family == proxier.IPv6)
	if err != nil {
		return nil, err
	}
	lock, err := watchLock(lockFile())
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	s := &legacySentry{
		suspicion: suspicion{dataplane: dataplane}, socket: socket, lock: lock,
		tables: map[string]*tableWatch{NAT: {}, Filter: {}},
	}
	s.wrote()
	tool.witnesses = append(tool.witnesses, s)
	return s, nil
}

// Watch implements proxier.Sentry.
func (s *legacySentry) Watch(ctx context.Context, tell func(proxier.Drift)) error {
	s.start(tell)
	ticker := time.NewTicker(legacyPoll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			s.mu.Lock()
			defer s.mu.Unlock()
			err := errors.Join(s.socket.Close(), s.lock.close())
			s.socket = nil
			return errors.Join(ctx.Err(), err)
		case <-ticker.C:
		}
		if !s.mu.TryLock() {
			continue // we write ourselves
		}
		s.look(true)
		s.mu.Unlock()
	}
}

// look looks at the tables. mu is held.
func (s *legacySentry) look(thorough bool) {
	if s.lock.released() {
		for _, w := range s.tables {
			w.due = true
		}
	}
	for _, table := range []string{NAT, Filter} {
		info, err := s.socket.Info(table)
		if err != nil {
			continue // the regular comparison remains
		}
		changed := s.tables[table].look(thorough, info, time.Now, func() (uint64, error) {
			return s.socket.Digest(table, info, func(chain string) bool { return OwnedChain(table, chain) })
		})
		if changed {
			var doubt Doubt
			doubt.Table(table)
			s.raise(doubt, proxier.Drift{Cause: proxier.Polled, What: doubt.String()})
		}
	}
}

// writing implements witness: what is different before the write was done by
// somebody else, and what is different after it by us.
func (s *legacySentry) writing() (started func(pid int), done func()) {
	s.mu.Lock()
	if s.socket != nil {
		s.look(false) // others wrote what is different now
	}
	return func(int) {}, func() {
		defer s.mu.Unlock()
		if s.socket != nil {
			s.wrote()
		}
	}
}

// wrote takes the tables for ours as they are. mu is held.
func (s *legacySentry) wrote() {
	s.lock.released() // by us
	for table, w := range s.tables {
		if info, err := s.socket.Info(table); err == nil {
			w.wrote(info)
		}
	}
}
