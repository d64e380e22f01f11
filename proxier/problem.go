package proxier

import (
	"fmt"
	"strings"
)

// A Problem is something in an object that cannot be served as it is written.
// The rest of the object, and all others, are served.
type Problem struct {
	// Kind, Namespace and Name say which object: "Service", "EndpointSlice" or "Node".
	Kind, Namespace, Name string
	// Field is the path in the object, such as spec.ports[0].port.
	Field string
	// Value is the offending value as it stands there.
	Value string
	// Reason says what is wrong with it, what is allowed, and what happens.
	Reason string
}

// String is one line, safe to print: values are quoted.
func (p Problem) String() string {
	object := p.Name
	if p.Namespace != "" {
		object = p.Namespace + "/" + p.Name
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: ", p.Kind, printable(object))
	if p.Field != "" {
		b.WriteString(p.Field)
		if p.Value != "" {
			fmt.Fprintf(&b, " %.120q", p.Value)
		}
		b.WriteString(": ")
	}
	b.WriteString(p.Reason)
	return b.String()
}

// printable quotes a name that could garble a line of output.
func printable(s string) string {
	for _, r := range s {
		if r < 0x21 || r > 0x7e {
			return fmt.Sprintf("%.120q", s)
		}
	}
	return s
}
