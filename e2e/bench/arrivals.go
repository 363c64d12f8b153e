package main

import (
	"math/rand/v2"
	"time"
)

// everySecond is one arrival a second.
func everySecond(n int) (starts []time.Duration) {
	for i := range n {
		starts = append(starts, time.Duration(i)*time.Second)
	}
	return starts
}

// evenly is n arrivals within d.
func evenly(n int, d time.Duration) (starts []time.Duration) {
	for i := range n {
		starts = append(starts, d*time.Duration(i)/time.Duration(n))
	}
	return starts
}

// poisson is n arrivals at random, the mean apart on average; the same ones in
// every run.
func poisson(n int, mean time.Duration) (starts []time.Duration) {
	r := rand.New(rand.NewPCG(1, 2))
	at := time.Duration(0)
	for range n {
		starts = append(starts, at.Round(time.Millisecond))
		at += time.Duration(r.ExpFloat64() * float64(mean))
	}
	return starts
}

// twoWaves is half of n at once, and the other half that much later.
func twoWaves(n int, later time.Duration) []time.Duration {
	starts := make([]time.Duration, n)
	for i := n / 2; i < n; i++ {
		starts[i] = later
	}
	return starts
}
