package swarmcache

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
)

// What a node remembers of purges stands in its catalogue: when it was last in touch,
// and the purges that it has obeyed, spread over sheets. In one value they would be
// written as a whole for each that comes, and some thousands would not fit.
const (
	settingPurges = "purges"
	purgeSheets   = 32
)

type digestOf [sha256.Size]byte

func sheetSetting(i int) string { return fmt.Sprintf("%s/%02d", settingPurges, i) }

func sheetOf(p Purge) int {
	h := fnv.New32a()
	h.Write([]byte(p.ID))
	return int(h.Sum32() % purgeSheets)
}

// load reads what an earlier run remembered. What is unreadable is not remembered:
// those purges that stand are obeyed again.
func (o *obedience) load(x Index) error {
	if err := readSetting(x, settingPurges, o); err != nil {
		return err
	}
	if b, err := json.Marshal(o); err == nil {
		o.rest = sha256.Sum256(b)
	}
	for i := range purgeSheets {
		b, err := x.Setting(sheetSetting(i))
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		var sheet []Purge
		if json.Unmarshal(b, &sheet) == nil {
			o.Obeyed, o.written[i] = append(o.Obeyed, sheet...), sha256.Sum256(b)
		}
	}
	return nil
}

// saveLocked writes the sheets that have changed, and then that this node was in
// touch until now.
func (o *obedience) saveLocked(x Index) error {
	var sheets [purgeSheets][]Purge
	for _, p := range o.Obeyed {
		sheets[sheetOf(p)] = append(sheets[sheetOf(p)], p)
	}
	for i, sheet := range sheets {
		b, err := json.Marshal(sheet)
		if err != nil {
			return err
		}
		sum := digestOf(sha256.Sum256(b))
		if sum == o.written[i] || sheet == nil && o.written[i] == (digestOf{}) {
			continue
		}
		if err := x.SetSetting(sheetSetting(i), b); err != nil {
			return err
		}
		o.written[i] = sum
	}
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if sum := digestOf(sha256.Sum256(b)); sum != o.rest {
		if err := x.SetSetting(settingPurges, b); err != nil {
			return err
		}
		o.rest = sum
	}
	return nil
}

// MigratePurges makes of the purges of data format 1, all of them in one value, the
// sheets of format 2. It may be broken off at any point, and done again.
func MigratePurges(x Index) error {
	var old struct {
		obedience
		Obeyed []Purge `json:"obeyed"`
	}
	if err := readSetting(x, settingPurges, &old); err != nil || old.Obeyed == nil {
		return err
	}
	o := obedience{Obeyed: old.Obeyed, Touch: old.Touch, Era: old.Era}
	return o.saveLocked(x)
}

// readSetting reads one into v, which stays as it is when there is none.
func readSetting(x Index, name string, v any) error {
	b, err := x.Setting(name)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err == nil {
		json.Unmarshal(b, v) // what cannot be read is as good as none
	}
	return err
}
