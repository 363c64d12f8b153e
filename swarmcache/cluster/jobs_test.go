package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/swarmcache"
)

// A job outlives who began it, and nothing is left of one that is canceled.
func TestJobsReachTheirNodes(t *testing.T) {
	t.Parallel()
	p := prefix()
	a, b := join(t, config(p, 1)), join(t, config(p, 2))
	ctx := t.Context()
	first := swarmcache.Job{ID: "1", At: time.Now().UTC().Truncate(time.Second), By: "node-1", Nodes: []swarmcache.NodeID{"node-2"}, URLs: []string{"http://o.test/1"}}
	noErr(t, a.StartJob(ctx, first))

	told := make(chan []swarmcache.Job, 100)
	follow, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- b.FollowJobs(follow, func(all []swarmcache.Job) { told <- all }) }()
	want := func(n int) []swarmcache.Job {
		t.Helper()
		for {
			select {
			case all := <-told:
				if len(all) == n {
					return all
				}
			case <-time.After(time.Minute):
				t.Fatalf("never %d jobs", n)
			}
		}
	}
	j := want(1)[0]
	if j.Lease == 0 || !j.Wants("node-2") || j.Wants("node-1") {
		t.Errorf("%+v", j)
	}
	if len(j.URLs) > 0 || j.Size == 0 { // all nodes are told of it
		t.Errorf("told with its list: %+v", j)
	}
	var err error
	j.URLs, err = b.JobURLs(ctx, j)
	noErr(t, err)
	if j.Lease, j.Size = 0, 0; !reflect.DeepEqual(j, first) {
		t.Errorf("%+v, want %+v", j, first)
	}
	second := first
	second.ID, second.URLs, second.Manifest = "2", nil, "http://o.test/list"
	noErr(t, a.StartJob(ctx, second))
	want(2)
	a.stop()

	all, err := b.Jobs(ctx)
	noErr(t, err)
	if len(all) != 2 || all[0].ID != "1" || all[1].ID != "2" {
		t.Fatalf("%+v", all)
	}
	if one, err := b.Job(ctx, "2"); err != nil || !reflect.DeepEqual(one, all[1]) {
		t.Errorf("%+v, %v", one, err)
	}
	if _, err := b.Job(ctx, "3"); !errors.Is(err, swarmcache.ErrNotFound) {
		t.Errorf("%v", err)
	}
	if _, err := b.Part(ctx, "1"); !errors.Is(err, swarmcache.ErrNotFound) {
		t.Errorf("%v", err)
	}
	part := swarmcache.JobPart{Job: "1", Node: "node-2", Objects: 3, Done: 1, Failures: []swarmcache.JobFailure{{URL: "u", Error: "e"}}}
	noErr(t, b.TellPart(ctx, all[0], part))
	if got, err := b.Part(ctx, "1"); err != nil || !reflect.DeepEqual(got, part) {
		t.Errorf("%+v, %v", got, err)
	}
	other := part
	other.Job = "2"
	noErr(t, b.TellPart(ctx, all[1], other))
	if parts, err := b.Parts(ctx, "1"); err != nil || len(parts) != 1 || !reflect.DeepEqual(parts[0], part) {
		t.Errorf("%+v, %v", parts, err)
	}
	if parts, err := b.Parts(ctx, ""); err != nil || len(parts) != 2 {
		t.Errorf("%+v, %v", parts, err)
	}

	noErr(t, b.CancelJob(ctx, "1"))
	want(1)
	if err := b.CancelJob(ctx, "1"); !errors.Is(err, swarmcache.ErrNotFound) {
		t.Errorf("%v", err)
	}
	if err := b.TellPart(ctx, all[0], part); !errors.Is(err, swarmcache.ErrNotFound) {
		t.Errorf("of one that is gone: %v", err)
	}
	if _, err := b.JobURLs(ctx, all[0]); !errors.Is(err, swarmcache.ErrNotFound) {
		t.Errorf("the list of one that is gone: %v", err)
	}
	if urls, err := b.JobURLs(ctx, all[1]); err != nil || len(urls) > 0 {
		t.Errorf("of one without a list: %v, %v", urls, err)
	}
	noErr(t, b.CancelJob(ctx, "2"))
	want(0)
	for _, of := range []string{"jobs/", "joblists/", "jobparts/"} {
		r, err := raw(t, etcd).Get(ctx, p+of, clientv3.WithPrefix())
		noErr(t, err)
		if len(r.Kvs) > 0 {
			t.Errorf("left: %v", r.Kvs)
		}
	}
	if !b.Healthy() {
		t.Error(b.State())
	}
	stop()
	noErr(t, <-done)

	// What stands leaves room for so much more.
	_, err = raw(t, etcd).Put(ctx, p+"jobs/0", fmt.Sprintf(`{"id":"0","size":%d}`, swarmcache.MaxJobLists-1))
	noErr(t, err)
	if err := a.StartJob(ctx, first); !errors.Is(err, swarmcache.ErrUnavailable) {
		t.Errorf("by a node that has left: %v", err)
	}
	if err := b.StartJob(ctx, first); !errors.Is(err, swarmcache.ErrTooManyJobs) || !strings.Contains(err.Error(), "manifest") {
		t.Errorf("no room: %v", err)
	}
	noErr(t, b.StartJob(ctx, second))

	long := second
	long.URLs = []string{strings.Repeat("x", swarmcache.MaxJob)}
	if err := b.StartJob(ctx, long); !errors.Is(err, swarmcache.ErrJobTooLong) {
		t.Errorf("%v", err)
	}
}
