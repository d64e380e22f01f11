package main

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// A check is connections that are sent, and what is to become of them.
type check struct {
	what   string
	from   *testenv.Host
	source netip.Addr // of the connections; zero: the host's choice
	proto  string     // "tcp" or "udp"
	to     netip.AddrPort
	times  int // how many connections, one after the other; 0: one
	want   expectation
}

// An expectation is what is to become of all connections of a check.
type expectation struct {
	// servers all answer, in any order, and nobody else does. A single word that
	// is no server's name is an outcome in the words of testenv.Outcome.
	servers []string
	// sticky: only one of the servers answers, whichever.
	sticky bool
	// seen is the host whose address the servers see as their client's; empty: not
	// looked at.
	seen string
}

// observed is what became of the connections of a check.
type observed struct {
	outcomes map[string]int // how often, by testenv.Outcome
	seen     map[string]int // how often, by the name of the host that servers saw
}

// String is e.g. "web-1 and web-2, see client".
func (e expectation) String() string {
	text := strings.Join(e.servers, " and ")
	if e.sticky {
		text = "only one of " + text
	}
	if e.seen != "" {
		text += see(len(e.servers), e.seen)
	}
	return text
}

func see(servers int, whom string) string {
	if servers == 1 {
		return ", sees " + whom
	}
	return ", see " + whom
}

// holds reports whether what happened is what was expected.
func (e expectation) holds(o observed) bool {
	got := slices.Sorted(maps.Keys(o.outcomes))
	if e.sticky {
		if len(got) != 1 || !slices.Contains(e.servers, got[0]) {
			return false
		}
	} else if !slices.Equal(got, slices.Sorted(slices.Values(e.servers))) {
		return false
	}
	return e.seen == "" || len(o.seen) == 1 && o.seen[e.seen] > 0
}

// text is e.g. "web-1 ×11, web-2 ×9"; with whom the servers saw where that was
// asked for.
func (o observed) text(withSeen bool) string {
	text := count(o.outcomes)
	if withSeen && len(o.seen) > 0 {
		text += see(len(o.outcomes), strings.Join(slices.Sorted(maps.Keys(o.seen)), " and "))
	}
	return text
}

// count is the keys with their numbers, where there is more than one connection.
func count(of map[string]int) string {
	var words []string
	for _, key := range slices.Sorted(maps.Keys(of)) {
		if of[key] > 1 {
			key = fmt.Sprintf("%s ×%d", key, of[key])
		}
		words = append(words, key)
	}
	return strings.Join(words, ", ")
}

// send sends the connections of a check.
func (s *stage) send(ctx context.Context, c check) observed {
	o := observed{map[string]int{}, map[string]int{}}
	for range max(1, c.times) {
		reply, err := c.from.Dial(ctx, c.proto, c.to, testenv.DialOptions{Source: netip.AddrPortFrom(c.source, 0)})
		o.outcomes[testenv.Outcome(reply, err)]++
		if err == nil {
			o.seen[s.nameOf(reply.Peer.Addr())]++
		}
	}
	return o
}

// run sends the connections of all checks at the same time and prints a table of
// what became of them.
func (s *stage) run(ctx context.Context, checks ...check) {
	results := make([]observed, len(checks))
	var all sync.WaitGroup
	for i, c := range checks {
		all.Go(func() { results[i] = s.send(ctx, c) })
	}
	all.Wait()
	t := newTable("what", "from", "to", "expected", "got")
	for i, c := range checks {
		from := c.from.Name
		if c.source.IsValid() {
			from += " " + c.source.String()
		}
		t.add(c.want.holds(results[i]), c.what, from, c.to.String()+"/"+c.proto,
			c.want.String(), results[i].text(c.want.seen != ""))
	}
	s.print(t)
}
