# The two commands of the README are `make demo` and `make test`; both run on a fresh Debian 12 with Swift.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
UNITS := PlatformTests LeaseTests RaftRigTests CurlTests DiscoveryTests DqliteTests APITests CommandTests VIPTests ClusterTests
.PHONY: build release test lint unit $(UNITS) simulation fuzz fuzz-seeds e2e test-slow-disk test-asan demo bench nemesis formations soak sim format clean clean-lab deps test-deps

# Dependencies are built with the same flags, and some of them warn: so warnings are looked for in the log, in our files.
SWIFT ?= swift
NO_WARNINGS := scripts/no-warnings.sh
TESTS = scripts/failures-last.sh $(SWIFT) test --skip-build
RELEASE := --configuration release --static-swift-stdlib

deps:
	@scripts/install-dependencies.sh build

test-deps:
	@scripts/install-dependencies.sh test
	@scripts/fetch-consul.sh >/dev/null

build: deps
	$(NO_WARNINGS) $(SWIFT) build

release: deps
	$(NO_WARNINGS) $(SWIFT) build $(RELEASE) --product dqlite-vip

# Three parts, one after the other: the simulation keeps all cores busy, and the end-to-end tests measure milliseconds.
test: test-deps lint
	$(NO_WARNINGS) $(SWIFT) build --build-tests
	$(MAKE) --no-print-directory unit simulation e2e
	$(MAKE) --no-print-directory fuzz FUZZ_SECONDS=3

# A process for each module: tests that keep a core busy do not hold up those that watch the clock. Those of the kernel's
# side measure milliseconds and take turns.
unit: $(UNITS)

$(UNITS):
	@$(TESTS) $(if $(filter VIPTests,$@),--no-parallel) --filter '^$@\.' --skip Simulation --skip BootstrapRule

simulation:
	@$(TESTS) --filter "Simulation|BootstrapRule"

# The decoders of what strangers send, each for so many seconds under libFuzzer; what it finds is left in Fuzz/found.
FUZZ_SECONDS ?= 60
DECODERS := dns etcd consul multicast configuration sql client peer relay raft wire

# Swift's own backtrace takes longer than -timeout, so that a crash would be called a hang; libFuzzer prints one, too.
# Words of a decoder's language, where there is a Fuzz/DECODER.dict, so that libFuzzer need not spell them letter by letter.
fuzz: deps
	DQLITE_VIP_FUZZ=1 $(SWIFT) build --scratch-path .build-fuzz --product fuzz
	@mkdir -p Fuzz/found .build-fuzz/corpus
	@for decoder in $(DECODERS); do \
	    mkdir -p .build-fuzz/corpus/$$decoder; \
	    echo "fuzzing $$decoder for $(FUZZ_SECONDS) s"; \
	    SWIFT_BACKTRACE=enable=no FUZZ=$$decoder .build-fuzz/debug/fuzz -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=5 -rss_limit_mb=1024 \
	        -artifact_prefix=Fuzz/found/$$decoder- -print_final_stats=1 \
	        $$([ ! -e Fuzz/$$decoder.dict ] || echo -dict=Fuzz/$$decoder.dict) .build-fuzz/corpus/$$decoder Fuzz/$$decoder \
	        > .build-fuzz/$$decoder.log 2>&1 || { tail -40 .build-fuzz/$$decoder.log; exit 1; }; \
	    grep -E "^stat::number_of_executed_units|^Done" .build-fuzz/$$decoder.log; \
	done

# What the fuzzers begin with, made anew by the product's own encoders.
fuzz-seeds: deps
	DQLITE_VIP_FUZZ=1 $(SWIFT) build --scratch-path .build-fuzz --product fuzz
	FUZZ_SEEDS=Fuzz .build-fuzz/debug/fuzz

e2e:
	@scripts/require-root.sh "the end-to-end tests make network namespaces"
	@.build/debug/dqlite-vip-lab clean --spare-kept
	@$(TESTS) --no-parallel --filter EndToEndTests

# The end-to-end suites that wait for times, on disks that take FSYNC longer for each write; after a build.
TIMED := Failover|FailoverNumbers|HandOver|Restart|WipedDisk|Timing|Guard|Nemesis|Write|Removal|Bootstrap
test-slow-disk:
	@scripts/require-root.sh "the end-to-end tests make network namespaces"
	@.build/debug/dqlite-vip-lab clean --spare-kept
	@DQLITE_VIP_LAB_FSYNC=$(or $(FSYNC),20ms) $(TESTS) --no-parallel --filter 'EndToEndTests\.EndToEnd/($(TIMED))Tests'

# The daemon built with AddressSanitizer, under all that strangers do; in a build of its own, which takes half an hour the first time.
# libdqlite, libraft and SQLite are the installed ones, without it: their mistakes show where they hand a pointer to what is
# built here, or call malloc(3) and its like, and not else. Leaks are not looked for: the daemon is ended by signals.
# A sanitizer multiplies memory, so that the bound of 100 MiB does not hold for such a binary.
ASAN_OPTIONS := detect_leaks=0:abort_on_error=1:handle_abort=1:detect_stack_use_after_return=0
test-asan: test-deps
	@scripts/require-root.sh "the end-to-end tests make network namespaces"
	$(SWIFT) build --build-tests
	$(SWIFT) build --scratch-path .build-asan --sanitize=address --product dqlite-vip
	@.build/debug/dqlite-vip-lab clean --spare-kept
	@ASAN_OPTIONS=$(ASAN_OPTIONS) DQLITE_VIP_LAB_MEMORY=2048 DQLITE_VIP_BINARY=$(CURDIR)/.build-asan/debug/dqlite-vip \
	    $(TESTS) --no-parallel --filter 'EndToEndTests\.EndToEnd/StrangersTests'

lint:
	$(SWIFT) format lint --strict --recursive --parallel Sources Tests Package.swift

format:
	$(SWIFT) format --in-place --recursive --parallel Sources Tests Package.swift

# KEEP=1 leaves the laboratory running and says how to look around.
demo:
	@scripts/require-root.sh "the demonstration makes network namespaces"
	@scripts/install-dependencies.sh build lab
	$(NO_WARNINGS) $(SWIFT) build $(RELEASE) --product dqlite-vip
	$(NO_WARNINGS) $(SWIFT) build $(RELEASE) --product dqlite-vip-lab
	@.build/release/dqlite-vip-lab demo $(if $(KEEP),--keep)

# What FAILOVER figures are made of; measures, asserts nothing. BENCH passes options on (`--help` lists them).
bench:
	@scripts/require-root.sh "the benchmark makes network namespaces"
	@scripts/install-dependencies.sh build lab services peers
	@scripts/fetch-consul.sh >/dev/null
	$(SWIFT) build $(RELEASE) --product dqlite-vip
	$(SWIFT) build $(RELEASE) --product dqlite-vip-lab
	@.build/release/dqlite-vip-lab bench $(BENCH)

# Breaks clusters in all ways, many times, audits each, and writes a page. ROUNDS of each case, CASE for some of them alone,
# SEED for the first, IPV6=1 for an IPv6 address. Ends with an error when a round had findings; an hour and more.
NEMESIS_REPORT ?= nemesis.md
nemesis:
	@scripts/require-root.sh "the nemesis makes network namespaces"
	@scripts/install-dependencies.sh build lab
	$(SWIFT) build $(RELEASE) --product dqlite-vip
	$(SWIFT) build $(RELEASE) --product dqlite-vip-lab
	@.build/release/dqlite-vip-lab nemesis --rounds $(or $(ROUNDS),10) --seed $(or $(SEED),1) \
	    --report $(NEMESIS_REPORT) $(if $(CASE),--case $(CASE)) $(if $(IPV6),--ipv6)

# Forms COUNT clusters of three from nothing, and hands each over to a named voter within its first second; LOAD busy loops
# beside, SEED for other moments, BINARIES to try several programs in turn. Ends with an error when one went elsewhere; 20 minutes.
formations:
	@scripts/require-root.sh "the formations make network namespaces"
	@scripts/install-dependencies.sh build lab
	$(SWIFT) build $(RELEASE) --product dqlite-vip
	$(SWIFT) build $(RELEASE) --product dqlite-vip-lab
	@.build/release/dqlite-vip-lab formations --count $(or $(COUNT),500) --load $(or $(LOAD),0) --seed $(or $(SEED),1) \
	    $(addprefix --binary ,$(BINARIES))

# A random walk through the life of a cluster, audited after each step: nodes that come, go, move, die, are wiped and cut off.
# NODES (3 to 7), STEPS, SEED for another walk. Ends with an error at the first finding.
soak:
	@scripts/require-root.sh "the soak makes network namespaces"
	@scripts/install-dependencies.sh build lab
	$(SWIFT) build $(RELEASE) --product dqlite-vip
	$(SWIFT) build $(RELEASE) --product dqlite-vip-lab
	@.build/release/dqlite-vip-lab soak --steps $(or $(STEPS),200) --seed $(or $(SEED),1) $(if $(NODES),--nodes $(NODES))

# A million schedules of the bootstrap, and a million of the leases; SCHEDULES=n for another number.
sim: deps
	DQLITE_VIP_SIM_SCHEDULES=$(or $(SCHEDULES),1000000) DQLITE_VIP_LEASE_SCHEDULES=$(or $(SCHEDULES),1000000) $(SWIFT) test --configuration release \
	    -Xswiftc -enable-testing --filter Simulation

clean:
	rm -rf .build

# Removes the namespaces, processes and files of laboratories whose process has ended, `make demo KEEP=1` included.
clean-lab:
	@for binary in .build/{release,debug}/dqlite-vip-lab; do [ ! -x $$binary ] || exec $$binary clean; done
