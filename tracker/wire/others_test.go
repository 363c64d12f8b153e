package wire

import (
	"bytes"
	"slices"
	"testing"
	"testing/iotest"
)

func TestOthers(t *testing.T) {
	many := make([]InfoHash, MaxOthers+1)
	for i := range many {
		many[i] = InfoHash{byte(i), byte(i >> 8)}
	}
	for _, n := range []int{0, 1, MaxOthers} {
		got, err := ReadOthers(nil, iotest.HalfReader(bytes.NewReader(AppendOthers(nil, many[:n]...))))
		if err != nil || !slices.Equal(got, many[:n]) {
			t.Errorf("%d infohashes: %d, %v", n, len(got), err)
		}
	}
	for name, body := range map[string][]byte{
		"too many": AppendOthers(nil, many...), "cut off": make([]byte, 39), "one byte too many": make([]byte, 21),
	} {
		if _, err := ReadOthers(nil, bytes.NewReader(body)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
