package iptables

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestTickersTickTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const period = time.Second
		<-time.After(300 * time.Millisecond)
		first := alignedTicker(period)
		<-time.After(450 * time.Millisecond)
		second := alignedTicker(period)
		<-time.After(period) // by then both have found the others
		for range 3 {
			a, b := <-first.C, <-second.C
			if !a.Equal(b) || a.Nanosecond() != 0 {
				t.Errorf("one ticks at %v, the other at %v", a, b)
			}
		}
		first.Stop()
		second.Stop()
	})
}
