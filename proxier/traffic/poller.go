package traffic

import (
	"context"
	"sync"
	"time"
)

// share bounds what reading costs: at most a hundredth of the time.
const share = 100

// shareOfFailures is the same for readings that fail: a fifth.
const shareOfFailures = 5

// Patience is how long who asks should wait for readings that take long, for all of
// them together.
const Patience = time.Second

// A Poller makes readings of one Source when somebody asks, but not more often
// than Interval and not more than a hundredth of the time. Where nobody asks,
// nothing is read, but once at the start.
type Poller struct {
	Source Source
	// Interval lies at least between two readings.
	Interval time.Duration
	// Told, if set, is told of each reading: of what failed, or else what the
	// totals are. Its calls do not overlap.
	Told func(Totals, error)

	meter *Meter
	asked chan struct{}

	mu      sync.Mutex
	due     time.Time     // when the next reading may begin
	reading chan struct{} // closed when the reading that was asked for has ended
	ended   bool          // whether there will be no more
	totals  *Totals
	at      time.Time
}

// NewPoller makes a Poller that shows at most that many Services by name.
func NewPoller(source Source, interval time.Duration, maxServices int) *Poller {
	return &Poller{
		Source: source, Interval: interval,
		meter: NewMeter(maxServices), asked: make(chan struct{}, 1),
	}
}

// Run makes readings until ctx ends. The first is made at once: what the kernel
// has counted by then is not counted here.
func (p *Poller) Run(ctx context.Context) {
	defer p.end()
	if !p.start(ctx) {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.asked:
		}
		reading, wait, err := p.read(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			p.meter.Add(reading)
		}
		p.done(err, wait)
	}
}

// start makes the first reading; false when ctx ends before one succeeds.
func (p *Poller) start(ctx context.Context) bool {
	for {
		reading, wait, err := p.read(ctx)
		if ctx.Err() != nil {
			return false
		}
		if err == nil {
			p.meter.Start(reading)
			return true
		}
		p.done(err, wait)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(wait):
		}
	}
}

// read also says how long to wait until the next reading may begin. One that failed
// has spent its time waiting rather than working, for a lock that others have.
func (p *Poller) read(ctx context.Context) (Reading, time.Duration, error) {
	begin := time.Now()
	reading, err := p.Source.Read(ctx)
	times := time.Duration(share)
	if err != nil {
		times = shareOfFailures
	}
	return reading, max(p.Interval, times*time.Since(begin)), err
}

// done shows what a reading has brought.
func (p *Poller) done(err error, wait time.Duration) {
	totals := p.meter.Totals()
	p.mu.Lock()
	now := time.Now()
	p.due = now.Add(wait)
	if err == nil {
		p.totals, p.at = &totals, now
	}
	p.release()
	p.mu.Unlock()
	if p.Told != nil {
		p.Told(totals, err)
	}
}

// release is for those who wait for a reading. p.mu is held.
func (p *Poller) release() {
	if p.reading != nil {
		close(p.reading)
		p.reading = nil
	}
}

// end lets nobody wait for a reading that will not come.
func (p *Poller) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.release()
}

// Ask asks for a reading, if one is due.
func (p *Poller) Ask() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || p.reading != nil || time.Now().Before(p.due) {
		return
	}
	p.reading = make(chan struct{})
	select {
	case p.asked <- struct{}{}:
	default: // one is about to begin
	}
}

// Await waits for the reading that was asked for, if there is one, until ctx ends,
// and returns the totals of the last and when it was; false while there was none.
func (p *Poller) Await(ctx context.Context) (Totals, time.Time, bool) {
	p.mu.Lock()
	reading := p.reading
	p.mu.Unlock()
	if reading != nil {
		select {
		case <-reading:
		case <-ctx.Done():
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.totals == nil {
		return Totals{}, time.Time{}, false
	}
	return *p.totals, p.at, true
}

// Volume reports whether packets and bytes are counted, beside connections.
func (p *Poller) Volume() bool { return p.Source.Volume() }
