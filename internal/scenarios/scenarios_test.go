package scenarios

import (
	"flag"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/tracer"
	"github.com/kube-proxier/kube-proxier/proxier"
)

const folder = "../../testdata/scenarios"

var update = flag.Bool("update", false, "rewrite the golden sections of the scenarios")

// maxWalk is how many rules a packet may meet, whatever is served.
const maxWalk = 100

func TestScenarios(t *testing.T) {
	for _, path := range scenarioPaths(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			s, err := Load(path)
			if err != nil {
				t.Fatal(err)
			}
			golden := s.Golden()
			if *update {
				if err := s.Update(golden); err != nil {
					t.Fatal(err)
				}
			} else {
				for _, name := range goldens() {
					if diff := cmp.Diff(s.section(name), golden[name]); diff != "" {
						t.Errorf("section %s (- file, + program; -update writes it):\n%s", name, diff)
					}
				}
			}
			for _, family := range proxier.Families {
				t.Run(string(family), func(t *testing.T) { checkFamily(t, s, family) })
			}
		})
	}
}

func checkFamily(t *testing.T, s *Scenario, family proxier.Family) {
	fallback := iptables.AllFeatures()
	fallback.BPF = false // a hairpin rule for each endpoint
	for _, kernel := range []struct {
		name     string
		features iptables.Features
	}{{"", iptables.AllFeatures()}, {"without xt_bpf: ", fallback}} {
		rules := s.IPTables(family, kernel.features)
		checkPackets(t, kernel.name, s, family, rules)
		checkParse(t, kernel.name, rules)
	}
	checkShuffled(t, s, family)
	checkIncremental(t, s, family)
}

// checkPackets sends the packets through the rules.
func checkPackets(t *testing.T, what string, s *Scenario, family proxier.Family, rules iptables.Ruleset) {
	t.Helper()
	tr, err := tracer.New(rules, tracer.Host{Addresses: s.Addresses()})
	if err != nil {
		t.Fatalf("%s%v", what, err)
	}
	cases, err := s.Cases(family)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if err := c.Check(tr); err != nil {
			t.Errorf("%s%v", what, err)
			continue
		}
		result, err := tr.Trace(c.Packet)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range result.Outcomes {
			if o.RulesWalked >= maxWalk {
				t.Errorf("%spackets, line %d, %q: walks %d rules, want fewer than %d", what, c.Line, c.Text, o.RulesWalked, maxWalk)
			}
		}
	}
}

// checkParse reads the printed rules back.
func checkParse(t *testing.T, what string, rules iptables.Ruleset) {
	t.Helper()
	parsed, err := iptables.ParseSave(rules.String())
	if err != nil {
		t.Fatalf("%s%v", what, err)
	}
	if diff := cmp.Diff(rules, parsed, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%srules, printed and read back (- printed, + read):\n%s", what, diff)
	}
}

// checkShuffled gives the objects in other orders.
func checkShuffled(t *testing.T, s *Scenario, family proxier.Family) {
	t.Helper()
	state, rules := s.State(family).String(), s.IPTables(family, iptables.AllFeatures()).String()
	random := rand.New(rand.NewPCG(1, 2))
	for range 3 {
		objects := *s.Objects
		objects.Services = shuffled(random, objects.Services)
		objects.EndpointSlices = shuffled(random, objects.EndpointSlices)
		again := proxier.Build(nil, snapshot(&objects), s.Config.Options(family))
		if diff := cmp.Diff(state, again.String()); diff != "" {
			t.Fatalf("another order of the objects gives another State:\n%s", diff)
		}
		if diff := cmp.Diff(rules, iptables.Compile(nil, again, s.IPTablesOptions(iptables.AllFeatures())).Ruleset.String()); diff != "" {
			t.Fatalf("another order of the objects gives other rules:\n%s", diff)
		}
	}
}

func shuffled[T any](random *rand.Rand, list []T) []T {
	list = slices.Clone(list)
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// checkIncremental adds the objects one by one, and removes them again: every
// step builds on the last one, and history must leave no trace.
func checkIncremental(t *testing.T, s *Scenario, family proxier.Family) {
	t.Helper()
	options := s.IPTablesOptions(iptables.AllFeatures())
	var state *proxier.State
	var compiled *iptables.Compiled
	store := proxier.NewStore()
	store.SetNode(s.Objects.Node)
	step := func() {
		state = proxier.Build(state, store.Snapshot(), s.Config.Options(family))
		compiled = iptables.Compile(compiled, state, options)
	}
	step()
	idle := compiled.Ruleset.String()
	for _, object := range s.Objects.EndpointSlices {
		store.SetEndpointSlice(object)
		step()
	}
	for _, object := range s.Objects.Services {
		store.SetService(object)
		step()
	}
	fresh := s.State(family)
	if diff := cmp.Diff(fresh.String(), state.String()); diff != "" {
		t.Errorf("objects that come one by one give another State (- at once, + one by one):\n%s", diff)
	}
	if diff := cmp.Diff(iptables.Compile(nil, fresh, options).Ruleset.String(), compiled.Ruleset.String()); diff != "" {
		t.Errorf("objects that come one by one give other rules (- at once, + one by one):\n%s", diff)
	}
	for _, object := range s.Objects.EndpointSlices {
		store.DeleteEndpointSlice(nameOf(object))
		step()
	}
	for _, object := range s.Objects.Services {
		store.DeleteService(nameOf(object))
		step()
	}
	if diff := cmp.Diff(idle, compiled.Ruleset.String()); diff != "" {
		t.Errorf("rules stay after all objects are gone:\n%s", diff)
	}
}

// TestCollection checks what makes the files a collection: there are enough of
// them, and each has a name, a table of packets, and objects of its own.
func TestCollection(t *testing.T) {
	const enough = 120
	paths := scenarioPaths(t)
	if len(paths) < enough {
		t.Errorf("there are %d scenarios, want at least %d", len(paths), enough)
	}
	byObjects := map[string]string{}
	for _, path := range paths {
		s, err := Load(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if !regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)+$`).MatchString(s.Name) {
			t.Errorf("%s: want a name of lower-case words with hyphens", path)
		}
		cases := 0
		for _, family := range proxier.Families {
			c, err := s.Cases(family)
			if err != nil {
				t.Fatal(err)
			}
			cases += len(c)
		}
		if cases < 3 {
			t.Errorf("%s has %d packets, want at least 3", path, cases)
		}
		objects := normalised(t, s.section(sectionObjects))
		if other := byObjects[objects]; other != "" {
			t.Errorf("%s has the same objects as %s", path, other)
		}
		byObjects[objects] = path
	}
}

func scenarioPaths(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Fatalf("there is no scenario in %s", folder)
	}
	return paths
}

// normalised is the objects without comments and without what layout adds; as
// written where they are not all YAML.
func normalised(t *testing.T, objects string) string {
	t.Helper()
	var all strings.Builder
	for document := range strings.SplitSeq(objects, "\n---\n") {
		plain, err := yaml.YAMLToJSON([]byte(document))
		if err != nil {
			return objects
		}
		all.Write(plain)
	}
	return all.String()
}

func nameOf(object metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}
}
