package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"k8s.io/klog/v2"

	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
	"github.com/kube-proxier/kube-proxier/proxier/source"
)

// An objectSource is where objects come from.
type objectSource struct {
	// run fills a store and keeps it up to date until ctx ends. It may take a
	// while to return then.
	run func(ctx context.Context, store *proxier.Store) error
	// wait says what is being waited for while the store has not synced.
	wait func(ctx context.Context) string
	// client talks to the API server, and contact tells whether it answers; nil where
	// the objects come from files.
	client  *source.Client
	contact *source.Contact
	// manifests are the files; nil where the objects come from the API server.
	manifests *source.Manifests
}

// connectionOf is how the configuration reaches the API server.
func connectionOf(c *config.Config) source.Connection {
	return source.Connection{
		Kubeconfig: c.Client.Kubeconfig, Master: c.Client.Master, QPS: c.Client.QPS, Burst: c.Client.Burst,
		ContentType: c.Client.ContentType, AcceptContentTypes: c.Client.AcceptContentTypes, UserAgent: "kube-proxier",
	}
}

// newSource is the manifests, where a path is given, else the API server.
func newSource(c *config.Config, manifests string, in io.Reader) (*objectSource, error) {
	if manifests != "" {
		m := &source.Manifests{Path: manifests, In: in, NodeName: c.NodeName}
		return &objectSource{
			run: m.Run, manifests: m,
			wait: func(context.Context) string { return nameOf(manifests) + " has not been read to its end" },
		}, nil
	}
	connection := connectionOf(c)
	client, err := connection.Client()
	if err != nil {
		return nil, fmt.Errorf("%w (--manifests needs no API server)", err)
	}
	api := &source.API{Client: client, NodeName: c.NodeName}
	wait := func(ctx context.Context) string {
		why := source.Ask(ctx, client, c.NodeName).String()
		if connection.ByService() {
			why += "; that is the address of a Service, which after a start of the node nobody serves before all objects are there:" +
				" clientConnection.kubeconfig should name the API server itself"
		}
		return why
	}
	return &objectSource{run: api.Run, wait: wait, client: client, contact: &api.Contact}, nil
}

// fill runs the source until ctx ends, without waiting for it to clean up.
func (s *objectSource) fill(ctx context.Context, store *proxier.Store) error {
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx, store) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
}

// readOnce runs the source until everything that exists is in the store.
// In IPVS mode the addresses of other nodes belong to that.
func (s *objectSource) readOnce(ctx context.Context, c *config.Config) (*proxier.Store, error) {
	running, stop := context.WithCancel(ctx)
	defer stop()
	store := proxier.NewStore()
	heedOtherNodes(store, c)
	synced, ended := store.Watch(), make(chan error, 1)
	go func() { ended <- s.fill(running, store) }()
	select {
	case <-synced:
		return store, nil
	case err := <-ended:
		if err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("the objects were not complete in time: %s", s.wait(context.WithoutCancel(ctx)))
	}
}

// heedOtherNodes has the addresses of other nodes count where the mode binds addresses.
func heedOtherNodes(store *proxier.Store, c *config.Config) {
	if c.Mode == config.ModeIPVS {
		store.AwaitOtherNodes(c.ExternalIPs)
	} else {
		store.IgnoreOtherNodes()
	}
}

// The first word about missing objects comes soon, the others now and then.
const (
	firstWord = 5 * time.Second
	nextWords = time.Minute
)

// announceWait logs what is being waited for, until the store has synced.
func (s *objectSource) announceWait(ctx context.Context, store *proxier.Store) {
	synced, patience := store.Watch(), time.NewTimer(firstWord)
	defer patience.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-synced:
			return
		case <-patience.C:
		}
		reason := s.wait(ctx)
		if ctx.Err() == nil && !store.Synced() {
			klog.FromContext(ctx).Info("Waiting for the objects; nothing is changed before they are complete", "reason", reason)
		}
		patience.Reset(nextWords)
	}
}
