package ipset

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// String is the entry as ipset save prints it, such as "10.96.0.10,udp:53".
func (e Entry) String() string {
	switch {
	case !e.Addr.IsValid():
		return strconv.Itoa(int(e.Port))
	case e.Protocol == "":
		return e.Addr.String()
	}
	return e.Addr.String() + "," + strings.ToLower(string(e.Protocol)) + ":" + strconv.Itoa(int(e.Port))
}

// String is the set as ipset save prints it and ipset restore reads it, entries
// in order. The parameters of the hash table are left out: the kernel chooses
// and changes them.
func (s Set) String() string {
	var b strings.Builder
	s.writeHeader(&b)
	s.writeEntries(&b, "add")
	return b.String()
}

func (s Set) writeHeader(b *strings.Builder) {
	b.WriteString("create " + s.Name + " " + string(s.Type))
	if s.Type == BitmapPort && !strings.HasPrefix(s.Options, "range ") {
		b.WriteString(" range 0-65535")
	}
	if s.Family != "" {
		b.WriteString(" family " + familyWords[s.Family])
	}
	if s.MaxElem != 0 {
		fmt.Fprintf(b, " maxelem %d", s.MaxElem)
	}
	if s.Options != "" {
		b.WriteString(" " + s.Options)
	}
	b.WriteByte('\n')
}

func (s Set) writeEntries(b *strings.Builder, verb string) {
	for _, e := range s.Entries {
		b.WriteString(verb + " " + s.Name + " " + e.String() + "\n")
	}
}

// Text prints sets one after the other.
func Text(sets []Set) string {
	var b strings.Builder
	for _, s := range sets {
		b.WriteString(s.String())
	}
	return b.String()
}

var familyWords = map[proxier.Family]string{proxier.IPv4: "inet", proxier.IPv6: "inet6"} //nolint:gochecknoglobals // a constant table

// Parse reads what ipset save prints. Entries of sets of other types than ours
// are skipped. The sets come in the order of the text.
func Parse(text string) ([]Set, error) {
	var sets []Set
	byName := map[string]int{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if err := parseLine(&sets, byName, words); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	for i := range sets {
		slices.SortFunc(sets[i].Entries, Entry.Compare)
	}
	return sets, lines.Err()
}

func parseLine(sets *[]Set, byName map[string]int, words []string) error {
	if len(words) < 3 {
		return fmt.Errorf("%q: a verb, a set and a type or an entry are needed", strings.Join(words, " "))
	}
	i, there := byName[words[1]]
	switch {
	case words[0] == "create" && !there:
		s, err := parseHeader(words[1], words[2], words[3:])
		byName[s.Name] = len(*sets)
		*sets = append(*sets, s)
		return err
	case words[0] == "add" && there:
		s := &(*sets)[i]
		if !s.Type.known() {
			return nil
		}
		e, err := parseEntry(*s, words[2])
		s.Entries = append(s.Entries, e)
		return err
	case words[0] == "create":
		return fmt.Errorf("set %s is created twice", words[1])
	case words[0] == "add":
		return fmt.Errorf("set %s is not there", words[1])
	}
	return fmt.Errorf("%q: only create and add are known", words[0])
}

// parseHeader reads the options of a create line. Those of the hash table are
// ignored; those we do not use go to Options.
func parseHeader(name, typ string, words []string) (Set, error) {
	s := Set{Name: name, Type: Type(typ)}
	var options []string
	for len(words) > 0 {
		word, value := words[0], ""
		if takesValue(word) {
			if len(words) < 2 {
				return s, fmt.Errorf("set %s: %s has no value", name, word)
			}
			value, words = words[1], words[1:]
		}
		words = words[1:]
		switch word {
		case "hashsize", "bucketsize", "initval":
		case "family":
			s.Family = proxier.IPv4
			if value == familyWords[proxier.IPv6] {
				s.Family = proxier.IPv6
			}
		case "maxelem":
			n, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				return s, fmt.Errorf("set %s: maxelem: %w", name, err)
			}
			s.MaxElem = uint32(n)
		default:
			if option := strings.TrimSpace(word + " " + value); option != "range 0-65535" {
				options = append(options, option)
			}
		}
	}
	s.Options = strings.Join(options, " ")
	return s, nil
}

func takesValue(option string) bool {
	return !slices.Contains([]string{"counters", "comment", "skbinfo", "forceadd"}, option)
}

// parseEntry is the inverse of Entry.String, for an entry of s. A protocol
// without a port is tcp, as ipset has it.
func parseEntry(s Set, text string) (Entry, error) {
	var e Entry
	var err error
	addr, port, both := strings.Cut(text, ",")
	switch {
	case both != (s.Type == HashIPPort):
		err = errors.New("wrong number of parts")
	case s.Type == BitmapPort:
		e.Port, err = parsePort(text)
	case s.Type == HashIP:
		e.Addr, err = netip.ParseAddr(addr)
	default:
		if e.Addr, err = netip.ParseAddr(addr); err != nil {
			break
		}
		protocol, number, _ := strings.Cut(port, ":")
		e.Protocol = corev1.Protocol(strings.ToUpper(protocol))
		if protocol == "" || strings.ToLower(string(e.Protocol)) != protocol {
			err = fmt.Errorf("%q is no protocol such as tcp", protocol)
			break
		}
		e.Port, err = parsePort(number)
	}
	if err != nil {
		return Entry{}, fmt.Errorf("set %s of type %s: entry %q: %w", s.Name, s.Type, text, err)
	}
	return e, nil
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err
}
