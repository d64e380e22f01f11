package proxier

// A Progress is told when passes over a family are due and how they end, so that
// somebody else sees when they fail or stall. The calls for one family do not
// overlap. They are made between the passes and delay the next one.
type Progress interface {
	// Due says that a pass is to be made: an object has changed, or the kernel is
	// to be compared. Further calls may come before Done.
	Due(family Family)
	// Done says that a pass has ended. Without an error the kernel has what state
	// asks for, but for what it refused, and nothing of what was due before remains
	// to be done. With one, it remains due.
	Done(state *State, refused []Refusal, err error)
}
