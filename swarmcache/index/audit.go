package index

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"shatabdi/swarmcache"
)

// Audit reads the whole catalogue and finds what cannot be read and what speaks
// of records that are not there; repair removes it. Objects whose hashes went
// with it are for swarmcache.Check to set right.
func (x *Index) Audit(repair bool) (found []swarmcache.Finding, err error) {
	var wrong [][]byte
	note := func(key []byte, what string, id swarmcache.ObjectID, detail string) {
		f := swarmcache.Finding{What: what, Object: id, Detail: detail}
		if repair {
			f.Repaired = "it was removed"
		}
		found, wrong = append(found, f), append(wrong, bytes.Clone(key))
	}
	err = x.view("audit the catalogue", func(txn *badger.Txn) error {
		selectedBy := map[swarmcache.ObjectID][]byte{} // of the records that can be read
		eachItem(txn, recordPrefix, func(item *badger.Item, id swarmcache.ObjectID) {
			err := read(item, func(value []byte) error {
				r, err := decode(id, value)
				if err == nil {
					selectedBy[id] = currentKey(r.Version.Key)
				}
				return err
			})
			if err != nil {
				note(item.Key(), swarmcache.FoundDamaged, id, err.Error())
			}
		})
		eachItem(txn, hashesPrefix, func(item *badger.Item, id swarmcache.ObjectID) {
			if selectedBy[id] == nil {
				note(item.Key(), swarmcache.FoundDangling, id, "hashes without a record")
			} else if err := read(item, func([]byte) error { return nil }); err != nil {
				note(item.Key(), swarmcache.FoundDamaged, id, err.Error())
			}
		})
		eachItem(txn, currentPrefix, func(item *badger.Item, _ swarmcache.ObjectID) {
			err := read(item, func(value []byte) error {
				id := swarmcache.ObjectID(value)
				if !bytes.Equal(selectedBy[id], item.Key()) {
					note(item.Key(), swarmcache.FoundDangling, id, fmt.Sprintf("selected by key %s", hex.EncodeToString(item.Key()[len(currentPrefix):])))
				}
				return nil
			})
			if err != nil {
				note(item.Key(), swarmcache.FoundDamaged, "", err.Error())
			}
		})
		return nil
	})
	if err != nil || !repair {
		return found, err
	}
	return found, x.remove(wrong)
}

// eachItem calls f for every entry under prefix, with the rest of its key.
func eachItem(txn *badger.Txn, prefix string, f func(*badger.Item, swarmcache.ObjectID)) {
	it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte(prefix)})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		f(it.Item(), swarmcache.ObjectID(it.Item().Key()[len(prefix):]))
	}
}

// remove deletes entries, each on its own: together they may be too many for a
// transaction.
func (x *Index) remove(keys [][]byte) (err error) {
	for _, key := range keys {
		err = errors.Join(err, x.update(roomToEdit, "remove an entry", func(txn *badger.Txn) error { return txn.Delete(key) }))
	}
	return err
}
