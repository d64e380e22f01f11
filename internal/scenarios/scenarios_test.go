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
	"github.com/kube-proxier/kube-proxier/iptables/tracer/packets"
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
	fresh, next := rendersRules(s)
	checkShuffled(t, s, family, fresh)
	checkIncremental(t, s, family, fresh, next)
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
		checkCase(t, what, c, tr)
	}
}

// checkCase sends a packet.
func checkCase(t *testing.T, what string, c packets.Case, tr *tracer.Tracer) {
	t.Helper()
	if err := c.Check(tr); err != nil {
		t.Errorf("%s%v", what, err)
		return
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

// A rendering prints what is made of a State: each time from nothing, or on top of
// the State before.
type rendering func(state *proxier.State) string

// rendersRules returns both for the rules.
func rendersRules(s *Scenario) (fresh, next rendering) {
	options := s.IPTablesOptions(iptables.AllFeatures())
	text := func(state *proxier.State, c *iptables.Compiled) string { return state.String() + c.Ruleset.String() }
	var compiled *iptables.Compiled
	fresh = func(state *proxier.State) string { return text(state, iptables.Compile(nil, state, options)) }
	next = func(state *proxier.State) string {
		compiled = iptables.Compile(compiled, state, options)
		return text(state, compiled)
	}
	return fresh, next
}

// checkShuffled gives the objects in other orders.
func checkShuffled(t *testing.T, s *Scenario, family proxier.Family, fresh rendering) {
	t.Helper()
	want := fresh(s.State(family))
	random := rand.New(rand.NewPCG(1, 2))
	for range 3 {
		objects := *s.Objects
		objects.Services = shuffled(random, objects.Services)
		objects.EndpointSlices = shuffled(random, objects.EndpointSlices)
		again := proxier.Build(nil, snapshot(&objects), s.Config.Options(family))
		if diff := cmp.Diff(want, fresh(again)); diff != "" {
			t.Fatalf("another order of the objects gives something else:\n%s", diff)
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
func checkIncremental(t *testing.T, s *Scenario, family proxier.Family, fresh, next rendering) {
	t.Helper()
	var state *proxier.State
	var now string
	store := proxier.NewStore()
	store.SetNode(s.Objects.Node)
	step := func() {
		state = proxier.Build(state, store.Snapshot(), s.Config.Options(family))
		now = next(state)
	}
	step()
	idle := now
	for _, object := range s.Objects.EndpointSlices {
		store.SetEndpointSlice(object)
		step()
	}
	for _, object := range s.Objects.Services {
		store.SetService(object)
		step()
	}
	for _, object := range s.Objects.OtherNodes {
		store.SetOtherNode(object)
		step()
	}
	if diff := cmp.Diff(fresh(s.State(family)), now); diff != "" {
		t.Errorf("objects that come one by one give something else (- at once, + one by one):\n%s", diff)
	}
	for _, object := range s.Objects.EndpointSlices {
		store.DeleteEndpointSlice(nameOf(object))
		step()
	}
	for _, object := range s.Objects.Services {
		store.DeleteService(nameOf(object))
		step()
	}
	for _, object := range s.Objects.OtherNodes {
		store.DeleteOtherNode(object.Name)
		step()
	}
	if diff := cmp.Diff(idle, now); diff != "" {
		t.Errorf("something stays after all objects are gone:\n%s", diff)
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
