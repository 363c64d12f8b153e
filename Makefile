# Every target is a line or two of Go tooling that you could type yourself.
export CGO_ENABLED ?= 0

BIN         := bin/shatabdi
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2 -checks inherit,-ST1013 # 404 is as good as a name
FUZZTIME    ?= 5s
BENCH       ?=
SOAK        ?= 1h
KILLS       ?= 500
E2E         ?= .
FULL        ?= 1
PACKAGES    ?= ./...

.PHONY: help build run demo test race lint fuzz bench compare soak kill e2e check clean

help: ## print the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/shatabdi, one static binary
	go build -trimpath -o $(BIN) ./cmd/shatabdi

run: build ## serve on 127.0.0.1:3128 with embedded etcd, data in out/run
	@mkdir -p out/run
	@printf '%s\n' '' \
	  'Proxy   http://127.0.0.1:3128' \
	  'Metrics http://127.0.0.1:3180/metrics' '' \
	  'In a second terminal, an origin to play with:' '' \
	  '  go run ./e2e/origin' '' \
	  'In a third one, twice; the second answer is a hit:' '' \
	  '  export http_proxy=http://127.0.0.1:3128' \
	  '  curl -s -o /dev/null -D - http://127.0.0.1:8080/size=64MiB/file.bin' '' \
	  'Any other http:// address will do as well. Ctrl-C ends the node.' ''
	$(BIN) serve --data-dir out/run --allow-destination 127.0.0.0/8

demo: ## three nodes, three wgets at once, one download from the origin
	go run ./e2e/demo

test: ## the fast tests
	go test $(PACKAGES)

# The tags leave out what the static binary leaves out too: libraries in C. Two
# packages at a time: each waits half of its time, more would starve each other.
# No vet: that is what lint is for.
race: ## the fast tests under the race detector (needs gcc)
	CGO_ENABLED=1 go test -race -vet=off -p 2 -tags disable_libutp,nosqlite $(PACKAGES)

lint: ## gofmt, vet, staticcheck, tidy go.mod
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'gofmt: the files above need gofmt -w'; exit 1; }
	go vet -tags e2e ./...
	go run $(STATICCHECK) -tags e2e ./...
	go mod tidy -diff

fuzz: ## every fuzz target for FUZZTIME (5s)
	@for p in $$(go list ./...); do \
	  for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	    echo "fuzz $$p $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
	  done; done

bench: build ## hit ratios, and all against the physical limit and nginx (root); BENCH='-quick -run REGEX'
	@grep -q 'func TestEvictionAgainstLRUAndTheFuture(' policy/*_test.go # go test passes without it
	go test -count=1 -v -run TestEvictionAgainstLRUAndTheFuture ./policy
	go run ./e2e/bench $(BENCH)

compare: build ## the HTTP scenarios against us, nginx and squid, which it installs (root)
	@sh e2e/compare/install.sh
	go run ./e2e/compare

soak: build ## fill, read and evict for SOAK (1h), and see that nothing grows (root)
	go run ./e2e/bench -soak $(SOAK)

kill: build ## kill a node under load KILLS (500) times, and have every step of its store fail (root)
	SHATABDI_KILLS=$(KILLS) go test -count=1 -v -run 'TestEveryStepFails|TestQuotaHolds' ./swarmcache
	SHATABDI_KILLS=$(KILLS) go test -tags e2e -count=1 -timeout 3h -v -run TestKilledAtAnyInstant ./e2e

e2e: build ## scenarios in network namespaces (root; nginx, wget, curl, iproute2, docker-registry); E2E=REGEX, FULL= for short faults
	SHATABDI_FULL=$(FULL) go test -tags e2e -vet=off -count=1 -p 1 -timeout 20m -v -run '$(E2E)' \
	  $$(grep -rl '^//go:build e2e' --include='*_test.go' ./e2e ./swarmcache | xargs -n1 dirname | sort -u)

check: lint race build ## what must be green before a commit

clean: ## remove everything that was built or left behind
	rm -rf bin out
