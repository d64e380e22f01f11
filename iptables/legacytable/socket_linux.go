package legacytable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Socket asks for the tables of one IP family, in the network namespace it was
// opened in. It is used by one goroutine at a time.
type Socket struct {
	fd     int
	level  int
	layout layout
	seed   maphash.Seed
}

// Open opens a Socket in the network namespace of the calling thread.
// CAP_NET_RAW is needed, and to ask CAP_NET_ADMIN.
func Open(ipv6 bool) (*Socket, error) {
	s := &Socket{level: unix.IPPROTO_IP, layout: layoutOf(ipv6), seed: maphash.MakeSeed()}
	family := unix.AF_INET
	if ipv6 {
		family, s.level = unix.AF_INET6, unix.IPPROTO_IPV6
	}
	var err error
	if s.fd, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW); err != nil {
		return nil, fmt.Errorf("open socket for tables of iptables-legacy: %w", err)
	}
	return s, nil
}

// Close closes the socket.
func (s *Socket) Close() error { return unix.Close(s.fd) }

// Of linux/netfilter_ipv4/ip_tables.h; IPv6 has the same.
const (
	getInfo    = 64 // IPT_SO_GET_INFO
	getEntries = 65 // IPT_SO_GET_ENTRIES

	nameLength    = 32                         // XT_TABLE_MAXNAMELEN
	infoLength    = nameLength + 4*(3+2*hooks) // struct ipt_getinfo
	entriesHeader = nameLength + 8             // struct ipt_get_entries, with its padding
)

// Info asks for a table's. Asking for a table that is not there makes an empty
// one.
func (s *Socket) Info(table string) (Info, error) {
	b := make([]byte, infoLength)
	copy(b, table)
	if err := s.get(getInfo, b); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return Info{}, nil
		}
		return Info{}, fmt.Errorf("size of table %s: %w", table, err)
	}
	word := func(i int) uint32 { return binary.NativeEndian.Uint32(b[nameLength+4*i:]) }
	info := Info{Entries: word(1 + 2*hooks), Size: word(2 + 2*hooks)}
	valid := word(0)
	for hook := range info.hooks {
		info.hooks[hook] = absent
		if valid&(1<<hook) != 0 {
			info.hooks[hook] = word(1 + hook)
		}
	}
	return info, nil
}

// ErrChanged means that a table changed between two questions about it.
var ErrChanged = errors.New("the table has just changed")

// Digest sums up what is ours in a table of which Info was asked just now. The
// same chains and jumps have the same Digest, whatever else is in the table,
// as long as the process runs. The error wraps ErrChanged when the table has not
// that Info any more.
func (s *Socket) Digest(table string, info Info, owned func(chain string) bool) (uint64, error) {
	var digest uint64
	err := s.entries(table, info, func(entries []byte) (err error) {
		digest, err = s.layout.digest(s.seed, info, entries, owned)
		return err
	})
	return digest, err
}

// Chains are the names of a table's chains. What is said of Digest holds here.
func (s *Socket) Chains(table string, info Info) ([]string, error) {
	var names []string
	err := s.entries(table, info, func(entries []byte) error {
		chains, err := s.layout.chains(info, entries)
		names = slices.Sorted(maps.Values(chains))
		return err
	})
	return names, err
}

// entries lends a table's entries to f.
func (s *Socket) entries(table string, info Info, f func(entries []byte) error) error {
	if strconv.IntSize != 64 {
		return errors.ErrUnsupported // they are laid out differently
	}
	// Given back at once: of a large table it is many megabytes.
	b, err := unix.Mmap(-1, 0, entriesHeader+int(info.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return fmt.Errorf("memory for the entries of table %s: %w", table, err)
	}
	defer func() { _ = unix.Munmap(b) }()
	copy(b, table)
	binary.NativeEndian.PutUint32(b[nameLength:], info.Size)
	err = s.get(getEntries, b)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINVAL) { // the size is another by now
		err = ErrChanged
	}
	if err == nil {
		err = f(b[entriesHeader:])
	}
	if err != nil {
		return fmt.Errorf("entries of table %s: %w", table, err)
	}
	return nil
}

// get is getsockopt(2) with a buffer that is read, too.
func (s *Socket) get(option int, b []byte) error {
	length := uint32(len(b))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), uintptr(s.level), uintptr(option),
		uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
