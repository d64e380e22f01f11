package device

import (
	"context"
)

// Glance returns what is different on kube-ipvs0 from what is remembered;
// nothing while it is being written. It is safe to call from any goroutine.
func (d *Dataplane) Glance(ctx context.Context) (different string, err error) {
	believed := d.kernel.remembered()
	if believed == nil {
		return "", nil
	}
	now, err := d.kernel.kernel.List(ctx)
	if err != nil || d.kernel.remembered() != believed {
		return "", err
	}
	missing, extra := differences(now.BoundOf(d.family), believed.BoundOf(d.family))
	for _, addr := range append(missing, extra...) {
		return addr.String(), nil
	}
	return "", nil
}

// remembered is nil when nobody knows.
func (c *Cached) remembered() *Host {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.host
}
