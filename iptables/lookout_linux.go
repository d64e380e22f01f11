package iptables

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kube-proxier/kube-proxier/iptables/legacytable"
	"github.com/kube-proxier/kube-proxier/iptables/nftcommit"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A Lookout notices when somebody writes chains of a Service proxy into the
// tables of the variant of iptables that is not in use. Packets pass through
// both, so that Services would be handled twice. It only looks, and makes no
// table.
type Lookout interface {
	// Watch tells of each such write until ctx ends. It is called once.
	Watch(ctx context.Context, tell func(proxier.Drift)) error
}

// NewLookout returns the Lookout over the variant that t is not, in the network
// namespace of the calling thread. What happens from now on is told.
func NewLookout(t *Tool) (Lookout, error) {
	if t.Variant == VariantLegacy {
		socket, err := nftcommit.Open()
		if err != nil {
			return nil, err
		}
		return commitLookout{socket, nftFamily(t.Family)}, nil
	}
	return newTableLookout(t)
}

// A commitLookout looks at the nft variant: the kernel tells.
type commitLookout struct {
	socket *nftcommit.Socket
	family nftcommit.Family
}

func (l commitLookout) Watch(ctx context.Context, tell func(proxier.Drift)) error {
	l.socket.Listen(func(c nftcommit.Commit) {
		if doubt := written(c, l.family); !doubt.Empty() {
			tell(proxier.Drift{
				Cause: proxier.Notified, Writer: proxier.Writer{PID: c.PID, Name: c.Process}, What: doubt.String(),
			})
		}
	})
	return l.socket.Watch(ctx)
}

// written are the chains of a Service proxy that a commit made or changed. Who
// deletes what is left of one is welcome.
func written(c nftcommit.Commit, family nftcommit.Family) Doubt {
	var d Doubt
	for p, made := range c.Places {
		if made && p.Family == family && OwnedChain(p.Table, p.Chain) {
			d.Chain(p.Table, p.Chain)
		}
	}
	return d
}

// lookoutPoll lies between two looks at the tables of the legacy variant although
// nobody had the lock, for those who lock nothing; their content is looked at for a thousandth of the time at most.
const (
	lookoutPoll  = 30 * time.Second
	lookoutShare = 1000
)

// A tableLookout looks at the legacy variant: the kernel tells nobody.
type tableLookout struct {
	family proxier.Family
	socket *legacytable.Socket
	lock   *lockWatch
	// names is the kernel's list of tables, of the network namespace it was opened
	// in; nil as long as the kernel has none.
	names  *os.File
	tables map[string]*lookedAt
}

// lookedAt is what is known of a table; the zero lookedAt is of none.
type lookedAt struct {
	info legacytable.Info
	// content is the digest of a Service proxy's chains.
	content uint64
	// next is when the content may be looked at again.
	next time.Time
}

func newTableLookout(t *Tool) (*tableLookout, error) {
	socket, err := legacytable.Open(t.Family == proxier.IPv6)
	if err != nil {
		return nil, err
	}
	lock, err := watchLock(lockFile())
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	l := &tableLookout{family: t.Family, socket: socket, lock: lock, tables: map[string]*lookedAt{NAT: {}, Filter: {}}}
	l.look() // what is there already is none of its business
	return l, nil
}

func (l *tableLookout) Watch(ctx context.Context, tell func(proxier.Drift)) error {
	defer func() {
		_ = l.socket.Close()
		_ = l.lock.close()
		_ = l.names.Close() // which may be nil
	}()
	ticker := alignedTicker(lookoutPoll)
	defer ticker.Stop()
	for l.lock.wait(ctx, ticker.C) {
		if what := l.look(); what != "" {
			tell(proxier.Drift{Cause: proxier.Polled, What: what})
		}
	}
	return ctx.Err()
}

// look returns where chains of a Service proxy were changed since the last look.
// What cannot be read now is read at the next.
func (l *tableLookout) look() string {
	l.lock.released()
	var changed []string
	present := l.present()
	for _, name := range []string{NAT, Filter} {
		if !slices.Contains(present, name) {
			continue
		}
		if chains := l.lookAt(name, l.tables[name]); len(chains) > 0 {
			changed = append(changed, fmt.Sprintf("%s: %d chains such as %s", name, len(chains), chains[0]))
		}
	}
	return strings.Join(changed, ", ")
}

// lookAt returns a Service proxy's chains in a table, if they are not as they
// were.
func (l *tableLookout) lookAt(name string, table *lookedAt) []string {
	info, err := l.socket.Info(name)
	if err != nil || info == table.info || time.Now().Before(table.next) {
		return nil
	}
	owned := func(chain string) bool { return OwnedChain(name, chain) }
	var content uint64
	took := cpuTime(func() { content, err = l.socket.Digest(name, info, owned) })
	table.next = time.Now().Add(lookoutShare * took)
	if err != nil {
		return nil
	}
	var chains []string
	if content != table.content {
		if chains, err = l.socket.Chains(name, info); err != nil {
			return nil
		}
	}
	table.info, table.content = info, content
	return slices.DeleteFunc(chains, func(chain string) bool { return !owned(chain) })
}

// present are the tables there are. The kernel makes one when it is asked for.
func (l *tableLookout) present() []string {
	if l.names == nil { // the module may have been loaded since
		l.names, _ = os.Open(namesFile(l.family))
	}
	if l.names == nil {
		return nil
	}
	const enough = 4096 // there are five tables
	text := make([]byte, enough)
	n, _ := l.names.ReadAt(text, 0)
	return strings.Fields(string(text[:n]))
}
