package ipset

import (
	"context"
	"errors"
)

// Kernel is the way to the real sets of one network namespace. All reads and
// writes of the dataplanes go through it.
type Kernel interface {
	// List returns all sets, of both families and of strangers as well, sorted
	// by name. Entries are there for those that are ours by name and of a type
	// we know.
	List(ctx context.Context) ([]Set, error)
	// Do makes the changes in order, up to the first that fails; of that one a
	// part may have been done. The error wraps one of those below where it fits.
	Do(ctx context.Context, ops []Op) error
}

// What the kernel does not do.
var (
	// ErrReferenced is of a set that rules or other sets use: it cannot be
	// destroyed.
	ErrReferenced = errors.New("rules refer to the set")
	// ErrFull is of a set that has MaxElem entries.
	ErrFull = errors.New("the set is full")
	// ErrExists is of a set to be created that is there already.
	ErrExists = errors.New("a set of this name exists")
	// ErrMissing is of a set that is not there.
	ErrMissing = errors.New("there is no such set")
	// ErrMismatch is of sets that cannot be swapped, being of different types.
	ErrMismatch = errors.New("the sets have different types")
)
