package config

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
)

// A Change is a field that has another value than before.
type Change struct {
	// Field is its path in the file, such as "ipvs.scheduler".
	Field string
	// Old and New are the values as JSON.
	Old, New string
	// Restart says why the new value does not count before a restart; empty
	// where it counts at once.
	Restart string
}

// String is such as `mode: "iptables" becomes "ipvs"`.
func (c Change) String() string {
	return fmt.Sprintf("%s: %.120s becomes %.120s", c.Field, c.Old, c.New)
}

// needsRestart says which fields a running process does not change, and why; a
// path that ends in a dot stands for all fields below. All other fields take
// effect while it runs.
func needsRestart(path string) string {
	switch {
	case strings.HasPrefix(path, "clientConnection."):
		return "the connection to the API server is made at the start"
	case path == "hostnameOverride":
		return "the objects are chosen by the node's name at the start"
	case path == "logging.format":
		return "the log's format is chosen at the start"
	}
	return ""
}

// Succeed returns the configuration that follows c in the same process when next
// is asked for, and all changes between c and next: fields that need a restart
// stay as they are in c, all others are those of next. The node's name stays, too,
// where it is the host's. The error is for a next that does not go together with
// what has to stay.
func (c *Config) Succeed(next *Config) (*Config, []Change, error) {
	changes := c.changes(next)
	raw, own := next.effective.DeepCopy(), next.effectiveOwn.deepCopy()
	stays := c.effective.DeepCopy()
	kept := map[string]reflect.Value{}
	fields(stays, func(path string, value reflect.Value) { kept[path] = value })
	var staying []string
	for _, change := range changes {
		if change.Restart != "" {
			staying = append(staying, change.Field)
		}
	}
	fields(raw, func(path string, value reflect.Value) {
		if needsRestart(path) != "" {
			value.Set(kept[path])
		}
	})
	v := &validator{written: map[string]bool{}, flags: map[string]string{}}
	merged, _, err := v.result(v.config(raw, own, c.Client.Master, c.NodeName))
	if err != nil {
		return nil, changes, fmt.Errorf("while %s cannot change before a restart: %w", strings.Join(staying, ", "), err)
	}
	return merged, changes, nil
}

// changes are the fields in which next differs, those without an effect included.
func (c *Config) changes(next *Config) []Change {
	before := map[string]reflect.Value{}
	c.walk(func(path string, value reflect.Value) { before[path] = value })
	var changes []Change
	next.walk(func(path string, value reflect.Value) {
		if !equality.Semantic.DeepEqual(before[path].Interface(), value.Interface()) {
			changes = append(changes, Change{path, asJSON(before[path]), asJSON(value), needsRestart(path)})
		}
	})
	return changes
}

// walk calls yield with every field of both documents.
func (c *Config) walk(yield func(path string, value reflect.Value)) {
	fields(c.effective, yield)
	walkFields("", reflect.ValueOf(c.effectiveOwn).Elem(), yield)
}

func asJSON(value reflect.Value) string {
	text, err := json.Marshal(value.Interface())
	if err != nil {
		return fmt.Sprint(value.Interface())
	}
	return string(text)
}

// ServesLike reports whether c and other serve the same in the same way, so that
// they differ, if at all, in the log and in the program's own servers.
func (c *Config) ServesLike(other *Config) bool {
	return reflect.DeepEqual(c.serving(), other.serving())
}

// serving is c without what does not concern Services.
func (c *Config) serving() Config {
	s := *c
	s.Logging = Logging{}
	s.HealthzAddress, s.MetricsAddress = netip.AddrPort{}, netip.AddrPort{}
	s.BindAddressHardFail, s.Profiling = false, false
	s.ConfigSyncPeriod = 0 // it has no effect
	s.effective, s.effectiveOwn = nil, nil
	return s
}
