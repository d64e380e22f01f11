package measure

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// Connect opens a TCP connection over IPv4 on the calling thread, closes it by a
// reset, and returns how long connect(2) took: from the SYN to the SYN-ACK. It
// fails after patience.
func Connect(to netip.AddrPort, patience time.Duration) (time.Duration, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	limit := unix.NsecToTimeval(patience.Nanoseconds())
	err = errors.Join(
		// connect(2) gives up after this, see socket(7).
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit),
		// The port is free again at once, for the next of many.
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}),
	)
	if err != nil {
		return 0, err
	}
	address := &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	start := time.Now()
	for {
		// The runtime's own signals interrupt it; asked again, it goes on waiting.
		if err = unix.Connect(fd, address); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	took := time.Since(start)
	if err != nil {
		return took, fmt.Errorf("connect to %s: %w", to, err)
	}
	return took, nil
}

// A Way is where connections are opened from and to.
type Way struct {
	From *testenv.Host
	To   func() netip.AddrPort // of the next connection
}

// answerPatience is what a measured connection may take, warmUp how many of them do
// not count: the first ones fill caches of routes and neighbours.
const (
	answerPatience = time.Second
	warmUp         = 50
)

// block is how many connections are opened on a way before it is the next one's
// turn.
const block = 50

// FirstPackets opens n connections on each way and returns how long they took. The
// ways take turns, so that what else the machine does meanwhile adds to all of them.
// A connection that takes longer than a second is an error.
func FirstPackets(n int, ways ...Way) ([]Sample, error) {
	samples := make([]Sample, len(ways))
	for i, way := range ways {
		if _, err := connectTimes(way, warmUp); err != nil {
			return nil, err
		}
		samples[i] = make(Sample, 0, n)
	}
	for done := 0; done < n; done += block {
		for i, way := range ways {
			sample, err := connectTimes(way, min(block, n-done))
			if err != nil {
				return nil, err
			}
			samples[i] = append(samples[i], sample...)
		}
	}
	return samples, nil
}

func connectTimes(way Way, n int) (Sample, error) {
	sample := make(Sample, n)
	err := way.From.Do(func() (err error) {
		for i := range sample {
			if sample[i], err = Connect(way.To(), answerPatience); err != nil {
				return err
			}
		}
		return nil
	})
	return sample, err
}
