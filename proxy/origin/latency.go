package origin

import (
	"sync"
	"time"
)

// latencies remembers, by host, how long requests waited for a response's head.
type latencies struct {
	mu sync.Mutex
	m  map[string]time.Duration
}

// maxLatencies bounds the hosts remembered.
const maxLatencies = 1000

// add takes in one response. A slower one counts at once, quicker ones by and
// by: an origin that is slow now and then is a slow one.
func (l *latencies) add(host string, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old, ok := l.m[host]; ok && d < old {
		d = old - (old-d)/4
	} else if !ok && len(l.m) >= maxLatencies {
		clear(l.m)
	}
	if l.m == nil {
		l.m = map[string]time.Duration{}
	}
	l.m[host] = d
}

func (l *latencies) of(host string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.m[host]
}
