package source

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestALostServerIsToldOnce: client-go says nothing while connections are refused.
func TestALostServerIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, c := quietly(t), &Contact{}
		refused := errors.New("connection refused")
		c.note(ctx, "nodes", refused)
		<-time.After(2 * lostAfter)
		if logged(ctx) != "" {
			t.Errorf("before all objects are there, somebody else tells of it; the log has:\n%s", logged(ctx))
		}
		c.note(ctx, "nodes", nil)
		c.follow()

		c.note(ctx, "services", refused)
		<-time.After(lostAfter / 2)
		c.note(ctx, "services", nil)
		<-time.After(lostAfter)
		if logged(ctx) != "" {
			t.Errorf("a server that was restarted is none that is lost; the log has:\n%s", logged(ctx))
		}

		lost := time.Now()
		for range 4 {
			c.note(ctx, "services", refused)
			c.note(ctx, "nodes", refused)
			<-time.After(lostAfter / 2)
		}
		c.note(ctx, "nodes", nil)
		if since, why := c.Lost(); !since.Equal(lost) || why != "services: connection refused" {
			t.Errorf("lost since %v because of %q, want since %v, and what is answered not named", since, why, lost)
		}
		if got := strings.Count(logged(ctx), "does not answer"); got != 1 || !strings.Contains(logged(ctx), "connection refused") {
			t.Errorf("told %d times, want once, with the reason:\n%s", got, logged(ctx))
		}
		c.note(ctx, "services", nil)
		if since, why := c.Lost(); !since.IsZero() || why != "" || strings.Count(logged(ctx), "answers again") != 1 {
			t.Errorf("lost since %v because of %q, want neither, and a word that it answers again:\n%s", since, why, logged(ctx))
		}
	})
}

// TestAnEndedRequestIsNoLostServer: the program ends its requests when it ends.
func TestAnEndedRequestIsNoLostServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := &Contact{}
	c.note(ctx, "services", ctx.Err())
	if since, _ := c.Lost(); !since.IsZero() {
		t.Errorf("lost since %v, want not at all", since)
	}
}

// TestALostServerIsNoticed: through client-go, whose watch ends with the server.
func TestALostServerIsNoticed(t *testing.T) {
	server := newBadServer(t, nil)
	client, err := Connection{Master: server.URL, QPS: -1}.Client()
	if err != nil {
		t.Fatal(err)
	}
	a := &API{Client: client, NodeName: "here"}
	r := start(t, a.Run)
	r.serves()
	if since, why := a.Contact.Lost(); !since.IsZero() {
		t.Fatalf("lost since %v because of %q, want a server that answers", since, why)
	}
	server.Listener.Close()
	server.CloseClientConnections()
	look, timeout := time.Tick(10*time.Millisecond), time.After(deadline)
	for {
		_, why := a.Contact.Lost()
		if strings.Contains(why, "services: ") && strings.Contains(why, "connection refused") {
			return
		}
		select {
		case <-look:
		case <-timeout:
			t.Fatalf("known of the loss: %q, want that connections for services are refused", why)
		}
	}
}
