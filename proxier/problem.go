package proxier

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// A Problem is something in an object that cannot be served as it is written.
// The rest of the object, and all others, are served.
type Problem struct {
	// Kind, Namespace and Name say which object: "Service", "EndpointSlice",
	// "Node"; or "Manifest" and a path, for text that cannot be
	// read as an object.
	Kind, Namespace, Name string
	// Where is the place the object was read from, such as
	// "web.yaml, document 2, line 14"; empty for objects of an API server.
	Where string
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
	if p.Where != "" {
		fmt.Fprintf(&b, " (%s)", printableText(p.Where))
	}
	return b.String()
}

// printableText quotes a text that could garble a line of output.
func printableText(s string) string {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	return s
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
