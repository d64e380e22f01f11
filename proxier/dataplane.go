package proxier

import (
	"context"
	"time"
)

// A Dataplane brings one kind of kernel objects of one family into the shape a
// State asks for.
type Dataplane interface {
	// Name is short and fixed, such as "iptables".
	Name() string
	// Plan compares the kernel with the State. It reads and never writes.
	Plan(ctx context.Context, state *State) (Plan, error)
	// Forget makes the next Plan look at the kernel instead of remembering what
	// was written, because somebody else may have changed it.
	Forget()
}

// An Anticipator is a follower's Dataplane whose work may be overtaken: while it
// plans and applies for one State, the next comes into force.
type Anticipator interface {
	// Anticipate is called with each State before it comes into force, while
	// another goroutine may use the Dataplane.
	Anticipate(state *State)
}

// A Waker is a Dataplane that has work at times when no object changes, such as
// connections that have ended.
type Waker interface {
	// Wake receives when there is something to Plan.
	Wake() <-chan struct{}
}

// A Plan is what has to be done to the kernel, before it is done.
type Plan interface {
	// Empty reports whether the kernel is as it should be.
	Empty() bool
	// String is what Apply sends, word for word.
	String() string
	// Diff shows what would change, like diff -u.
	Diff() string
	// Summary counts the changes.
	Summary() Summary
	// Apply writes. What the kernel refuses because of one Service is set aside
	// and returned; the others are served. After an error the kernel may hold a
	// part of the plan; the next Plan finds out.
	Apply(ctx context.Context) ([]Refusal, error)
	// Findings are complete after Apply has succeeded.
	Findings() Findings
}

// Findings are what a Plan knows besides what it does. The zero value is that of a Plan
// that knows nothing.
type Findings struct {
	// Drift is whether somebody else has changed the kernel.
	Drift DriftFinding
	// Remembered means that the kernel was not looked at, for nothing has changed
	// that matters to the Plan.
	Remembered bool
	// Problems are those that only this node has, such as a Service that asks for
	// what the kernel lacks.
	Problems []Problem
	// Kept is what is ours and should go, but others use it, and who does as far as
	// that is known.
	Kept []string
	// Rules are one for each table, in a fixed order; none where there are no
	// tables.
	Rules []RuleCount
	// Drains is nil where nothing drains, ever.
	Drains *Drains
}

// A DriftFinding is what is known of drift after a look at the kernel.
type DriftFinding int

const (
	// DriftUnknown leaves it to the Reconciler: what the Plan does is drift, provided
	// that no object has changed.
	DriftUnknown DriftFinding = iota
	// DriftNone means that what the Plan does is due to objects, or to nothing but
	// time.
	DriftNone
	// DriftFound means that the kernel was not as it had been left, even where
	// objects have changed, too.
	DriftFound
)

// A Summary counts what a Plan changes.
type Summary struct {
	// Chains and Rules are those written; Deleted are chains removed.
	Chains, Rules, Deleted int
	// Bytes is the size of what is sent.
	Bytes int
	// Flows are tracked connections removed.
	Flows int
	// More is true for a part of what is to be done; another pass has to follow.
	More bool
}

// A RuleCount is the size of one table.
type RuleCount struct {
	// Table is its name, such as "nat".
	Table string
	// Total is the number of rules that are ours, Written of those that the plan
	// has sent.
	Total, Written int
}

// Drains counts endpoints that drain, which means that they get no new connections and
// keep those they have, and those that do so no more since the plan before. An endpoint
// counts once for each frontend.
type Drains struct {
	Draining int
	// Ended had no connections any more; TimedOut were given no more time;
	// Returned serve again; Deleted were of a frontend that is gone.
	Ended, TimedOut, Returned, Deleted int
}

// A Refusal is a Service port that the kernel does not take.
type Refusal struct {
	Target *Target
	// Err is what the kernel's tool said.
	Err error
}

// A Report says what one pass did.
type Report struct {
	Family    Family
	Dataplane string
	State     *State
	// Plan is nil if planning failed.
	Plan Plan
	// Findings are those of Plan.
	Findings Findings
	Refused  []Refusal
	Err      error
	Duration time.Duration
	// Planning is the part of Duration that Plan took.
	Planning time.Duration
	// Building is how long the State took, which is no part of Duration; only
	// the report of the pass's first dataplane has it.
	Building time.Duration
	// Compared means that the kernel itself was to be read, rather than what was
	// remembered of it.
	Compared bool
	// Last means that the pass ends here: with its last dataplane, or with one
	// that failed. Followers have no part in it.
	Last bool
	// Changes are those of the Store that the State holds.
	Changes Changes
	// DryRun means that the plan was not applied.
	DryRun bool
	// Following is true for one of the Followers; its State may be an earlier
	// one than that of the pass before.
	Following bool
	// Loss is set when nearly everything that was served before is not any more;
	// only the report of the pass's first dataplane has it.
	Loss *Loss
	// Drift means that somebody else wrote to the kernel, and Plan repairs it.
	Drift bool
	// Noticed tells how the drift was noticed, and who did it.
	Noticed []Drift
	// Feud is set as long as somebody keeps changing what is repaired.
	Feud *Feud
}

// A Reporter is told of every pass: it logs, counts, and keeps the status. Its
// calls do not overlap.
type Reporter interface {
	Synced(Report)
}
