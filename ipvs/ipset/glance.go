package ipset

import "context"

// A Header is a set without its entries.
type Header struct {
	Name string
	Type Type
	// Entries is how many there are; -1 where that is not known.
	Entries int
}

// A HeaderLister is a Kernel that lists sets without their entries, at a cost
// that does not depend on how many these are.
type HeaderLister interface {
	Headers(ctx context.Context) ([]Header, error)
}

// Glance returns what is different about the sets' types and the numbers of
// their entries from what is remembered; nothing while they are being written,
// or where the Kernel is no HeaderLister. It is safe to call from any goroutine.
func (d *Sets) Glance(ctx context.Context) (different string, err error) {
	lister, ok := d.kernel.(HeaderLister)
	before, forgets := d.remembered()
	if !ok || before == nil {
		return "", nil
	}
	headers, err := lister.Headers(ctx)
	if err != nil {
		return "", err
	}
	if _, now := d.remembered(); now != forgets {
		return "", nil // it was written meanwhile
	}
	now := make(map[string]Header, len(headers))
	for _, h := range headers {
		now[h.Name] = h
	}
	for _, s := range before {
		switch h, found := now[s.Name]; {
		case !found:
			return s.Name + " is gone", nil
		case h.Type != s.Type || h.Entries >= 0 && h.Entries != len(s.Entries):
			return s.Name, nil
		}
	}
	return "", nil
}

func (d *Sets) remembered() (sets []Set, forgets int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.have, d.forgets
}
