package main

import (
	"context"
	"fmt"
	"io"

	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
	"github.com/kube-proxier/kube-proxier/proxier/source"
)

// An objectSource fills a store and keeps it up to date until ctx ends.
type objectSource interface {
	Run(ctx context.Context, store *proxier.Store) error
}

// newSource is the manifests, where a path is given, else the API server.
func newSource(c *config.Config, manifests string, in io.Reader) (objectSource, error) {
	if manifests != "" {
		return &source.Manifests{Path: manifests, In: in, NodeName: c.NodeName}, nil
	}
	client, err := source.Connection{
		Kubeconfig: c.Client.Kubeconfig, Master: c.Client.Master, QPS: c.Client.QPS, Burst: c.Client.Burst,
		ContentType: c.Client.ContentType, AcceptContentTypes: c.Client.AcceptContentTypes, UserAgent: "kube-proxier",
	}.Client()
	if err != nil {
		return nil, fmt.Errorf("%w (--manifests needs no API server)", err)
	}
	return &source.API{Client: client, NodeName: c.NodeName}, nil
}

// readOnce runs the source until everything that exists is in the store.
func readOnce(ctx context.Context, s objectSource) (*proxier.Store, error) {
	running, stop := context.WithCancel(ctx)
	store := proxier.NewStore()
	synced, ended := store.Watch(), make(chan error, 1)
	go func() { ended <- s.Run(running, store) }()
	select {
	case err := <-ended:
		stop()
		if err == nil {
			err = ctx.Err()
		}
		return store, err
	case <-synced:
		stop()
		return store, <-ended
	case <-ctx.Done():
		stop()
		<-ended
		return nil, fmt.Errorf("the objects were not complete in time: %w", ctx.Err())
	}
}
