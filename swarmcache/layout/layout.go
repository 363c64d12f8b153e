// Package layout is the arithmetic between byte ranges, pieces and spans.
//
// A piece is the swarm's hashed unit; a span is the run of pieces that one node
// claims and fetches from the origin. All offsets are bytes from the start of
// the object's body; all ranges are half-open, [From, To).
package layout

import (
	"math/bits"
	"time"
)

// Piece lengths: a power of two, about Length/2048, within these bounds until
// an object would have more than MaxPieces.
const (
	MinPieceLen = 128 << 10
	MaxPieceLen = 1 << 20
	MaxPieces   = 16 << 10
)

// Range is a half-open run of bytes, pieces or spans.
type Range struct{ From, To int64 }

// Len is the number of units in r.
func (r Range) Len() int64 { return r.To - r.From }

// Empty reports whether r holds nothing.
func (r Range) Empty() bool { return r.To <= r.From }

// Intersect returns what r and s share.
func (r Range) Intersect(s Range) Range {
	return Range{max(r.From, s.From), min(r.To, s.To)}
}

// PieceLenFor picks the piece length of an object of that many bytes.
func PieceLenFor(length int64) int64 {
	p := int64(MinPieceLen)
	for p < MaxPieceLen && p*2048 < length {
		p <<= 1
	}
	for p*MaxPieces < length {
		p <<= 1
	}
	return p
}

// Layout cuts a body of Length bytes into pieces.
type Layout struct {
	Length   int64
	PieceLen int64
}

// Pieces is the number of pieces.
func (l Layout) Pieces() int {
	if l.Length == 0 {
		return 0
	}
	return int((l.Length + l.PieceLen - 1) / l.PieceLen)
}

// Piece returns the bytes of piece i.
func (l Layout) Piece(i int) Range {
	from := int64(i) * l.PieceLen
	return Range{from, min(from+l.PieceLen, l.Length)}
}

// PieceAt returns the piece that holds byte off.
func (l Layout) PieceAt(off int64) int { return int(off / l.PieceLen) }

// PiecesOf returns the pieces that hold any byte of r.
func (l Layout) PiecesOf(r Range) Range {
	r = r.Intersect(Range{0, l.Length})
	if r.Empty() {
		return Range{}
	}
	return Range{r.From / l.PieceLen, (r.To + l.PieceLen - 1) / l.PieceLen}
}

// Plan cuts the pieces into spans: small ones first, so that the first bytes
// land early, then doubling up to MaxSpan pieces.
type Plan struct {
	Layout
	MaxSpan int  // pieces in a span of full size
	Flat    bool // all spans are of full size, the first too
}

// SpanBytes bounds the size of a full span: about a second at the claimer's
// share of the rate, so that hashes never lag by much and a lost claimer costs
// little.
const (
	MinSpanBytes = 512 << 10
	MaxSpanBytes = 8 << 20
)

// An origin that takes longer than slowOrigin to a first byte is asked for more
// at a time: what slowRate brings in what is beyond it, or a quarter of the
// object, for it has four streams.
const (
	slowOrigin = 250 * time.Millisecond
	slowRate   = 16 << 20 // bytes a second
)

// PlanFor picks the spans of an object: about 64 of them, within the bounds,
// and fewer where each request costs its latency.
func PlanFor(l Layout, latency time.Duration) Plan {
	b := min(max(l.Length/64, MinSpanBytes), MaxSpanBytes)
	slow := int64((latency - slowOrigin).Seconds() * slowRate)
	if slow <= b {
		return Plan{Layout: l, MaxSpan: int(max(1, b/l.PieceLen))}
	}
	b = max(b, min(slow, (l.Length+3)/4))
	return Plan{Layout: l, MaxSpan: int((b + l.PieceLen - 1) / l.PieceLen), Flat: true}
}

// ramp returns how many spans precede those of full size, and how many pieces
// they hold: two spans of each size 1, 2, 4, … below MaxSpan.
func (p Plan) ramp() (spans, pieces int) {
	if p.Flat {
		return 0, 0
	}
	n := bits.Len(uint(p.MaxSpan - 1)) // sizes 1<<0 … 1<<(n-1) are below MaxSpan
	return 2 * n, 2 * (1<<n - 1)
}

// Spans is the number of spans.
func (p Plan) Spans() int {
	n := p.Pieces()
	if n == 0 {
		return 0
	}
	return p.SpanOf(n-1) + 1
}

// SpanOf returns the span that holds a piece.
func (p Plan) SpanOf(piece int) int {
	spans, pieces := p.ramp()
	if piece >= pieces {
		return spans + (piece-pieces)/p.MaxSpan
	}
	k := bits.Len(uint(piece/2+1)) - 1 // size 1<<k
	before := 2 * (1<<k - 1)           // pieces in smaller spans
	return 2*k + (piece-before)>>k
}

// Span returns the pieces of span i.
func (p Plan) Span(i int) Range {
	spans, pieces := p.ramp()
	n := int64(p.Pieces())
	if i >= spans {
		from := int64(pieces) + int64(i-spans)*int64(p.MaxSpan)
		return Range{min(from, n), min(from+int64(p.MaxSpan), n)}
	}
	k := i / 2
	from := int64(2*(1<<k-1)) + int64(i%2)<<k
	return Range{min(from, n), min(from+1<<k, n)}
}

// Bytes returns the bytes of a run of pieces.
func (l Layout) Bytes(pieces Range) Range {
	return Range{min(pieces.From*l.PieceLen, l.Length), min(pieces.To*l.PieceLen, l.Length)}
}
