package nftcommit

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// An absence is a time in which a Socket is not told of anything, because a child
// writes much: the kernel prepares the announcement of each rule before it asks who
// wants it, which is a seventh of what it costs to write 100,000 of them.
//
// That nobody else has written meanwhile is known from the generation, a number that
// each commit makes one higher.
type absence struct {
	kernel *nl.SocketHandle // to ask for the generation

	on bool
	// next is the generation after the commits of our own that have ended since.
	next uint32
	// unclear is whether it is not known how many those were.
	unclear bool
	// wrong is whether the count was wrong once, for whatever reason. There is no
	// further absence then, for each may end with a look at everything.
	wrong bool
}

var errGeneration = errors.New("the kernel does not tell the generation of nf_tables")

// openAbsence is for the network namespace of the calling thread.
func openAbsence() (absence, error) {
	socket, err := nl.Subscribe(unix.NETLINK_NETFILTER)
	if err != nil {
		return absence{}, fmt.Errorf("open netlink socket to ask for the generation of nf_tables: %w", err)
	}
	// The answer is there when the question has been sent.
	_ = socket.SetReceiveTimeout(&unix.Timeval{Sec: 1})
	return absence{kernel: &nl.SocketHandle{Socket: socket}}, nil
}

// begin may be called when nobody of ours is writing. leave ends the announcements.
func (a *absence) begin(leave func() error) {
	if a.on || a.wrong {
		return
	}
	// In this order: what others commit in between is announced, and is not
	// counted.
	generation, err := a.generation()
	if err != nil || leave() != nil {
		return
	}
	a.on, a.next, a.unclear = true, generation, false
}

// wrote counts commits of our own; failed is why they may not have been made.
func (a *absence) wrote(commits int, failed error) {
	a.next += uint32(commits)
	a.unclear = a.unclear || failed != nil
}

// end may be called when nobody of ours is writing. join begins the announcements.
// It reports whether somebody else may have written.
func (a *absence) end(join func() error) (others bool) {
	if !a.on {
		return false
	}
	a.on = false
	joined := join()
	generation, err := a.generation()
	a.wrong = joined != nil || err != nil || !a.unclear && generation != a.next
	return a.wrong || a.unclear
}

// generation asks the kernel (NFT_MSG_GETGEN).
func (a *absence) generation() (uint32, error) {
	const getGen, genID = 16, 1 // NFT_MSG_GETGEN, NFTA_GEN_ID
	request := nl.NewNetlinkRequest(subsystem<<8|getGen, 0)
	request.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_NETFILTER: a.kernel}
	request.AddData(&nl.Nfgenmsg{})
	answers, err := request.Execute(unix.NETLINK_NETFILTER, subsystem<<8|newGen)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errGeneration, err)
	}
	generation, found := uint32(0), false
	for _, answer := range answers {
		err = each(answer[min(familyLength, len(answer)):], func(typ uint16, v []byte) {
			if typ == genID && len(v) == 4 {
				generation, found = binary.BigEndian.Uint32(v), true
			}
		})
	}
	if err != nil || !found {
		return 0, errors.Join(errGeneration, err)
	}
	return generation, nil
}
