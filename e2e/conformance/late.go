package conformance

import "time"

// beatEvery is how often a timer is looked at.
const beatEvery = 20 * time.Millisecond

// measure begins to see how late this computer's timers are, and the function that it
// returns ends that, and says it of the latest. Tests say it themselves.
var measure = func() (lateness func() time.Duration) {
	ended, said := make(chan struct{}), make(chan time.Duration)
	go func() {
		var most time.Duration
		for going := true; going; {
			due := time.Now().Add(beatEvery)
			select {
			case <-ended:
				going = false
			case <-time.After(beatEvery):
			}
			most = max(most, time.Since(due))
		}
		said <- most
	}()
	return func() time.Duration {
		close(ended)
		return <-said
	}
}
