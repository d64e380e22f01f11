package traffic

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A scripted source counts one connection of shop/a more in each reading.
type scripted struct {
	mu    sync.Mutex
	reads int
	takes time.Duration
	err   error
	told  []error // by the Poller
}

// now lets a test look at the script, or change it.
func (s *scripted) now(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

func (s *scripted) Read(ctx context.Context) (Reading, error) {
	var takes time.Duration
	var reads int
	var err error
	s.now(func() { s.reads++; takes, reads, err = s.takes, s.reads, s.err })
	select {
	case <-ctx.Done():
		return Reading{}, ctx.Err()
	case <-time.After(takes):
	}
	if err != nil {
		return Reading{}, err
	}
	return Reading{
		Counters: []Counter{{ID: ID{Name: "a"}, Counts: Counts{Connections: uint64(reads)}, Port: portName("a")}},
		Ports:    []Port{{portName("a"), 80}},
	}, nil
}

func (s *scripted) Volume() bool { return false }

// While one configuration follows another, somebody may ask a Poller that has ended,
// or wait for one that ends.
func TestNobodyWaitsForAPollerThatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &scripted{}
		p := NewPoller(source, 15*time.Second, 10)
		ctx, cancel := context.WithCancel(t.Context())
		go p.Run(ctx)
		synctest.Wait()
		ask(t, p)
		time.Sleep(time.Minute)
		source.now(func() { source.takes = time.Hour })
		time.AfterFunc(100*time.Millisecond, cancel)
		begin := time.Now()
		if got := ask(t, p); got != 1 || time.Since(begin) != 100*time.Millisecond {
			t.Errorf("%d connections after %v, want the 1 of before when the Poller ends", got, time.Since(begin))
		}
		time.Sleep(time.Minute)
		begin = time.Now()
		if got := ask(t, p); got != 1 || time.Since(begin) != 0 {
			t.Errorf("%d connections after %v, want the 1 of before at once", got, time.Since(begin))
		}
	})
}

// poll runs the test with a Poller of 15 s that has started, in a bubble of its
// own time.
func poll(t *testing.T, source *scripted, test func(*testing.T, *Poller)) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPoller(source, 15*time.Second, 10)
		p.Told = func(_ Totals, err error) { source.now(func() { source.told = append(source.told, err) }) }
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { p.Run(ctx); close(ended) }()
		synctest.Wait()
		test(t, p)
		cancel()
		<-ended
	})
}

// ask is one scrape; it returns the connections of shop/a.
func ask(t *testing.T, p *Poller) uint64 {
	t.Helper()
	p.Ask()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	totals, _, ok := p.Await(ctx)
	if !ok || len(totals.Ports) != 1 {
		t.Fatalf("the totals are %+v, there: %v", totals, ok)
	}
	return totals.Ports[0].Connections
}

// Who waits in vain for a lock, for 5 s, tries again soon.
func TestAReadingThatFailsLateIsRepeatedSoon(t *testing.T) {
	source := &scripted{}
	poll(t, source, func(t *testing.T, p *Poller) {
		time.Sleep(time.Minute)
		source.now(func() { source.takes, source.err = 5*time.Second, errors.New("no") })
		p.Ask()
		time.Sleep(6 * time.Second)
		source.now(func() { source.takes, source.err = 0, nil })
		time.Sleep(25 * time.Second)
		if got := ask(t, p); got != 2 {
			t.Errorf("%d connections 25 s after a failure, want 2", got)
		}
	})
}

func TestNothingIsReadUnlessAsked(t *testing.T) {
	source := &scripted{}
	poll(t, source, func(t *testing.T, p *Poller) {
		time.Sleep(time.Hour)
		synctest.Wait()
		source.now(func() {
			if source.reads != 1 {
				t.Errorf("%d readings in an hour in which nobody asked, want that of the start", source.reads)
			}
		})
		for i, want := range []uint64{1, 1, 2, 2, 3} { // each asks 8 s after the one before
			if got := ask(t, p); got != want {
				t.Errorf("asked %d times: %d connections, want %d", i+1, got, want)
			}
			time.Sleep(8 * time.Second)
		}
	})
}

func TestReadingTakesAHundredthOfTheTime(t *testing.T) {
	source := &scripted{takes: 3 * time.Second}
	poll(t, source, func(t *testing.T, p *Poller) {
		time.Sleep(time.Minute)
		for range 60 { // an hour
			p.Ask()
			time.Sleep(time.Minute)
		}
		source.now(func() {
			if got := source.reads - 1; got < 10 || got > 12 {
				t.Errorf("%d readings of 3 s in an hour, want one in five to six minutes", got)
			}
		})
	})
}

func TestWhoAsksDoesNotWaitForLong(t *testing.T) {
	source := &scripted{}
	poll(t, source, func(t *testing.T, p *Poller) {
		if got := ask(t, p); got != 1 {
			t.Errorf("%d connections, want 1", got)
		}
		source.now(func() { source.takes = 5 * time.Second })
		time.Sleep(time.Minute)
		begin := time.Now()
		if got := ask(t, p); got != 1 || time.Since(begin) != Patience {
			t.Errorf("%d connections after %s, want the 1 of before after %s", got, time.Since(begin), Patience)
		}
		time.Sleep(10 * time.Second)
		if got := ask(t, p); got != 2 {
			t.Errorf("%d connections, want 2", got)
		}
	})
}

func TestAReadingThatFails(t *testing.T) {
	source := &scripted{err: errors.New("no")}
	poll(t, source, func(t *testing.T, p *Poller) {
		if _, _, ok := p.Await(t.Context()); ok {
			t.Error("there are totals before anything was read")
		}
		time.Sleep(16 * time.Second)
		source.now(func() { source.err = nil }) // the third is the start: it was counted before
		time.Sleep(15 * time.Second)
		if got := ask(t, p); got != 1 {
			t.Errorf("%d connections, want 1", got)
		}
		source.now(func() { source.err = errors.New("no") })
		time.Sleep(time.Minute)
		if got := ask(t, p); got != 1 {
			t.Errorf("%d connections after a failure, want the 1 of before", got)
		}
		source.now(func() { source.err = nil })
		time.Sleep(time.Minute)
		if got := ask(t, p); got != 3 {
			t.Errorf("%d connections, want all 3", got)
		}
		var told []error
		source.now(func() { told = source.told })
		if len(told) != 5 || told[0] == nil || told[1] == nil || told[2] != nil || told[3] == nil || told[4] != nil {
			t.Errorf("it told of %v", told)
		}
	})
}

// Two sources count one after the other; where one fails there is no reading, for
// its counters would seem to have gone.
func TestBoth(t *testing.T) {
	good, bad := &scripted{}, &scripted{err: errors.New("no")}
	r, err := Both(good, &scripted{}).Read(t.Context())
	if err != nil || len(r.Counters) != 2 || len(r.Ports) != 1 {
		t.Errorf("got %+v, %v", r, err)
	}
	for _, s := range []Source{Both(good, bad), Both(bad, good)} {
		if _, err := s.Read(t.Context()); err == nil {
			t.Error("no error")
		}
	}
}
