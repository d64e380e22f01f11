package ipset

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// Netlink is the real Kernel: the sets of the network namespace of the calling
// thread, over nfnetlink (linux/netfilter/ipset/ip_set.h). Entries travel many
// to a message, as ipset restore sends them.
type Netlink struct{}

// Probe tells why sets cannot be used on this node; nil if they can.
func (Netlink) Probe(ctx context.Context) error {
	_, err := Netlink{}.headers(ctx)
	return err
}

// List returns all sets.
func (k Netlink) List(ctx context.Context) ([]Set, error) {
	sets, err := k.headers(ctx)
	if err != nil {
		return nil, err
	}
	for i := range sets {
		s := &sets[i]
		if !s.Type.known() || !Owned(proxier.IPv4, s.Name) && !Owned(proxier.IPv6, s.Name) {
			continue
		}
		if s.Entries, err = k.entries(ctx, *s); err != nil {
			return nil, err
		}
	}
	return sets, nil
}

// headers lists the sets without their entries.
func (Netlink) headers(ctx context.Context) ([]Set, error) {
	messages, err := listHeaders(ctx)
	if err != nil {
		return nil, err
	}
	var sets []Set
	for _, m := range messages {
		s, err := parseSet(m)
		if err != nil {
			return nil, fmt.Errorf("list ip sets: %w", err)
		}
		sets = append(sets, s)
	}
	slices.SortFunc(sets, func(a, b Set) int { return strings.Compare(a.Name, b.Name) })
	return sets, nil
}

// entries lists the entries of a set; none if it is gone by now.
func (Netlink) entries(ctx context.Context, s Set) ([]Entry, error) {
	messages, err := execute(ctx, nl.IPSET_CMD_LIST, 0, named(s.Name))
	if errors.Is(err, syscall.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list ip set %s: %w", s.Name, explain(err, s))
	}
	var entries []Entry
	for _, m := range messages {
		if entries, err = parseEntries(entries, m); err != nil {
			return nil, fmt.Errorf("list ip set %s: %w", s.Name, err)
		}
	}
	slices.SortFunc(entries, Entry.Compare)
	return entries, nil
}

// Do makes the changes in order.
func (k Netlink) Do(ctx context.Context, ops []Op) error {
	for _, o := range ops {
		if err := k.do(ctx, o); err != nil {
			return fmt.Errorf("ipset %s %s: %w", o.Verb, o.Set.Name, explain(err, o.Set))
		}
	}
	return nil
}

func (k Netlink) do(ctx context.Context, o Op) error {
	var err error
	switch o.Verb {
	case Create:
		_, err = execute(ctx, nl.IPSET_CMD_CREATE, syscall.NLM_F_CREATE|syscall.NLM_F_EXCL, createAttributes(o.Set))
	case Add:
		return k.change(ctx, nl.IPSET_CMD_ADD, o.Set)
	case Delete:
		return k.change(ctx, nl.IPSET_CMD_DEL, o.Set)
	case Swap:
		a := named(o.Set.Name)
		a.text(nl.IPSET_ATTR_SETNAME2, o.Other)
		_, err = execute(ctx, nl.IPSET_CMD_SWAP, 0, a)
	case Destroy:
		return k.destroy(ctx, o.Set)
	default:
		return fmt.Errorf("unknown verb %q", o.Verb)
	}
	return err
}

// batch is how many entries one message holds: an entry takes up to 56 bytes,
// and a message should fit twice into the 64 KiB that an answer may have.
const batch = 500

// change adds or deletes entries. Without NLM_F_EXCL the kernel does not mind
// entries that are there already, or are not there.
func (Netlink) change(ctx context.Context, command int, s Set) error {
	for entries := range slices.Chunk(s.Entries, batch) {
		a, err := changeAttributes(s.Name, entries)
		if err != nil {
			return err
		}
		if _, err := execute(ctx, command, 0, a); err != nil {
			return err
		}
	}
	return nil
}

// destroy waits a moment for the rules that used the set: nf_tables frees the
// rules of a transaction after it has been committed, in the background.
func (Netlink) destroy(ctx context.Context, s Set) error {
	const patience, pause = 2 * time.Second, 20 * time.Millisecond
	deadline := time.Now().Add(patience)
	for {
		_, err := execute(ctx, nl.IPSET_CMD_DESTROY, 0, named(s.Name))
		if errors.Is(err, syscall.ENOENT) {
			return nil
		}
		if !errors.Is(err, errBusy) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// subsystem is NFNL_SUBSYS_IPSET of linux/netfilter/nfnetlink.h.
const subsystem = 6

// execute sends one message and returns the answers.
func execute(ctx context.Context, command, flags int, a attributes) ([][]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	request := nl.NewNetlinkRequest(command|subsystem<<8, nl.GetIpsetFlags(command)|flags)
	request.AddData(&nl.Nfgenmsg{NfgenFamily: syscall.AF_NETLINK, Version: nl.NFNETLINK_V0})
	var first attributes
	first.uint8(nl.IPSET_ATTR_PROTOCOL, nl.IPSET_PROTOCOL)
	request.AddRawData(append(first, a...))
	return request.Execute(syscall.NETLINK_NETFILTER, 0)
}

// The kernel's own numbers for errors of sets come as system call errors.
const (
	errFindType = syscall.Errno(nl.IPSET_ERR_FIND_TYPE)
	errMaxSets  = syscall.Errno(nl.IPSET_ERR_MAX_SETS)
	errBusy     = syscall.Errno(nl.IPSET_ERR_BUSY)
	errMismatch = syscall.Errno(nl.IPSET_ERR_TYPE_MISMATCH)
	// errHashFull is IPSET_ERR_HASH_FULL; of bitmaps it is a port out of range.
	errHashFull = syscall.Errno(nl.IPSET_ERR_TYPE_SPECIFIC)
)

// explain says in words what an error about a set means.
func explain(err error, s Set) error {
	var number syscall.Errno
	if !errors.As(err, &number) {
		return err
	}
	switch number {
	case syscall.EPERM:
		return fmt.Errorf("%w: the capability NET_ADMIN is needed", err)
	case syscall.ENOENT:
		return ErrMissing
	case syscall.EEXIST:
		return ErrExists
	case syscall.EINVAL:
		if s.Name == "" {
			return fmt.Errorf("%w: the kernel seems to have no ip sets: load the module ip_set", err)
		}
	case errBusy:
		return ErrReferenced
	case errMismatch:
		return ErrMismatch
	case errFindType:
		return fmt.Errorf("the kernel does not know sets of type %s: load the module ip_set_%s", s.Type, strings.NewReplacer(":", "_", ",", "").Replace(string(s.Type)))
	case errMaxSets:
		return errors.New("the kernel does not take more sets: see max_sets of the module ip_set")
	case errHashFull:
		if s.Type != BitmapPort {
			return fmt.Errorf("%w: it takes %d entries", ErrFull, s.MaxElem)
		}
		return errors.New("a port is out of the set's range")
	}
	if number >= nl.IPSET_ERR_PRIVATE {
		return fmt.Errorf("error %d of ip sets: %w", int(number), nl.IPSetError(number))
	}
	return err
}
