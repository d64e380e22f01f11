package ipvs

import (
	"context"
	"fmt"
	"slices"
)

// Glance returns what is not in the kernel as it is remembered; nothing while it
// is being written. Virtual servers that are there besides are left to the next
// comparison. It is safe to call from any goroutine.
func (d *Dataplane) Glance(ctx context.Context) (different string, err error) {
	return d.glance((*VirtualServer).Equal, func() ([]*VirtualServer, error) {
		listing, err := d.kernel.List(ctx)
		return listing.Servers, err
	})
}

// GlanceServices does the same for a fraction of the cost, without looking at real
// servers.
func (d *Dataplane) GlanceServices(ctx context.Context) (different string, err error) {
	return d.glance((*VirtualServer).sameService, func() ([]*VirtualServer, error) { return d.kernel.ListServices(ctx) })
}

func (d *Dataplane) glance(equal func(v, w *VirtualServer) bool, list func() ([]*VirtualServer, error)) (different string, err error) {
	believed := d.believed()
	if believed == nil {
		return "", nil
	}
	there, err := list()
	if err != nil {
		return "", fmt.Errorf("list virtual servers: %w", err)
	}
	if d.believed() != believed {
		return "", nil // it was written meanwhile
	}
	for _, v := range *believed {
		i, found := slices.BinarySearchFunc(there, v, func(a, b *VirtualServer) int { return a.Compare(b.Place) })
		switch {
		case !found:
			return v.Place.String() + " is gone", nil
		case !equal(v, there[i]):
			return v.Place.String(), nil
		}
	}
	return "", nil
}

func (d *Dataplane) believed() *[]*VirtualServer {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.have
}
