// Package listen owns the addresses of the program's HTTP servers: an address
// that somebody else has is tried again, and one that is changed is exchanged
// for the new one while the server runs.
package listen

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// Retry is the time between two attempts to listen on the address of a Server.
const Retry = 5 * time.Second

// A Server serves HTTP at one address, which can change. Its exported fields are
// set before Run. It is safe for concurrent use.
type Server struct {
	// Field is the one of the configuration that holds the address; it begins
	// the errors.
	Field string
	// New makes the server for an address; its Handler is the same for all.
	New func() *http.Server
	// Failed, if set, is told why the address cannot be listened on; not twice
	// in a row of the same.
	Failed func(error)

	retry time.Duration // Retry, but for tests

	mu       sync.Mutex
	place    Place
	open     *Opening // nil where nothing is listened on
	moved    chan struct{}
	finished bool
}

// A Place is where to serve.
type Place struct {
	// Address is where; one that is unspecified stands for both families. An
	// invalid one turns the server off.
	Address netip.AddrPort
	// HardFail ends Run when the address cannot be listened on; otherwise it is
	// tried again every Retry.
	HardFail bool
}

// At returns a server that is to be at a place.
func At(place Place, field string, newServer func() *http.Server) *Server {
	return &Server{Field: field, New: newServer, place: place, moved: make(chan struct{}, 1)}
}

// Place is where the server is, or tries to be.
func (s *Server) Place() Place {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.place
}

// Run serves until ctx ends, and returns nil then. Before that it returns only
// with HardFail, and the error names field and address.
func (s *Server) Run(ctx context.Context) error {
	defer s.finish()
	told := ""
	for {
		place, ended, err := s.ensure(ctx)
		if ctx.Err() != nil {
			return nil
		}
		var again <-chan time.Time
		if err == nil {
			told = ""
		} else {
			if s.Failed != nil && err.Error() != told {
				told = err.Error()
				s.Failed(err)
			}
			if place.HardFail {
				return err
			}
			again = time.After(cmp.Or(s.retry, Retry))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.moved:
		case <-ended:
		case <-again:
		}
	}
}

// ensure listens, unless that is done or not wanted. The channel is closed when
// the listener is gone.
func (s *Server) ensure(ctx context.Context) (Place, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.place.Address.IsValid():
		return s.place, nil, nil
	case s.open != nil && s.open.Serves():
		return s.place, s.open.Ended(), nil
	}
	var err error
	if s.open, err = s.listen(ctx, s.place.Address); err != nil {
		return s.place, nil, err
	}
	return s.place, s.open.Ended(), nil
}

// Move makes the server listen somewhere else. The new address is listened on
// before the old one is given up, unless they get into each other's way (the
// same port at an address and at all of them): then for a moment nobody listens.
// With an error, which names field and address, the server is where it was.
func (s *Server) Move(ctx context.Context, to Place) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := s.place
	if to.Address == from.Address {
		s.place = to
		return nil
	}
	old := s.open
	var next *Opening
	if to.Address.IsValid() {
		var err error
		next, err = s.listen(ctx, to.Address)
		if err != nil && old != nil && to.Address.Port() == from.Address.Port() {
			old.Leave()
			if next, err = s.listen(ctx, to.Address); err != nil {
				// If this fails, Run tries again.
				s.open, _ = s.listen(ctx, from.Address)
			}
		}
		if err != nil {
			return err
		}
	}
	s.place, s.open = to, next
	if old != nil {
		old.Leave()
	}
	select {
	case s.moved <- struct{}{}:
	default: // Run has a wake-up waiting
	}
	return nil
}

// finish ends what is served at once.
func (s *Server) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished = true
	if s.open != nil {
		s.open.Close()
	}
}

// listen begins to serve at an address; s.mu is held.
func (s *Server) listen(ctx context.Context, at netip.AddrPort) (*Opening, error) {
	if s.finished {
		return nil, errors.New("the server has ended")
	}
	address := at.String()
	if at.Addr().IsUnspecified() {
		address = net.JoinHostPort("", strconv.Itoa(int(at.Port()))) // of both families
	}
	o, err := Open(ctx, "tcp", address, s.New())
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", s.Field, at, err)
	}
	return o, nil
}
