package ipset

import "strings"

// A Verb is what an Op does, in the words of ipset restore.
type Verb string

// The verbs.
const (
	// Create makes an empty set; a set of that name must not be there.
	Create Verb = "create"
	// Add and Delete put entries into a set and take them out. An entry that is
	// there already, or is not there, is no error.
	Add    Verb = "add"
	Delete Verb = "del"
	// Swap gives two sets of the same type and family each other's name. Rules
	// keep to the name.
	Swap Verb = "swap"
	// Destroy removes a set, which nothing may refer to, with its entries. If it
	// is not there that is no error.
	Destroy Verb = "destroy"
)

// An Op is one change to the kernel's sets.
type Op struct {
	Verb Verb
	// Set says which set. Create uses all of it but the Entries, Add and Delete
	// its Name, Type and Entries, the others its Name.
	Set Set
	// Other is the second name of Swap.
	Other string
}

// String is what ipset restore reads: a line, or one for each entry.
func (o Op) String() string {
	var b strings.Builder
	switch o.Verb {
	case Create:
		o.Set.writeHeader(&b)
	case Add, Delete:
		o.Set.writeEntries(&b, string(o.Verb))
	case Swap:
		return "swap " + o.Set.Name + " " + o.Other + "\n"
	case Destroy:
		return "destroy " + o.Set.Name + "\n"
	}
	return b.String()
}

// Script is the Ops as ipset restore reads them. Unlike there, del does not mind
// entries that are not there.
func Script(ops []Op) string {
	var b strings.Builder
	for _, o := range ops {
		b.WriteString(o.String())
	}
	return b.String()
}
