// Package e2e plays whole scenarios with the real binary, a real etcd, nginx,
// wget and curl in network namespaces; see package lab. It imports nothing of
// the product: it sees what a user sees.
//
//	make e2e            all of them; needs root
//	make e2e E2E=Kill   those whose name matches
package e2e
