package iptables_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// Names come from files and must not be able to add, end or change a line of
// what is sent to iptables-restore.
func FuzzNamesCannotInjectRules(f *testing.F) {
	for _, name := range []string{
		"web", "", "a b", `"`, `\`, `x" -j ACCEPT`, "x\nCOMMIT", "x\r\n*filter\n-F", "'; reboot #", "\x00", "näme",
		strings.Repeat("long", 200), strings.Repeat(`\"`, 200), "-j KUBE-SERVICES", "%s%n",
	} {
		f.Add(name, name)
	}
	plain := rulesFor(f, "web", "http")
	f.Fuzz(func(t *testing.T, service, port string) {
		if service == "" || strings.ContainsAny(service, "/:") {
			return // belongs to no EndpointSlice, or is refused as a name
		}
		got := rulesFor(t, service, port)
		if len(got.Tables) != len(plain.Tables) {
			t.Fatalf("%d tables", len(got.Tables))
		}
		for i, table := range got.Tables {
			if got, want := table.RuleCount(), plain.Tables[i].RuleCount(); got != want {
				t.Errorf("table %s has %d rules, want %d as with a plain name", table.Name, got, want)
			}
		}
		again, err := iptables.ParseSave(got.String())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, again); diff != "" {
			t.Errorf("what is rendered reads back differently:\n%s", diff)
		}
		for line := range strings.Lines(got.String()) {
			if n := strings.Count(line, " -j "); strings.HasPrefix(line, "-A") && n != 1+strings.Count(quoted(line), " -j ") {
				t.Errorf("%q has %d targets", line, n)
			}
			if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return r < 0x20 || r > 0x7e }) {
				t.Errorf("%q is not printable", line)
			}
		}
		trace(t, got) // reads every rule strictly
	})
}

// quoted is the part of a line within quotes.
func quoted(line string) string {
	var b strings.Builder
	inside := false
	for i := 0; i < len(line); i++ {
		switch {
		case line[i] == '\\' && inside:
			i++
		case line[i] == '"':
			inside = !inside
		case inside:
			b.WriteByte(line[i])
		}
	}
	return b.String()
}

func rulesFor(t testing.TB, service, port string) iptables.Ruleset {
	t.Helper()
	store := proxier.NewStore()
	for i, name := range []string{service, "other"} {
		s, slice := clustergen.Service(i), clustergen.Slice(i, proxier.IPv4, 2, 0)
		s.Namespace, slice.Namespace = "ns", "ns"
		s.Name, slice.Labels["kubernetes.io/service-name"] = name, name
		s.Spec.Ports[0].Name, slice.Ports[0].Name = port, &port
		s.Spec.Ports[0].NodePort = int32(30000 + i)
		if i == 0 && service == "other" {
			s.Name, slice.Labels["kubernetes.io/service-name"] = "another", "another"
		}
		store.SetService(s)
		if i == 0 {
			store.SetEndpointSlice(slice)
		}
	}
	return iptables.Compile(nil, build(t, store), config.Options).Ruleset
}

// Whatever iptables-save may print, reading it never panics, and what is read
// is rendered and read again as the same.
func FuzzParseSave(f *testing.F) {
	f.Add(rulesFor(f, "web", "http").String())
	f.Add("*nat\n:A - [1:2]\n[3:4] -A A -j B\nCOMMIT\n")
	f.Add("*nat\n-A A\nCOMMIT\n")
	f.Add("# comment\n*\n")
	f.Fuzz(func(t *testing.T, text string) {
		rs, err := iptables.ParseSave(text)
		if err != nil {
			return
		}
		again, err := iptables.ParseSave(rs.String())
		if err != nil {
			t.Fatalf("%v in\n%s", err, rs)
		}
		if again.String() != rs.String() {
			t.Errorf("read again:\n%s\nwant:\n%s", again, rs)
		}
		iptables.Diff(iptables.Observe(rs), iptables.Ruleset{}, 1)
	})
}
