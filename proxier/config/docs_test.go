package config

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	logsapi "k8s.io/component-base/logs/api/v1"
)

// A documentedField is a row of a table of docs/config.md.
type documentedField struct {
	flags         []string
	value, reload string
}

// documented are the rows of docs/config.md, by field; and the flags that set
// none.
func documented(t *testing.T) (byField map[string]documentedField, flags []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	byField = map[string]documentedField{}
	code := regexp.MustCompile("`([^`]+)`")
	words := func(cell string) []string {
		var out []string
		for _, match := range code.FindAllStringSubmatch(cell, -1) {
			out = append(out, match[1])
		}
		return out
	}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		first := words(cells[0])
		switch {
		case strings.HasPrefix(first[0], "--") && len(cells) == 2:
			flags = append(flags, strings.TrimPrefix(first[0], "--"))
		case len(cells) == 5 && len(first) == 1:
			if _, twice := byField[first[0]]; twice {
				t.Errorf("%s stands twice in docs/config.md", first[0])
			}
			d := documentedField{reload: strings.TrimSpace(cells[4])}
			for _, flag := range words(cells[1]) {
				if name, ok := strings.CutPrefix(flag, "--"); ok {
					d.flags = append(d.flags, name)
				}
			}
			d.value = strings.Join(words(cells[2]), " ")
			if strings.TrimSpace(cells[3]) == "" {
				t.Errorf("%s: docs/config.md does not say what it does", first[0])
			}
			byField[first[0]] = d
		default:
			t.Errorf("docs/config.md: what is the row %q?", line)
		}
	}
	return byField, flags
}

// TestEveryFieldIsDocumented walks both documents' types, so that a field of a
// newer version is not forgotten; and the documentation, so that what is gone
// is gone there, too.
func TestEveryFieldIsDocumented(t *testing.T) {
	byField, _ := documented(t)
	c, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	flagsOf := map[string][]string{}
	for flag, path := range parse(t).fields {
		flagsOf[path] = append(flagsOf[path], flag)
	}
	known := map[string]bool{}
	check := func(path string, value reflect.Value) {
		known[path] = true
		d, ok := byField[path]
		if !ok {
			t.Errorf("%s is not in docs/config.md", path)
			return
		}
		if want := writtenDefault(value); d.value != want {
			t.Errorf("%s: docs/config.md has the default %q, it is %q", path, d.value, want)
		}
		slices.Sort(flagsOf[path])
		if diff := cmp.Diff(flagsOf[path], d.flags); diff != "" {
			t.Errorf("%s: its flags, and in docs/config.md (+):\n%s", path, diff)
		}
		_, inIPTables := whyWithoutEffect(path, ModeIPTables)
		_, inIPVS := whyWithoutEffect(path, ModeIPVS)
		if never := inIPTables && inIPVS; never != (d.reload == "-") {
			t.Errorf("%s: never has an effect: %t, but under reload docs/config.md has %q", path, never, d.reload)
		}
		if restart := needsRestart(path) != ""; restart != (d.reload == "restart") || !restart && d.reload != "live" && d.reload != "-" {
			t.Errorf("%s: needs a restart: %t, but under reload docs/config.md has %q", path, restart, d.reload)
		}
	}
	fields(c.effective, check)
	walkFields("", reflect.ValueOf(c.effectiveOwn).Elem(), check)
	for path := range byField {
		if !known[path] {
			t.Errorf("docs/config.md has %s, which is no field", path)
		}
	}
}

// writtenDefault is a value as the documentation has it: nothing for what is
// empty.
func writtenDefault(value reflect.Value) string {
	for value.Kind() == reflect.Pointer {
		if value.IsNil() {
			return ""
		}
		value = value.Elem()
	}
	text := fmt.Sprint(value.Interface())
	switch v := value.Interface().(type) {
	case metav1.Duration:
		text = v.Duration.String()
	case logsapi.TimeOrMetaDuration:
		text = v.Duration.Duration.String()
	case resource.QuantityValue:
		text = v.String()
	}
	if k := value.Kind(); (k == reflect.Slice || k == reflect.Map) && value.Len() == 0 {
		return ""
	}
	// 24h0m0s is written 24h.
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// TestEveryFlagIsDocumented covers the flags of this package that set no field;
// the others are in the rows of their fields.
func TestEveryFlagIsDocumented(t *testing.T) {
	_, flags := documented(t)
	f := parse(t)
	f.set.VisitAll(func(flag *pflag.Flag) {
		if _, ok := f.fields[flag.Name]; !ok && !slices.Contains(flags, flag.Name) {
			t.Errorf("--%s is not in docs/config.md", flag.Name)
		}
	})
	for _, flag := range flags {
		ofTheDaemon := slices.Contains([]string{"manifests", "dry-run", "version", "help"}, flag)
		if f.set.Lookup(flag) == nil && !ofTheDaemon {
			t.Errorf("docs/config.md has --%s, which is no flag", flag)
		}
	}
}
