//go:build race

package swarmcache_test

// slower is how many times more a step costs under the race detector. Long tests
// take as many times fewer there: the plain run takes all.
const slower = 4
