package listen

import (
	"context"
	"net"
	"net/http"
	"time"
)

// farewell is how long requests may run on at an address that was given up.
const farewell = 10 * time.Second

// An Opening is an address at which an HTTP server answers.
type Opening struct {
	listener net.Listener
	server   *http.Server
	ended    chan struct{} // closed when it does not serve any more
}

// Open listens on an address, as net.Listen does, and serves there on a goroutine
// of its own, no more than Limit allows. Should that end, Ended and Serves tell.
func Open(ctx context.Context, network, address string, server *http.Server) (*Opening, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	o := &Opening{listener: listener, server: server, ended: make(chan struct{})}
	go func() {
		defer close(o.ended)
		_ = o.server.Serve(Limit(listener)) // who opened it sees that it ended, and opens it anew
	}()
	return o, nil
}

// Ended is closed when nothing is served any more.
func (o *Opening) Ended() <-chan struct{} { return o.ended }

// Serves reports whether it has not ended.
func (o *Opening) Serves() bool {
	select {
	case <-o.ended:
		return false
	default:
		return true
	}
}

// Close frees the address before it returns, and ends all requests.
func (o *Opening) Close() {
	_ = o.listener.Close() // the server does so later, if it has not begun to serve
	_ = o.server.Close()
}

// Leave frees the address before it returns; requests may go on for a while.
func (o *Opening) Leave() {
	_ = o.listener.Close()
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), farewell)
		defer cancel()
		if o.server.Shutdown(ctx) != nil {
			_ = o.server.Close()
		}
	}()
}
