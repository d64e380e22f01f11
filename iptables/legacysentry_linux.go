package iptables

import (
	"context"
	"errors"
	"math"
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
	others map[string]*strangers // by table
}

// WatchTables returns the Sentry of the legacy variant, for the network
// namespace of the calling thread. The Tool's own writes are not told from now
// on. A change made during one of our writes that keeps the number of entries is found
// by the regular comparison only.
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
		tables: map[string]*tableWatch{NAT: {}, Filter: {}}, others: map[string]*strangers{NAT: {}, Filter: {}},
	}
	s.wrote()
	tool.witnesses = append(tool.witnesses, s)
	return s, nil
}

// Watch implements proxier.Sentry.
func (s *legacySentry) Watch(ctx context.Context, tell func(proxier.Drift)) error {
	s.start(tell)
	ticker := alignedTicker(legacyPoll)
	defer ticker.Stop()
	for s.lock.wait(ctx, ticker.C) {
		if !s.mu.TryLock() {
			continue // we write ourselves
		}
		s.look(math.MaxUint32)
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := errors.Join(s.socket.Close(), s.lock.close())
	s.socket = nil
	return errors.Join(ctx.Err(), err)
}

// alignedTicker is a ticker that ticks when all of the same period do: the Sentries of
// both families wake the processor once.
func alignedTicker(period time.Duration) *time.Ticker {
	ticker := time.NewTicker(period)
	since := time.Duration(time.Now().UnixNano()) % period
	time.AfterFunc(period-since, func() { ticker.Reset(period) })
	return ticker
}

// look looks at the tables, and thoroughly at those of so many entries at most. mu
// is held.
func (s *legacySentry) look(limit uint32) {
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
		changed := s.tables[table].look(info.Entries <= limit, info, time.Now(), func() (sum uint64, took time.Duration, err error) {
			took = cpuTime(func() {
				sum, err = s.socket.Digest(table, info, func(chain string) bool { return OwnedChain(table, chain) })
			})
			return sum, took, err
		})
		if s.others[table].changed(table, info.Entries, s.dataplane.believed()) || changed {
			var doubt Doubt
			doubt.Table(table)
			s.raise(doubt, proxier.Drift{Cause: proxier.Polled, What: doubt.String()})
		}
	}
}

// writing implements witness: what is different before the write was done by
// somebody else, and what is different after it by us.
func (s *legacySentry) writing(string) (started func(pid int), done func(error)) {
	s.mu.Lock()
	if s.socket != nil {
		s.look(0) // others wrote what is different now
	}
	return func(int) {}, func(error) {
		defer s.mu.Unlock()
		if s.socket != nil {
			s.wrote()
			s.look(legacyAtOnce)
		}
	}
}

// wrote takes the tables for ours as they are. mu is held.
func (s *legacySentry) wrote() {
	s.lock.released() // by us
	for table, w := range s.tables {
		if info, err := s.socket.Info(table); err == nil {
			w.wrote(info)
			s.others[table].written(info.Entries)
		}
	}
}
