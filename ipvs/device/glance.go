package device

import "context"

// Glance returns what is different on kube-ipvs0 from what the last pass has left;
// nothing while it is being written. It is safe to call from any goroutine.
func (d *Dataplane) Glance(ctx context.Context) (different string, err error) {
	left := d.left.Load()
	if left == nil {
		return "", nil
	}
	now, err := d.kernel.kernel.List(ctx)
	if err != nil || d.left.Load() != left {
		return "", err
	}
	missing, extra := differences(now.BoundOf(d.family), *left)
	for _, addr := range append(missing, extra...) {
		return addr.String(), nil
	}
	return "", nil
}
