package layout

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Every piece is in exactly one span, spans are in order and none is empty.
func TestPlanCoversEveryPieceOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		length := rapid.Int64Range(1, 300<<30).Draw(t, "length")
		l := Layout{length, PieceLenFor(length)}
		if n := l.Pieces(); n > MaxPieces {
			t.Fatalf("%d pieces", n)
		}
		for _, p := range []Plan{
			PlanFor(l, time.Duration(rapid.IntRange(0, 30).Draw(t, "seconds"))*time.Second),
			{l, rapid.IntRange(1, 70).Draw(t, "maxspan"), rapid.Bool().Draw(t, "flat")},
		} {
			next := int64(0)
			for i := range p.Spans() {
				s := p.Span(i)
				if s.From != next || s.Empty() || s.Len() > int64(p.MaxSpan) {
					t.Fatalf("span %d is %v after %d (of at most %d)", i, s, next, p.MaxSpan)
				}
				for q := s.From; q < s.To; q++ {
					if p.SpanOf(int(q)) != i {
						t.Fatalf("piece %d: span %d, want %d", q, p.SpanOf(int(q)), i)
					}
				}
				next = s.To
			}
			if next != int64(p.Pieces()) {
				t.Fatalf("spans end at %d of %d pieces", next, p.Pieces())
			}
		}
	})
}

// An origin that is slow to answer is asked for much at a time, but four nodes
// can still share an object.
func TestPlanForSlowOrigin(t *testing.T) {
	for _, c := range []struct {
		length  int64
		latency time.Duration
		span    int64
		flat    bool
	}{
		{40 << 20, 0, 640 << 10, false},
		{40 << 20, 200 * time.Millisecond, 640 << 10, false},
		{40 << 20, 3 * time.Second, 10 << 20, true},
		{3 << 30, 3 * time.Second, 44 << 20, true},
		{3 << 30, 500 * time.Millisecond, 8 << 20, false},
		{3 << 20, 3 * time.Second, 768 << 10, true},
	} {
		p := PlanFor(Layout{c.length, PieceLenFor(c.length)}, c.latency)
		if got := int64(p.MaxSpan) * p.PieceLen; got != c.span || p.Flat != c.flat {
			t.Errorf("%d bytes, %v: spans of %d, flat %v; want %d, %v", c.length, c.latency, got, p.Flat, c.span, c.flat)
		}
	}
}

func TestPieces(t *testing.T) {
	l := Layout{Length: 1000, PieceLen: 300}
	if n := l.Pieces(); n != 4 {
		t.Errorf("Pieces = %d", n)
	}
	if r := l.Piece(3); r != (Range{900, 1000}) {
		t.Errorf("Piece(3) = %v", r)
	}
	for _, c := range []struct{ in, want Range }{
		{Range{0, 1}, Range{0, 1}},
		{Range{299, 301}, Range{0, 2}},
		{Range{300, 600}, Range{1, 2}},
		{Range{900, 5000}, Range{3, 4}},
		{Range{5, 5}, Range{}},
		{Range{1000, 2000}, Range{}},
	} {
		if got := l.PiecesOf(c.in); got != c.want {
			t.Errorf("PiecesOf(%v) = %v, want %v", c.in, got, c.want)
		}
	}
	if n := (Layout{0, 300}).Pieces(); n != 0 {
		t.Errorf("an empty body has %d pieces", n)
	}
}

func TestPieceLenFor(t *testing.T) {
	for length, want := range map[int64]int64{
		0:         128 << 10,
		256 << 20: 128 << 10,
		512 << 20: 256 << 10,
		3 << 30:   1 << 20,
		100 << 30: 8 << 20,
	} {
		if got := PieceLenFor(length); got != want {
			t.Errorf("PieceLenFor(%d) = %d, want %d", length, got, want)
		}
	}
}
