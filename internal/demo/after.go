package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// after ends the daemons, removes their rules, and looks whether some are left.
func (s *stage) after(ctx context.Context) error {
	s.say("7. kube-proxier ends; its rules stay in force, so that an update of it is no outage.\n")
	for _, d := range s.daemons {
		if err := d.stop(); err != nil {
			return err
		}
	}
	shopper := s.pods["shopper"]
	s.run(ctx, check{what: "web, ClusterIP", from: shopper, proto: "tcp", to: at(web4, 80), times: enough, want: answer("web-3")})

	s.say("8. \"kube-proxier cleanup\" removes them.\n")
	t := newTable("what", "command", "expected", "got")
	for _, name := range []string{"node1", "node2"} {
		node := s.cluster.Node(name)
		before, err := ours(ctx, node)
		if err != nil {
			return err
		}
		if _, err := s.command(ctx, node, "cleanup"); err != nil {
			return err
		}
		left, err := ours(ctx, node)
		if err != nil {
			return err
		}
		t.add(before > 0 && left == 0, "rules and chains left", "kube-proxier cleanup on "+name, "0", fmt.Sprintf("%d of %d", left, before))
	}
	s.print(t)
	s.run(ctx, check{what: "web, ClusterIP", from: shopper, proto: "tcp", to: at(web4, 80), want: answer("timed out")})
	return nil
}

// ours counts the lines of iptables-save and ip6tables-save on a node that are
// about chains of a Service proxy.
func ours(ctx context.Context, node *testenv.Node) (int, error) {
	lines := 0
	for _, tool := range []string{"iptables-save", "ip6tables-save"} {
		text, err := node.Command(ctx, tool).Output()
		if err != nil {
			return 0, fmt.Errorf("%s on %s: %w", tool, node.Name, err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "KUBE-") {
				lines++
			}
		}
	}
	return lines, nil
}

// changeDeadline is how long a change may take until connections follow it.
const changeDeadline = 20 * time.Second

// await sends connections until the answer is good.
func (s *stage) await(ctx context.Context, from *testenv.Host, to netip.AddrPort, good func(testenv.Reply) bool) error {
	return s.retry(ctx, func(ctx context.Context) error {
		// Short: while there are no rules, what is sent is lost.
		reply, err := from.Dial(ctx, "tcp", to, testenv.DialOptions{Timeout: 100 * time.Millisecond})
		if err == nil && !good(reply) {
			err = fmt.Errorf("%s still comes to %s", to, reply.Server)
		}
		return err
	})
}

// retry calls try until it returns nil, changeDeadline is over or a daemon ends.
func (s *stage) retry(ctx context.Context, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, changeDeadline, fmt.Errorf("for %s", changeDeadline))
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for last := errors.New("not tried"); ; {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err // else it may only say that time is over
		}
		for _, d := range s.daemons {
			if d.hasEnded() {
				return fmt.Errorf("kube-proxier on %s has ended (%s): %w", d.node.Name, d.cmd.ProcessState, last)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), last)
		}
	}
}

// logTails is an error with the ends of the daemons' logs.
func (s *stage) logTails() error {
	var tails []error
	for _, d := range s.daemons {
		tails = append(tails, fmt.Errorf("the end of kube-proxier's log on %s:\n%s", d.node.Name, indent(d.logTail())))
	}
	return errors.Join(tails...)
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("  " + line)
	}
	return b.String()
}
