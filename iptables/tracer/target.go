package tracer

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

type targetKind int

const (
	noTarget targetKind = iota // the rule only counts; so do LOG and TCPMSS
	accept
	drop
	reject
	leave // RETURN
	setMark
	masquerade
	dnat
	snat
	jump
	jumpAway // -g: the chain returns to where this one was called from
)

// A target is what a matching rule does.
type target struct {
	kind targetKind
	name string // as written

	chain *chain // of jump and jumpAway, once linked

	clear, flip uint32 // setMark: mark = mark &^ clear ^ flip

	addr netip.Addr // dnat, snat; not valid when only the port changes
	port uint16     // zero: the port stays
}

// Option names of the extension targets; true for those with a value.
var targetOptions = map[string]map[string]bool{
	"ACCEPT": {}, "DROP": {}, "RETURN": {},
	"REJECT":     {"--reject-with": true},
	"MARK":       {"--set-xmark": true, "--set-mark": true, "--or-mark": true, "--and-mark": true, "--xor-mark": true},
	"MASQUERADE": {"--to-ports": true, "--random": false, "--random-fully": false},
	"DNAT":       {"--to-destination": true, "--random": false, "--persistent": false},
	"SNAT":       {"--to-source": true, "--random": false, "--random-fully": false, "--persistent": false},
	"LOG": {
		"--log-prefix": true, "--log-level": true, "--log-tcp-sequence": false, "--log-tcp-options": false,
		"--log-ip-options": false, "--log-uid": false, "--log-macdecode": false,
	},
	"TCPMSS": {"--set-mss": true, "--clamp-mss-to-pmtu": false},
}

var targetKinds = map[string]targetKind{
	"ACCEPT": accept, "DROP": drop, "RETURN": leave, "REJECT": reject, "MARK": setMark,
	"MASQUERADE": masquerade, "DNAT": dnat, "SNAT": snat, "LOG": noTarget, "TCPMSS": noTarget,
}

// readTarget reads the rest of the rule, from the name after -j or -g on.
func (p *ruleParser) readTarget(option string) error {
	if p.negated() {
		return fmt.Errorf(`option %s takes no "!"`, option)
	}
	name, err := p.value(option)
	if err != nil {
		return err
	}
	p.rule.target.name = name
	options, extension := targetOptions[name]
	switch {
	case option == "-g":
		p.rule.target.kind, options = jumpAway, nil
	case extension:
		p.rule.target.kind = targetKinds[name]
	default:
		p.rule.target.kind = jump
	}
	if err := p.targetOptions(options); err != nil {
		return fmt.Errorf("target %s: %w", name, err)
	}
	return nil
}

// targetOptions reads the words after the target's name.
func (p *ruleParser) targetOptions(known map[string]bool) error {
	var given []string
	for p.next < len(p.words) {
		option := p.words[p.next]
		p.next++
		valued, ok := known[option]
		if !ok {
			return unknownOption(option)
		}
		if slices.Contains(given, option) {
			return fmt.Errorf("option %s is given twice", option)
		}
		given = append(given, option)
		if !valued {
			continue
		}
		value, err := p.value(option)
		if err != nil {
			return err
		}
		if err := p.targetValue(option, value); err != nil {
			return fmt.Errorf("option %s: %w", option, err)
		}
	}
	return p.checkTarget(given)
}

// checkTarget reports what the target lacks.
func (p *ruleParser) checkTarget(given []string) error {
	var needs string
	switch p.rule.target.kind {
	case dnat:
		needs = "--to-destination"
	case snat:
		needs = "--to-source"
	case setMark:
		if len(given) != 1 {
			return fmt.Errorf("want exactly one option, have %d", len(given))
		}
	}
	if needs != "" && !slices.Contains(given, needs) {
		return fmt.Errorf("%s missing", needs)
	}
	return nil
}

func (p *ruleParser) targetValue(option, value string) error {
	t := &p.rule.target
	switch option {
	case "--set-xmark", "--set-mark", "--or-mark", "--and-mark", "--xor-mark":
		return t.readMark(option, value)
	case "--to-destination", "--to-source":
		return p.natAddress(value)
	case "--to-ports":
		_, err := parsePortRange(strings.Replace(value, "-", ":", 1))
		if err == nil && !hasPorts(p.proto) {
			err = fmt.Errorf("needs -p with a protocol that has ports")
		}
		return err
	}
	return nil
}

// readMark brings the ways to set a mark into one form; the formulas are those
// of MARK in iptables-extensions(8).
func (t *target) readMark(option, value string) error {
	v, mask, err := parseMasked(value)
	if err != nil {
		return err
	}
	masked := strings.Contains(value, "/")
	if masked && option != "--set-xmark" && option != "--set-mark" {
		return fmt.Errorf("%q: takes no mask", value)
	}
	switch option {
	case "--set-xmark":
		t.clear, t.flip = mask, v
	case "--set-mark":
		t.clear, t.flip = mask|v, v
	case "--or-mark":
		t.clear, t.flip = v, v
	case "--and-mark":
		t.clear, t.flip = ^v, 0
	case "--xor-mark":
		t.clear, t.flip = 0, v
	}
	return nil
}

// natAddress reads ADDRESS, ADDRESS:PORT, [ADDRESS]:PORT or :PORT. Ranges are
// a choice the kernel makes by its own hash, which the tracer does not know.
func (p *ruleParser) natAddress(s string) error {
	addr, port, err := splitNATAddress(s)
	if err != nil {
		return err
	}
	if addr.IsValid() {
		if err := p.family.add(addr); err != nil {
			return err
		}
	}
	if port != 0 && !hasPorts(p.proto) {
		return fmt.Errorf("%q: a port needs -p with a protocol that has ports", s)
	}
	p.rule.target.addr, p.rule.target.port = addr, port
	return nil
}

func splitNATAddress(s string) (netip.Addr, uint16, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		return addr, 0, nil
	}
	if ap, err := netip.ParseAddrPort(s); err == nil && ap.Addr().Zone() == "" && ap.Port() != 0 {
		return ap.Addr(), ap.Port(), nil
	}
	if rest, ok := strings.CutPrefix(s, ":"); ok {
		if port, err := strconv.ParseUint(rest, 10, 16); err == nil && port != 0 {
			return netip.Addr{}, uint16(port), nil
		}
	}
	return netip.Addr{}, 0, fmt.Errorf("%q: want ADDRESS, ADDRESS:PORT, [ADDRESS]:PORT or :PORT (ranges are not known)", s)
}
