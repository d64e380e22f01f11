package device

import (
	"context"
	"sync"
)

// Cached remembers what a Kernel has listed and what it has done since, for all
// who look at addresses in each pass. It is forgotten on a failure, by Forget,
// and by whoever receives from Watch. It is safe for use by several goroutines.
type Cached struct {
	kernel Kernel

	mu   sync.Mutex
	host *Host
	// forgets counts the calls of Forget, so that one during a List or Do is not
	// lost.
	forgets int
}

// NewCached returns a Kernel that remembers.
func NewCached(kernel Kernel) *Cached { return &Cached{kernel: kernel} }

// Forget makes the next List ask the kernel.
func (c *Cached) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.host = nil
	c.forgets++
}

// List returns what is there, from memory where that is good.
func (c *Cached) List(ctx context.Context) (Host, error) {
	c.mu.Lock()
	host, forgets := c.host, c.forgets
	c.mu.Unlock()
	if host != nil {
		return *host, nil
	}
	listed, err := c.kernel.List(ctx)
	if err != nil {
		return Host{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.forgets == forgets {
		c.host = &listed
	}
	return listed, nil
}

// Do makes the changes, and remembers them. Two that change at the same time
// forget instead, for the order is not known; and so does who lists meanwhile, who
// may have seen a part.
func (c *Cached) Do(ctx context.Context, ops []Op) error {
	c.mu.Lock()
	before := c.host
	c.host = nil // until all Ops are through, nobody knows
	c.forgets++
	forgets := c.forgets
	c.mu.Unlock()
	err := c.kernel.Do(ctx, ops)
	c.mu.Lock()
	defer c.mu.Unlock()
	alone := c.forgets == forgets
	c.host = nil
	c.forgets++
	if err == nil && before != nil && alone {
		after := before.After(ops)
		c.host = &after
	}
	return err
}
