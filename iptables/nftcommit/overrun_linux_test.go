package nftcommit

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// More is announced than the socket holds while nobody reads: that something was
// lost is told, and what comes after that is told as ever.
func TestAnnouncementsThatAreLost(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.IPTablesNFT)
	host := testenv.StartCluster(t).Node("node1").Host
	var socket *Socket
	err := host.Do(func() (err error) {
		socket, err = Open()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := socket.file.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	err = conn.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1) })
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	commits := make(chan Commit, 1000)
	socket.Listen(func(c Commit) { commits <- c })

	var many strings.Builder
	for i := range 500 {
		fmt.Fprintf(&many, ":STRANGER-%d - [0:0]\n", i)
	}
	restore(t, host.Command(t.Context(), "iptables-nft-restore", "--noflush"), many.String())
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- socket.Watch(ctx) }()
	await(t, commits, "a loss", func(c Commit) bool { return c.Lost })

	err = conn.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer)
	})
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	restore(t, host.Command(t.Context(), "iptables-nft-restore", "--noflush"), "-A STRANGER-7 -j RETURN\n")
	place := Place{IPv4, "nat", "STRANGER-7"}
	await(t, commits, place.Chain, func(c Commit) bool { return !c.Lost && c.Places[place] })
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("watching ended with %v", err)
	}
}

// restore writes to the nat table.
func restore(t *testing.T, cmd *exec.Cmd, lines string) {
	t.Helper()
	cmd.Stdin = strings.NewReader("*nat\n" + lines + "COMMIT\n")
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", cmd, err, output)
	}
}

func await(t *testing.T, commits <-chan Commit, what string, is func(Commit) bool) {
	t.Helper()
	late := time.After(30 * time.Second)
	for {
		select {
		case c := <-commits:
			if is(c) {
				return
			}
		case <-late:
			t.Fatalf("%s is not told", what)
		}
	}
}

// A watcher may come when the one before has gone already, as at an early end of
// the program: nothing is read any more, and nothing breaks.
func TestAWatcherThatComesTooLate(t *testing.T) {
	testenv.Need(t, testenv.Root)
	socket, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 3 {
		if err := socket.Watch(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("a watcher whose context has ended returns %v", err)
		}
	}
	if err := socket.Watch(t.Context()); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("a watcher that comes too late returns %v, want that it is closed", err)
	}
}
