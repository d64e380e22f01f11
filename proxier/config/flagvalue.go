package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

func (r registrar) string(name, path string, field *string, usage string) {
	r.set.StringVar(field, name, *field, usage)
	r.fields[name] = path
}

func (r registrar) strings(name, path string, field *[]string, usage string) {
	r.set.StringSliceVar(field, name, *field, usage)
	r.fields[name] = path
}

func (r registrar) bool(name, path string, field *bool, usage string) {
	r.set.BoolVar(field, name, *field, usage)
	r.fields[name] = path
}

func (r registrar) int32(name, path string, field *int32, usage string) {
	r.set.Int32Var(field, name, *field, usage)
	r.fields[name] = path
}

func (r registrar) duration(name, path string, field *time.Duration, usage string) {
	r.set.DurationVar(field, name, *field, usage)
	r.fields[name] = path
}

func (r registrar) value(name, path string, field pflag.Value, usage string) {
	r.set.Var(field, name, usage)
	r.fields[name] = path
}

// text is a field whose type is a kind of string.
type text[T ~string] struct{ field *T }

// String implements pflag.Value.
func (t text[T]) String() string {
	if t.field == nil {
		return "" // pflag asks a zero value, to know what is no default
	}
	return string(*t.field)
}

// Set implements pflag.Value.
func (t text[T]) Set(s string) error {
	*t.field = T(s)
	return nil
}

// Type implements pflag.Value.
func (text[T]) Type() string { return "string" }

// gateList is a map of feature gates, written A=true,B=false.
type gateList map[string]bool

// String implements pflag.Value; names are sorted.
func (g *gateList) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(*g)) {
		parts = append(parts, fmt.Sprintf("%s=%t", name, (*g)[name]))
	}
	return strings.Join(parts, ",")
}

// Set implements pflag.Value; each use of the flag adds to the map.
func (g *gateList) Set(s string) error {
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		on, err := strconv.ParseBool(strings.TrimSpace(value))
		if err != nil {
			return fmt.Errorf("%q: must be a gate's name, =, and true or false", part)
		}
		if *g == nil {
			*g = gateList{}
		}
		(*g)[strings.TrimSpace(name)] = on
	}
	return nil
}

// Type implements pflag.Value.
func (g *gateList) Type() string { return "gates" }
