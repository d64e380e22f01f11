package scenarios

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"
	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/iptables/tracer/packets"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
	"github.com/kube-proxier/kube-proxier/proxier/source"
)

// A Scenario is one file of testdata/scenarios.
type Scenario struct {
	// Name is the file's name without .txtar, Path where it was read.
	Name, Path string
	// Prose says what the scenario shows.
	Prose  string
	Config *config.Config
	// ConfigFile is the file that Config was read from, as one would write it.
	ConfigFile string
	// Objects have a Node in any case; Problems are those of reading them.
	Objects  *source.Objects
	Problems []proxier.Problem
	// Devices are the addresses of the node's devices, where the file says them.
	Devices []netip.Addr
	// Packets is the packet table, of both families.
	Packets string

	archive *txtar.Archive
}

// The sections written by hand.
const (
	sectionConfig  = "config.yaml"
	sectionObjects = "objects.yaml"
	sectionDevices = "devices"
	sectionPackets = "packets"
)

func handWritten() []string {
	return []string{sectionConfig, sectionObjects, sectionDevices, sectionPackets}
}

// sectionProblems, and those of goldens, are what the program makes of them.
const sectionProblems = "problems"

func goldens() []string {
	return []string{sectionProblems, "state.v4", "state.v6", "iptables.v4", "iptables.v6", "ipvs.v4", "ipvs.v6"}
}

// LoadAll reads all scenarios of a folder, in the order of their names. An
// error names the file and the section.
func LoadAll(folder string) ([]*Scenario, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.txtar"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("there is no scenario in %s", folder)
	}
	all := make([]*Scenario, len(paths))
	for i, path := range paths {
		if all[i], err = Load(path); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Load reads one scenario.
func Load(path string) (*Scenario, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, text)
}

// Parse reads the text of a scenario; path is for its name and for errors.
func Parse(path string, text []byte) (*Scenario, error) {
	archive := txtar.Parse(text)
	s := &Scenario{
		Name: strings.TrimSuffix(filepath.Base(path), ".txtar"), Path: path,
		Prose: strings.TrimSpace(string(archive.Comment)), archive: archive,
	}
	if err := s.read(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func (s *Scenario) read() error {
	if s.Prose == "" {
		return fmt.Errorf("the paragraph before the sections is missing")
	}
	known := append(handWritten(), goldens()...)
	seen := map[string]bool{}
	for _, f := range s.archive.Files {
		switch {
		case !slices.Contains(known, f.Name):
			return fmt.Errorf("section %q: want one of %s", f.Name, strings.Join(known, ", "))
		case seen[f.Name]:
			return fmt.Errorf("section %s stands twice", f.Name)
		}
		seen[f.Name] = true
	}
	for _, required := range []string{sectionObjects, sectionPackets} {
		if s.section(required) == "" {
			return fmt.Errorf("section %s is missing", required)
		}
	}
	var err error
	if s.ConfigFile, s.Config, err = readConfig(s.section(sectionConfig)); err != nil {
		return fmt.Errorf("%s: %w", sectionConfig, err)
	}
	manifests := source.Manifests{
		Path: source.Stdin, In: strings.NewReader(s.section(sectionObjects)), NodeName: s.Config.NodeName,
	}
	if s.Objects, s.Problems, err = manifests.Load(); err != nil {
		return fmt.Errorf("%s: %w", sectionObjects, err)
	}
	if s.Objects.Node == nil {
		s.Objects.Node = standardNode()
	}
	for _, word := range strings.Fields(s.section(sectionDevices)) {
		addr, err := netip.ParseAddr(word)
		if err != nil {
			return fmt.Errorf("%s: %q is not an address", sectionDevices, word)
		}
		s.Devices = append(s.Devices, addr)
	}
	s.Packets = s.section(sectionPackets)
	if _, err = packets.Parse(s.Packets, s.Addresses()); err != nil {
		return err
	}
	return nil
}

func (s *Scenario) section(name string) string {
	for _, f := range s.archive.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

// Addresses are all of the node's own: those of its devices, or else as the Node
// object lists them. The first of each family is the one it sends from.
func (s *Scenario) Addresses() []netip.Addr {
	if len(s.Devices) > 0 {
		return slices.Clone(s.Devices)
	}
	var addrs []netip.Addr
	for _, a := range s.Objects.Node.Status.Addresses {
		if a.Type != corev1.NodeInternalIP && a.Type != corev1.NodeExternalIP {
			continue
		}
		if addr, err := netip.ParseAddr(a.Address); err == nil {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// Cases are the packets of one family.
func (s *Scenario) Cases(family proxier.Family) ([]packets.Case, error) {
	all, err := packets.Parse(s.Packets, s.Addresses())
	return slices.DeleteFunc(all, func(c packets.Case) bool {
		return proxier.FamilyOf(c.Packet.Dst) != family
	}), err
}

// Update writes the golden sections into the file, if that changes it. The
// other sections stay as they are, byte for byte.
func (s *Scenario) Update(golden map[string]string) error {
	next := txtar.Archive{Comment: s.archive.Comment}
	add := func(name, text string) {
		if text != "" {
			next.Files = append(next.Files, txtar.File{Name: name, Data: []byte(text)})
		}
	}
	for _, name := range handWritten() {
		add(name, s.section(name))
	}
	for _, name := range goldens() {
		add(name, golden[name])
	}
	want := txtar.Format(&next)
	if have, err := os.ReadFile(s.Path); err == nil && string(have) == string(want) {
		return nil
	}
	return os.WriteFile(s.Path, want, 0o644)
}
