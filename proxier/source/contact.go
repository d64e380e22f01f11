package source

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/klog/v2"
)

// lostAfter is how long requests fail before the log says so: a server that is
// restarted, or whose place another one takes, is away for less.
const lostAfter = 30 * time.Second

// A Contact is whether the API server answers. client-go tries again and again
// without a word while connections are refused, so that a node which has lost its
// server looked like one that has nothing to do. The zero Contact is ready for use,
// by several goroutines.
type Contact struct {
	mu sync.Mutex
	// failing are the kinds whose last request failed, and why.
	failing map[string]error
	// since is when the first of them did.
	since time.Time
	// following is whether all objects were there once. Before that somebody else
	// tells what is waited for.
	following bool
	patience  *time.Timer
	told      bool
}

// Lost is since when requests have failed of at least one kind, and how the last
// ones did, by kind; zero and empty while all are answered.
func (c *Contact) Lost() (since time.Time, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.since, c.why()
}

func (c *Contact) why() string {
	var all []string
	for kind, err := range c.failing {
		all = append(all, kind+": "+err.Error())
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

// follow lets the log tell from now on.
func (c *Contact) follow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.following = true
}

// note takes in how a request for a kind ended. One that was given up says nothing.
func (c *Contact) note(ctx context.Context, kind string, err error) {
	if ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.fails(ctx, kind, err)
		return
	}
	delete(c.failing, kind)
	if len(c.failing) == 0 && !c.since.IsZero() {
		c.answers(ctx)
	}
}

func (c *Contact) fails(ctx context.Context, kind string, err error) {
	if c.since.IsZero() {
		c.failing, c.since = map[string]error{}, time.Now()
		if c.following {
			c.patience = time.AfterFunc(lostAfter, func() { c.tell(ctx) })
		}
	}
	c.failing[kind] = err
}

func (c *Contact) answers(ctx context.Context) {
	if c.patience != nil {
		c.patience.Stop()
	}
	if c.told {
		klog.FromContext(ctx).Info("The API server answers again", "away", time.Since(c.since).Round(time.Second))
	}
	c.since, c.patience, c.told = time.Time{}, nil, false
}

// tell says once that the server is lost, if it still is.
func (c *Contact) tell(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.since.IsZero() || ctx.Err() != nil {
		return
	}
	c.told = true
	klog.FromContext(ctx).Info("The API server does not answer; what is known stays in force, and no change is followed until it does",
		"since", c.since, "reason", c.why())
}
