package wire

import (
	"errors"
	"strconv"
)

// The few lines of bencode (BEP 3) that a tracker needs.

func appendString[T string | []byte](dst []byte, s T) []byte {
	return append(appendLength(dst, len(s)), s...)
}

// appendLength begins a string of n bytes.
func appendLength(dst []byte, n int) []byte {
	return append(strconv.AppendInt(dst, int64(n), 10), ':')
}

func appendInt(dst []byte, n int64) []byte {
	dst = strconv.AppendInt(append(dst, 'i'), n, 10)
	return append(dst, 'e')
}

var errBencode = errors.New("malformed bencode")

// maxDepth bounds the nesting of what is skipped.
const maxDepth = 16

// scanner reads bencode from the front of b. What it returns points into b.
type scanner struct{ b []byte }

// peek returns the first byte of the next value, 0 at the end.
func (s *scanner) peek() byte {
	if len(s.b) == 0 {
		return 0
	}
	return s.b[0]
}

// text reads a string.
func (s *scanner) text() ([]byte, error) {
	n, err := s.digits(':', false)
	if err != nil || n > int64(len(s.b)) {
		return nil, errBencode
	}
	t := s.b[:n]
	s.b = s.b[n:]
	return t, nil
}

// integer reads an integer.
func (s *scanner) integer() (int64, error) {
	if s.peek() != 'i' {
		return 0, errBencode
	}
	s.b = s.b[1:]
	return s.digits('e', true)
}

// digits reads a number in its one canonical form, up to and with end.
func (s *scanner) digits(end byte, signed bool) (int64, error) {
	const longest = len("-9223372036854775808")
	for i := 0; i < len(s.b) && i <= longest; i++ {
		if s.b[i] != end {
			continue
		}
		text := string(s.b[:i])
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 && !signed || strconv.FormatInt(n, 10) != text {
			return 0, errBencode
		}
		s.b = s.b[i+1:]
		return n, nil
	}
	return 0, errBencode
}

// dict reads a dictionary. f is called with each key and must read its value.
// Keys out of order are let pass: the peers of a sloppy tracker are as good.
func (s *scanner) dict(f func(key string) error) error {
	return s.until('d', func() error {
		key, err := s.text()
		if err != nil {
			return err
		}
		return f(string(key))
	})
}

// list reads a list. f must read one element.
func (s *scanner) list(f func() error) error { return s.until('l', f) }

func (s *scanner) until(open byte, f func() error) error {
	if s.peek() != open {
		return errBencode
	}
	s.b = s.b[1:]
	for s.peek() != 'e' {
		if err := f(); err != nil {
			return err
		}
	}
	s.b = s.b[1:]
	return nil
}

// skip reads any value, nested at most depth times.
func (s *scanner) skip(depth int) error {
	if depth == 0 {
		return errBencode
	}
	switch s.peek() {
	case 'i':
		_, err := s.integer()
		return err
	case 'l':
		return s.list(func() error { return s.skip(depth - 1) })
	case 'd':
		return s.dict(func(string) error { return s.skip(depth - 1) })
	}
	_, err := s.text()
	return err
}
