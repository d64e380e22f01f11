package conntrack

import (
	"context"
	"errors"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// A Kernel is the table of tracked connections. It is used by one goroutine at a
// time.
type Kernel interface {
	// Flows calls yield with each UDP flow of the family, and stops when that
	// returns false. The Flow is overwritten by the next. Other protocols' flows
	// may be among them. ErrInterrupted says that some may be missing.
	Flows(ctx context.Context, family proxier.Family, yield func(*Flow) bool) error
	// Delete removes flows. One that is gone by now counts as removed.
	Delete(ctx context.Context, family proxier.Family, flows []Stale) error
}

// ErrInterrupted means that the table changed while it was read, or was read
// too slowly, so that flows may be missing.
var ErrInterrupted = errors.New("the table of connections changed while it was read")
