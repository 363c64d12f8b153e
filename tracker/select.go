package tracker

// pick appends up to want peers of s to dst: a random subset without the asker,
// and without the seeders if the asker seeds itself. rnd is a random number.
//
// Every peer is as likely as any other, near or far: this is the place to prefer
// the asker's rack and zone, with some at random so that the swarm stays one.
func (s *swarm) pick(dst []peer, asker identity, seeding bool, want int, rnd uint64) []peer {
	from := s.peers
	if seeding {
		from = s.peers[s.seeders:]
	}
	for i := range walk(len(from), rnd) {
		if want <= 0 {
			break
		}
		if from[i].identity != asker {
			dst = append(dst, from[i])
			want--
		}
	}
	return dst
}

// walk visits each of 0..n-1 once: from a random start in steps of a random
// length that has no divisor in common with n. It needs no memory, and may stop
// anywhere.
func walk(n int, rnd uint64) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		if n == 0 {
			return
		}
		at, step := int(rnd&(1<<31-1))%n, 1+int(rnd>>33)%n
		for gcd(step, n) != 1 {
			step++ // ends at n+1 at the latest
		}
		for range n {
			if !yield(at) {
				return
			}
			at = (at + step) % n
		}
	}
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
