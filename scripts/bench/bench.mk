# `make bench` and its programs; the Makefile includes this. What it measures: README.md here.

BASE_FLAGS     ?= -std=c17 -D_GNU_SOURCE -I.
BENCH          ?=
BENCH_PROGRAMS := $(addprefix $(B)/bench/,source sink delay fill)

$(BENCH_PROGRAMS): $(B)/bench/%: scripts/bench/%.c scripts/bench/common.c scripts/bench/common.h
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) $(BASE_FLAGS) $(WARNINGS) $(CFLAGS) -o $@ $(filter %.c %.a,$^) $(BENCH_LIBS)

$(B)/bench/source: scripts/bench/secure.c scripts/bench/secure.h
$(B)/bench/source: BENCH_LIBS = -lssl -lcrypto
$(B)/bench/fill: $(B)/release/libpure.a

# The milter, which postern is not linked with.
$(B)/bench/noop: scripts/bench/noop.c
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) $(BASE_FLAGS) $(WARNINGS) $(CFLAGS) -o $@ $< -lmilter

.PHONY: bench bench-programs
bench-programs: $(BENCH_PROGRAMS) $(B)/bench/noop

# BENCH are arguments of scripts/bench/run: make bench BENCH='new kept --rounds 5'
bench:
	@scripts/setup build
	@$(MAKE) --no-print-directory $(B)/postern $(B)/postern-spf $(B)/postern-milter \
		bench-programs
	@scripts/bench/prepare $(B)/peers
	@$(or $(PYTHON),python3) scripts/bench/run --build $(B) $(BENCH)
