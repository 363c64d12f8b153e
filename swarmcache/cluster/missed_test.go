package cluster_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// Where etcd is always being written a watch that begins at what was read is late, for it
// is told in rounds. Who joins a fill must not be: how soon it hears, and how soon such a
// watch does.
func BenchmarkJoinerHears(b *testing.B) {
	p := prefix()
	opener, joiner, plain := join(b, config(p, 1)), join(b, config(p, 2)), raw(b, etcd)
	var ours, theirs time.Duration
	for i := range b.N {
		r := fill(version(policy.Key("http://busy.test/"+strconv.Itoa(i)), `"1"`))
		_, mine, err := opener.OpenFill(b.Context(), r)
		noErr(b, err)
		its, err := joiner.JoinFill(b.Context(), r)
		noErr(b, err)
		begin, err := plain.Put(b.Context(), p+"other", "")
		noErr(b, err)
		won, err := mine.Claim(b.Context(), []swarmcache.SpanRecord{{Span: 0}})
		if err != nil || !won[0] {
			b.Fatalf("claim: %v, %v", won, err)
		}

		ctx, cancel := context.WithCancel(b.Context())
		began, heard, gone := time.Now(), make(chan time.Duration, 1), make(chan struct{})
		go func() {
			defer close(gone)
			its.Watch(ctx, func(e swarmcache.BoardEvent) {
				if e.Span != nil {
					heard <- time.Since(began)
				}
			})
		}()
		<-plain.Watch(ctx, p, clientv3.WithPrefix(), clientv3.WithRev(begin.Header.Revision))
		theirs += time.Since(began)
		ours += <-heard
		cancel()
		<-gone
		noErr(b, its.Leave(b.Context()))
		noErr(b, mine.Leave(b.Context()))
	}
	b.ReportMetric(ours.Seconds()*1000/float64(b.N), "ours-ms")
	b.ReportMetric(theirs.Seconds()*1000/float64(b.N), "plain-ms")
}

// What is deleted between the state that was read and the watch that begins is told too.
func TestWatchMissesNoDeletion(t *testing.T) {
	t.Parallel()
	p := prefix()
	opener, joiner := join(t, config(p, 1)), join(t, config(p, 2))
	r := fill(version("http://busy.test/", `"1"`))
	_, mine, err := opener.OpenFill(t.Context(), r, 0, 1)
	noErr(t, err)
	b, err := joiner.JoinFill(t.Context(), r)
	noErr(t, err)
	noErr(t, mine.Release(t.Context(), 1))
	won, err := mine.Claim(t.Context(), []swarmcache.SpanRecord{{Span: 2}})
	if err != nil || !won[0] {
		t.Fatalf("claim: %v, %v", won, err)
	}
	v := watch(t, b)
	eventually(t, "span 1 is free, 0 and 2 are not", func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		_, freed := v.spans[1]
		return v.spans[0].Owner == node(1).ID && !freed && v.spans[2].Owner == node(1).ID
	})
}
