//go:build !race

package swarmcache_test

const slower = 1
