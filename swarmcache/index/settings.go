package index

import (
	"bytes"

	"github.com/dgraph-io/badger/v4"
)

// EachSetting calls f for every setting whose name begins with prefix, in the order
// of their names. One that is damaged is logged and skipped.
func (x *Index) EachSetting(prefix string, f func(name string, value []byte)) error {
	return x.view("list settings "+prefix, func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte(settingPrefix + prefix)})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			name := string(it.Item().Key()[len(settingPrefix):])
			err := read(it.Item(), func(value []byte) error {
				f(name, bytes.Clone(value))
				return nil
			})
			if err != nil {
				x.log.Error("setting skipped", "name", name, "error", err)
			}
		}
		return nil
	})
}

// DropSetting forgets a setting, which need not exist.
func (x *Index) DropSetting(name string) error {
	return x.update(0, "drop setting "+name, func(txn *badger.Txn) error {
		return txn.Delete([]byte(settingPrefix + name))
	})
}
