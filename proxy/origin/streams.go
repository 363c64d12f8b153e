package origin

import (
	"context"
	"sync"
)

// streams bounds how many spans are read from one host at a time, so that the
// fills of many objects together do not storm an origin.
type streams struct {
	max int

	mu    sync.Mutex // guards hosts; never held across a wait
	hosts map[string]*slots
}

// slots of one host. They stay in the map while somebody uses or awaits them.
type slots struct {
	free  chan struct{}
	users int
}

func newStreams(max int) *streams {
	return &streams{max: max, hosts: make(map[string]*slots)}
}

// acquire waits for a slot of host, or for the end of ctx. release may be
// called more than once.
func (s *streams) acquire(ctx context.Context, host string) (release func(), err error) {
	sl := s.enter(host)
	select {
	case sl.free <- struct{}{}:
	case <-ctx.Done():
		s.leave(host, sl)
		return nil, context.Cause(ctx)
	}
	return sync.OnceFunc(func() {
		<-sl.free
		s.leave(host, sl)
	}), nil
}

func (s *streams) enter(host string) *slots {
	s.mu.Lock()
	defer s.mu.Unlock()
	sl := s.hosts[host]
	if sl == nil {
		sl = &slots{free: make(chan struct{}, s.max)}
		s.hosts[host] = sl
	}
	sl.users++
	return sl
}

func (s *streams) leave(host string, sl *slots) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sl.users--; sl.users == 0 {
		delete(s.hosts, host)
	}
}
