package cluster

import (
	"context"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/swarmcache"
)

// publishedPage is how many keys are read at a time: some hundred KiB.
const publishedPage = 256

// Published calls f with every version that the directory knows: those that are
// current, and those that fills run for. It stands for all nodes, also those that
// are away, and is no view of one moment.
func (c *Cluster) Published(ctx context.Context, f func(swarmcache.Version)) error {
	err := c.pages(ctx, c.keys.prefix+"objects/", func(kvs []*mvccpb.KeyValue) {
		for _, v := range decodeAll[swarmcache.Version](c, kvs) {
			f(v)
		}
	})
	if err != nil {
		return err
	}
	return c.pages(ctx, c.keys.allFilling(), func(kvs []*mvccpb.KeyValue) {
		for _, p := range decodeAll[pointer](c, kvs) {
			if fill := p.running(); fill != nil {
				f(fill.Version)
			}
		}
	})
}

// pages reads what stands under prefix, some at a time: each is a question of its
// own to etcd, so that others get their answers in between.
func (c *Cluster) pages(ctx context.Context, prefix string, f func([]*mvccpb.KeyValue)) error {
	for from, end := prefix, clientv3.GetPrefixRangeEnd(prefix); ; {
		var page *clientv3.GetResponse
		err := c.do(ctx, opRead, func(ctx context.Context, client *clientv3.Client) (err error) {
			page, err = client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(publishedPage))
			return err
		})
		if err != nil {
			return err
		}
		f(page.Kvs)
		if !page.More {
			return nil
		}
		from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
}
