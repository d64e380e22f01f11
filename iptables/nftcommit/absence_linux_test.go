package nftcommit

import (
	"context"
	"errors"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// watched is a Socket in a network namespace of its own.
type watched struct {
	*Socket

	t       *testing.T
	host    *testenv.Host
	commits chan Commit
}

func watch(t *testing.T) *watched {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.IPTablesNFT)
	w := &watched{t: t, host: testenv.StartCluster(t).Node("node1").Host, commits: make(chan Commit, 10)}
	err := w.host.Do(func() (err error) {
		w.Socket, err = Open()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Listen(func(c Commit) { w.commits <- c })
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Watch(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("watching ended with %v", err)
		}
	})
	w.write("FIRST") // and with it the table
	w.expect("FIRST")
	return w
}

// write makes one commit that makes a chain.
func (w *watched) write(chain string) {
	w.t.Helper()
	restore(w.t, w.host.Command(w.t.Context(), "iptables-nft-restore", "--noflush"), ":"+chain+" - [0:0]\n")
}

// expect has it that the next that is told is the commit of this chain.
func (w *watched) expect(chain string) {
	w.t.Helper()
	if c := <-w.commits; c.Lost || !c.Places[Place{IPv4, "nat", chain}] {
		w.t.Errorf("told of %+v, want the commit of %s", c, chain)
	}
}

// While a large write of ours is not announced, somebody else's is noticed by the
// number of commits, and whatever comes afterwards is announced as ever.
func TestLargeWritesAreNotAnnounced(t *testing.T) {
	for name, test := range map[string]struct {
		commits     int      // that the Batch has
		made        []string // by whomever
		failed      error
		lost, again bool // again: nor is the next large write
	}{
		"two tables":      {commits: 2, made: []string{"OURS-1", "OURS-2"}, again: true},
		"nothing":         {again: true},
		"somebody else's": {commits: 1, made: []string{"OURS-1", "STRANGER"}, lost: true},
		"one that failed": {commits: 2, made: []string{"OURS-1"}, failed: errors.New("failed"), lost: true, again: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := watch(t)
			done := w.Own(Batch{PID: 1, Commits: test.commits, Large: true})
			for _, chain := range test.made {
				w.write(chain)
			}
			done(test.failed)
			if test.lost {
				if c := <-w.commits; !c.Lost {
					t.Errorf("told of %+v, want a loss", c)
				}
			}
			w.write("LATER")
			w.expect("LATER")
			done = w.Own(Batch{PID: 1, Commits: 1, Large: true})
			if w.absence.on != test.again {
				t.Errorf("the next large write is absent: %v, want %v", w.absence.on, test.again)
			}
			done(nil)
		})
	}
}

func TestSmallWritesBesideALargeOne(t *testing.T) {
	w := watch(t)
	small := w.Own(Batch{PID: 1, Commits: 1})
	large := w.Own(Batch{PID: 2, Commits: 1, Large: true})
	if w.absence.on {
		t.Error("absent while another write is under way, which may have been made by now or not")
	}
	small(nil)
	large(nil)

	large = w.Own(Batch{PID: 2, Commits: 1, Large: true})
	small = w.Own(Batch{PID: 1, Commits: 1})
	w.write("LARGE")
	large(nil)
	if !w.absence.on {
		t.Error("not absent any more while a write is under way")
	}
	w.write("SMALL")
	small(nil)
	w.write("LATER")
	w.expect("LATER")
}
