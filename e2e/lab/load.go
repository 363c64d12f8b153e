package lab

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Load tells how busy this computer was: a lab whose CPUs are all taken measures
// the CPUs and not the network.
type Load struct {
	CPU  float64       // share of all CPUs that was not idle, 0 to 1
	Late time.Duration // by how much 99 of 100 timers were late at most
}

// Starved reports whether figures taken under this load say more about the
// computer than about the program.
func (l Load) Starved() bool { return l.CPU > 0.95 || l.Late > 25*time.Millisecond }

func (l Load) String() string {
	return fmt.Sprintf("CPU %.0f %%, timers %.1f ms late", 100*l.CPU, float64(l.Late.Microseconds())/1000)
}

// WatchLoad begins to measure; the returned function ends it.
func WatchLoad() (stop func() Load) {
	busy, all := cpuTimes()
	var late []time.Duration
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		const every = 10 * time.Millisecond
		for {
			due := time.Now().Add(every)
			select {
			case <-time.After(every):
				late = append(late, time.Since(due))
			case <-quit:
				return
			}
		}
	}()
	return func() Load {
		close(quit)
		<-done
		busyNow, allNow := cpuTimes()
		l := Load{CPU: float64(busyNow-busy) / float64(max(1, allNow-all))}
		if len(late) > 0 {
			slices.Sort(late)
			l.Late = late[len(late)*99/100]
		}
		return l
	}
}

// cpuTimes reads the first line of /proc/stat, in ticks.
func cpuTimes() (busy, all int64) {
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(b), "\n")
	for i, s := range strings.Fields(line)[1:] {
		if i >= 8 {
			break // guest time is part of user time
		}
		n, _ := strconv.ParseInt(s, 10, 64)
		all += n
		if i != 3 && i != 4 { // idle, iowait
			busy += n
		}
	}
	return busy, all
}
