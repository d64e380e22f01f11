package listen

import (
	"net"
	"testing"
	"testing/synctest"
)

// endless is a listener that somebody connects to all the time.
type endless struct {
	net.Listener
	closed bool
}

func (l *endless) Accept() (net.Conn, error) {
	if l.closed {
		return nil, net.ErrClosed
	}
	client, server := net.Pipe()
	_ = client.Close()
	return server, nil
}

func (l *endless) Close() error {
	l.closed = true
	return nil
}

// Clients that say nothing take no more than so many connections, and who comes
// after them is let in when one of them goes.
func TestClientsCannotTakeAllFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := Limit(&endless{})
		var held []net.Conn
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				held = append(held, conn)
			}
		}()
		synctest.Wait()
		if len(held) != MaxConnections {
			t.Fatalf("%d connections, want %d", len(held), MaxConnections)
		}
		_ = held[0].Close()
		synctest.Wait()
		if len(held) != MaxConnections+1 {
			t.Errorf("%d connections after one had gone, want one more", len(held))
		}
		_ = listener.Close()
	})
}
