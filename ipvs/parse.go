package ipvs

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Parse reads the output of ipvsadm -S -n. It is the inverse of Text, except
// that the virtual servers come out sorted. Those that are known by a firewall
// mark instead of an address are left out: none of ours are.
func Parse(text string) ([]*VirtualServer, error) {
	var list []*VirtualServer
	byPlace := map[Place]*VirtualServer{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || byMark(line) {
			continue
		}
		o, err := ParseOp(line)
		if err == nil && o.Kind == NewService && byPlace[o.Place] == nil {
			v := &VirtualServer{Place: o.Place, Settings: o.Settings}
			byPlace[o.Place] = v
			list = append(list, v)
			continue
		}
		if err == nil {
			err = byPlace[o.Place].take(o)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %.120q: %w", n, line, err)
		}
	}
	slices.SortFunc(list, func(a, b *VirtualServer) int { return a.Compare(b.Place) })
	return list, nil
}

// take adds a real server; v may be nil.
func (v *VirtualServer) take(o Op) error {
	switch {
	case o.Kind == NewService:
		return errors.New("the virtual server is there already")
	case o.Kind != NewServer:
		return errors.New("neither -A nor -a, so that it says nothing about what there is")
	case v == nil:
		return errors.New("there is no such virtual server")
	}
	i, found := v.find(o.Server.Addr)
	if found {
		return errors.New("the real server is there already")
	}
	v.Servers = slices.Insert(v.Servers, i, o.Server)
	return nil
}

// byMark tells a line about a virtual server known by a firewall mark.
func byMark(line string) bool {
	words := strings.Fields(line)
	return len(words) > 1 && (words[1] == "-f" || words[1] == "--fwmark-service")
}

// ParseOp reads one line of ipvsadm's arguments, in short options except
// --sctp-service. It is the inverse of Op.String.
func ParseOp(line string) (Op, error) {
	words := strings.Fields(line)
	if len(words) < 3 {
		return Op{}, errors.New("is not COMMAND PROTOCOL ADDRESS")
	}
	var o Op
	kinds := map[string]OpKind{}
	for k := NewService; k <= DeleteServer; k++ {
		kinds[k.verb()] = k
	}
	kind, ok := kinds[words[0]]
	if !ok {
		return Op{}, fmt.Errorf("%.20q is none of the commands -A, -E, -D, -a, -e and -d", words[0])
	}
	o.Kind = kind
	for protocol, flag := range protocolFlags {
		if flag == words[1] {
			o.Place.Protocol = protocol
		}
	}
	if o.Place.Protocol == corev1.Protocol("") {
		return Op{}, fmt.Errorf("%.20q is none of the protocols -t, -u and --sctp-service", words[1])
	}
	var err error
	if o.Place.Addr, err = netip.ParseAddrPort(words[2]); err != nil {
		return Op{}, err
	}
	p := opParser{op: &o, rest: words[3:]}
	if err := p.run(); err != nil {
		return Op{}, err
	}
	return o, nil
}

// An opParser reads what stands after the virtual server's address.
type opParser struct {
	op    *Op
	rest  []string
	mask  string
	flags string
}

func (p *opParser) run() error {
	for len(p.rest) > 0 {
		flag := p.rest[0]
		p.rest = p.rest[1:]
		if err := p.option(flag); err != nil {
			return fmt.Errorf("%s: %w", flag, err)
		}
	}
	o := p.op
	switch o.Kind {
	case NewService, UpdateService:
		if o.Settings.Scheduler == "" {
			return errors.New("-s is missing")
		}
		return p.finishSettings()
	case NewServer, UpdateServer, DeleteServer:
		if !o.Server.Addr.IsValid() {
			return errors.New("-r is missing")
		}
	case DeleteService: // the place says it all
	}
	return nil
}

func (p *opParser) option(flag string) error {
	if p.op.OnService() {
		return p.serviceOption(flag)
	}
	return p.serverOption(flag)
}

var errUnknownOption = errors.New("is not a known option here")

func (p *opParser) serviceOption(flag string) (err error) {
	s := &p.op.Settings
	if p.op.Kind == DeleteService {
		return errUnknownOption
	}
	switch flag {
	case "-s":
		s.Scheduler, err = p.word()
	case "-p":
		s.Flags |= Persistent
		var n uint64
		n, err = p.number(32)
		s.Timeout = uint32(n)
	case "-M":
		p.mask, err = p.word()
	case "-o":
		s.Flags |= OnePacket
	case "-b":
		p.flags, err = p.word()
	default:
		err = errUnknownOption
	}
	return err
}

func (p *opParser) serverOption(flag string) (err error) {
	r := &p.op.Server
	if p.op.Kind == DeleteServer && flag != "-r" {
		return errUnknownOption
	}
	var n uint64
	switch flag {
	case "-r":
		var word string
		if word, err = p.word(); err == nil {
			r.Addr, err = netip.ParseAddrPort(word)
		}
	case "-m":
		r.Forwarding = Masquerade
	case "-i":
		r.Forwarding = Tunnel
	case "-g":
		r.Forwarding = DirectRoute
	case "-w":
		n, err = p.number(16)
		r.Weight = uint16(n)
	case "-x":
		n, err = p.number(32)
		r.Upper = uint32(n)
	case "-y":
		n, err = p.number(32)
		r.Lower = uint32(n)
	default:
		err = errUnknownOption
	}
	return err
}

func (p *opParser) word() (string, error) {
	if len(p.rest) == 0 {
		return "", errors.New("its value is missing")
	}
	word := p.rest[0]
	p.rest = p.rest[1:]
	return word, nil
}

func (p *opParser) number(bits int) (uint64, error) {
	word, err := p.word()
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(word, 10, bits)
}

// finishSettings reads what depends on other options.
func (p *opParser) finishSettings() error {
	s := &p.op.Settings
	if s.Flags&Persistent != 0 {
		bits := p.op.Place.Family().Bits()
		s.ClientBits = uint8(bits)
		if p.mask != "" {
			ones, err := maskBits(p.mask, bits)
			if err != nil {
				return fmt.Errorf("-M: %w", err)
			}
			s.ClientBits = ones
		}
	} else if p.mask != "" {
		return errors.New("-M without -p")
	}
	if p.flags == "" {
		return nil
	}
	for name := range strings.SplitSeq(p.flags, ",") {
		i := slices.IndexFunc([]int{0, 1, 2}, func(i int) bool { return schedulerFlagName(s.Scheduler, i) == name })
		if i < 0 {
			return fmt.Errorf("-b: scheduler %s has no flag %.20q", s.Scheduler, name)
		}
		s.Flags |= Sched1 << i
	}
	return nil
}

// maskBits reads a mask: 255.255.255.0 for IPv4, 64 for IPv6.
func maskBits(mask string, bits int) (uint8, error) {
	if bits == 128 {
		n, err := strconv.ParseUint(mask, 10, 8)
		if err != nil || n < 1 || n > 128 {
			return 0, fmt.Errorf("%.20q is not a prefix length from 1 to 128", mask)
		}
		return uint8(n), nil
	}
	addr, err := netip.ParseAddr(mask)
	if err != nil || !addr.Is4() {
		return 0, fmt.Errorf("%.20q is not a netmask such as 255.255.255.0", mask)
	}
	ones, size := net.IPMask(addr.AsSlice()).Size()
	if size == 0 {
		return 0, fmt.Errorf("%.20q is a mask with holes", mask)
	}
	return uint8(ones), nil
}
