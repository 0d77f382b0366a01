# SPDX-License-Identifier: BSD-2-Clause
# Everything is built below $(B), nothing is written elsewhere. `make help` lists the targets.

B       ?= build
PREFIX  ?= /usr/local
SYSCONF ?= /etc
WERROR  ?= -Werror
CFLAGS  ?= -O2 -g
CLANG   ?= clang
# The system's own, which is the one that scripts/setup equips.
PYTHON  ?= $(or $(wildcard /usr/bin/python3),python3)
V       ?=
ifeq ($(origin CC),default)
CC := gcc
endif
JOBS := $(shell nproc 2>/dev/null || echo 1)

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:

# --- sources -------------------------------------------------------------------------------------

PURE_SRC  := $(sort $(wildcard proxy/base/*.c proxy/smtp/*.c route/route_table.c) \
	$(wildcard route/relay/relay_line.c route/relay/relay_pace.c) filters/edits.c filters/line_ends.c \
	$(patsubst %,filters/spf/spf_%.c,macro record wire evaluation step header) \
	$(patsubst %,filters/milter/milter_%.c,wire answer macros talk talk_take) \
	$(wildcard spool/spool_format*.c spool/spool_schedule*.c spool/bounce*.c))
IO_SRC    := $(sort $(wildcard proxy/io/*.c))
SHELL_DIRS := filters filters/spf filters/milter route route/relay spool proxy proxy/config proxy/control
# What runs in the sandbox, with the library that nothing else is linked with.
EVALUATOR_SRC := $(patsubst %,filters/spf/spf_%.c,evaluator layer sandbox)
# What is linked with libmilter, whose hundreds of global names nothing else may meet.
MILTER_SRC := $(wildcard proxy/postern_milter.c proxy/milterd*.c)
SHELL_SRC := $(filter-out $(PURE_SRC) $(EVALUATOR_SRC) $(MILTER_SRC),$(sort $(wildcard $(SHELL_DIRS:%=%/*.c))))
SIM_RUN   := $(wildcard tests/sim/run.c tests/sim/enumerate.c)
SIM_SRC   := $(sort $(filter-out $(SIM_RUN),$(wildcard tests/sim/*.c)))
UNIT_SRC  := $(sort $(wildcard tests/unit/test_*.c))
PLAY_SRC  := $(wildcard tests/transcripts/play.c)
FUZZ_SRC  := $(sort $(wildcard tests/fuzz/fuzz_*.c))

# Names of programs are names of the files with their main().
PROGRAMS := $(filter proxy/postern.c proxy/posternctl.c,$(SHELL_SRC))
ALL_SRC  := $(PURE_SRC) $(IO_SRC) $(SHELL_SRC) $(EVALUATOR_SRC) $(MILTER_SRC)

C_FILES  := $(sort $(wildcard $(foreach d,proxy/base proxy/smtp proxy/io $(SHELL_DIRS) \
	tests/unit tests/sim tests/transcripts tests/fuzz tests/functional/harness scripts/bench,$d/*.c $d/*.h)))

# --- flags ---------------------------------------------------------------------------------------

LIBS = $(shell pkg-config --libs libuv libcares libssl libcrypto libgsasl)
EVALUATOR_LIBS = -lspf2 -lseccomp
MILTER_LIBS = -lmilter

BASE_FLAGS := -std=c17 -D_GNU_SOURCE -I.
WARNINGS   := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 \
	-Wcast-qual -Wpointer-arith -Wundef -Wvla -Wwrite-strings -Wswitch-enum \
	-Wimplicit-fallthrough $(WERROR)
GCC_WARNINGS := -Wduplicated-cond -Wduplicated-branches -Wlogical-op -Wnull-dereference

# gcc has warnings and a kind of zeroing that clang 14 has not.
IS_GCC  := $(findstring gcc,$(notdir $(CC)))
MACHINE := $(shell $(CC) -dumpmachine 2>/dev/null)
HARDEN  := -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection -fPIE \
	$(if $(filter x86_64%,$(MACHINE)),-fcf-protection) \
	$(if $(filter aarch64%,$(MACHINE)),-mbranch-protection=standard) \
	$(if $(IS_GCC),-ftrivial-auto-var-init=zero)
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all

# A variant is a way to compile everything; its objects lie in $(B)/<variant>/<path of the source>.
VARIANTS := release asan plain sim coverage clang fuzz

CC_release      = $(CC)
CFLAGS_release  = $(CFLAGS) $(HARDEN) $(if $(IS_GCC),$(GCC_WARNINGS))
LDFLAGS_release = -pie -Wl,-z,relro,-z,now

CC_asan      = gcc
CFLAGS_asan  = -Og -g3 -fno-omit-frame-pointer $(SANITIZE)
LDFLAGS_asan = $(SANITIZE)

CC_plain     = gcc
CFLAGS_plain = -Og -g3

# As fast as it goes, for very many scenarios: linking takes half a minute.
CC_sim      = gcc
CFLAGS_sim  = -O3 -g -flto=auto
LDFLAGS_sim = $(CFLAGS_sim)

CC_coverage      = gcc
CFLAGS_coverage  = -O0 -g --coverage -DPOSTERN_COVERAGE
LDFLAGS_coverage = --coverage

CC_clang     = $(CLANG)
CFLAGS_clang = -O2 $(if $(filter $(PURE_SRC),$<),-Wconversion)

CC_fuzz      = $(CLANG)
# The search is led by what it reaches in the product, not in the world around it; and by comparisons
# only where text is parsed, since each costs a call.
COUNTING_SRC := $(patsubst %,proxy/base/%.c,arena buf hash mem wheel)
CFLAGS_fuzz  = -O2 -g -fno-omit-frame-pointer $(if $(filter tests/%,$<),,-fsanitize=fuzzer-no-link) \
	$(if $(filter-out $(COUNTING_SRC),$(filter $(PURE_SRC),$<)),,-fno-sanitize-coverage=trace-cmp) \
	$(SANITIZE)
LDFLAGS_fuzz = -fsanitize=fuzzer $(SANITIZE)

say = $(if $(V),,@printf '%-8s%s\n' '$(1)' '$(2)';)

# $(call variant,NAME): how its objects and its three archives are made
define variant
$(B)/$(1)/%.o: %.c
	@mkdir -p $$(@D)
	$$(call say,$(if $(filter clang fuzz,$(1)),CLANG,CC),$$@)$$(CC_$(1)) $$(BASE_FLAGS) $$(WARNINGS) \
		$$(CFLAGS_$(1)) $$(CPPFLAGS) -MMD -MP -c $$< -o $$@

$(B)/$(1)/libpure.a: $(PURE_SRC:%.c=$(B)/$(1)/%.o)
$(B)/$(1)/libio.a: $(IO_SRC:%.c=$(B)/$(1)/%.o)
$(B)/$(1)/libsim.a: $(SIM_SRC:%.c=$(B)/$(1)/%.o) \
	$(patsubst %,$(B)/$(1)/proxy/io/%.o,disk_steps work_lane draft closing tls_conf secret regular)
$(B)/$(1)/libshell.a: $(patsubst %.c,$(B)/$(1)/%.o,$(filter-out $(PROGRAMS),$(SHELL_SRC)))
$(B)/$(1)/lib%.a:
	@mkdir -p $$(@D)
	$$(call say,AR,$$@)rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach v,$(VARIANTS),$(eval $(call variant,$(v))))

# $(call link,VARIANT,LIBRARIES): all prerequisites into one program
link = $(call say,LINK,$@)mkdir -p $(@D) && $(CC_$(1)) $(LDFLAGS_$(1)) $(LDFLAGS) \
	-Wl,--start-group $^ -Wl,--end-group $(2) -o $@

# --- postern -------------------------------------------------------------------------------------

.PHONY: all debug setup run
all: $(PROGRAMS:proxy/%.c=$(B)/%) $(B)/postern-milter $(B)/postern-spf ## build postern, optimised and hardened (the default)

COMMON_SRC := $(filter-out $(PROGRAMS) $(EVALUATOR_SRC) $(MILTER_SRC),$(ALL_SRC))
$(PROGRAMS:proxy/%.c=$(B)/%): $(B)/%: $(B)/release/proxy/%.o $(COMMON_SRC:%.c=$(B)/release/%.o)
	$(call link,release,$(LIBS))
$(B)/postern-spf: $(EVALUATOR_SRC:%.c=$(B)/release/%.o) $(B)/release/libpure.a
	$(call link,release,$(EVALUATOR_LIBS))
$(B)/postern-milter: $(MILTER_SRC:%.c=$(B)/release/%.o) $(COMMON_SRC:%.c=$(B)/release/%.o)
	$(call link,release,$(LIBS) $(MILTER_LIBS))
# $(call programs,VARIANT)
define programs
$(PROGRAMS:proxy/%.c=$(B)/$(1)/%): $(B)/$(1)/%: $(B)/$(1)/proxy/%.o $(COMMON_SRC:%.c=$(B)/$(1)/%.o)
	$$(call link,$(1),$$(LIBS))
$(B)/$(1)/postern-spf: $(EVALUATOR_SRC:%.c=$(B)/$(1)/%.o) $(B)/$(1)/libpure.a
	$$(call link,$(1),$$(EVALUATOR_LIBS))
$(B)/$(1)/postern-milter: $(MILTER_SRC:%.c=$(B)/$(1)/%.o) $(COMMON_SRC:%.c=$(B)/$(1)/%.o)
	$$(call link,$(1),$$(LIBS) $$(MILTER_LIBS))
$(B)/$(1)/tests/functional/postern: $(B)/$(1)/tests/unit/words_kind.o $(B)/$(1)/proxy/postern.o \
		$(patsubst %.c,$(B)/$(1)/%.o,$(filter-out %/filter_kinds.c,$(COMMON_SRC)))
	$$(call link,$(1),$$(LIBS))
$(B)/$(1)/tests/functional/postern-milter: $(B)/$(1)/tests/unit/words_kind.o \
		$(patsubst %.c,$(B)/$(1)/%.o,$(MILTER_SRC) $(filter-out %/filter_kinds.c,$(COMMON_SRC)))
	$$(call link,$(1),$$(LIBS) $$(MILTER_LIBS))
endef
$(foreach v,asan plain coverage,$(eval $(call programs,$v)))

debug: $(PROGRAMS:proxy/%.c=$(B)/asan/%) $(B)/asan/postern-milter $(B)/asan/postern-spf ## build $(B)/asan/postern, with ASan and UBSan

setup: ## install what building and testing need, if anything is missing
	@scripts/setup

run: ## install what is missing, build, start a postern that needs nothing else
	@scripts/setup build
	@scripts/as-owner $(MAKE) --no-print-directory -j$(JOBS) all
	@B='$(B)' scripts/as-owner scripts/run

# --- test programs -------------------------------------------------------------------------------

# A test program is linked with the pure objects and with what a line at its top asks for:
#   /* needs: route/maildir.c proxy/io/copy.c proxy/io/copy_file.c proxy/io/copy_room.c sim */
# A file is linked as it is, a folder with all its files (`proxy/config/`); `io` is proxy/io with its
# libraries; `sim` is tests/sim in its place; `shell` is everything else but the main()s.
needs_of   = $(shell sed -n '1,12s|^/\* needs: *\(.*\) \*/$$|\1|p' $(1))
needs_src  = $(filter-out $(PURE_SRC),$(filter %.c,$(1)) $(wildcard $(patsubst %,%*.c,$(filter %/,$(1)))))
needs_objs = $(patsubst %.c,$(B)/$(1)/%.o,$(call needs_src,$(2))) \
	$(patsubst %,$(B)/$(1)/lib%.a,$(filter io sim shell,$(2))) $(B)/$(1)/libpure.a

# $(call program,VARIANT,PROGRAM,SOURCE,WHAT IT NEEDS,OTHER OBJECTS,LIBRARIES)
define program
$(2): $(B)/$(1)/$(3:.c=.o) $(5) $(call needs_objs,$(1),$(4))
	$$(call link,$(1),$(6) $(if $(filter io,$(4)),$$(LIBS)) \
		$(if $(filter filters/spf/%,$(4)),$$(EVALUATOR_LIBS)))
endef

TEST_VARIANTS := asan plain coverage
UNIT_LIB      := $(wildcard tests/unit/lib.c)
define tests_of_source
$(foreach v,$(TEST_VARIANTS),$(eval $(call program,$(v),$(B)/$(v)/$(1:.c=),$(1),$(2),\
	$(UNIT_LIB:%.c=$(B)/$(v)/%.o),-lcmocka)))
endef
$(foreach s,$(UNIT_SRC),$(call tests_of_source,$(s),$(call needs_of,$(s))))

# The player of transcripts names in its own `needs:` line what it is linked with (`sim` among it).
$(foreach s,$(PLAY_SRC),$(call tests_of_source,$(s),$(call needs_of,$(s))))

# The runner of scenarios and that of operations: with sanitizers as a test, as postern is built for
# planted bugs and cut points, and as fast as it goes for many seeds.
$(foreach s,$(SIM_RUN),$(call tests_of_source,$(s),$(call needs_of,$(s))))
$(foreach s,$(SIM_RUN),$(foreach v,release sim,\
	$(eval $(call program,$(v),$(B)/$(v)/$(s:.c=),$(s),$(call needs_of,$(s)),,))))

# A fuzzer under gcc replays files; under clang it searches.
define fuzzer_of_source
$(foreach v,$(TEST_VARIANTS),$(eval $(call program,$(v),$(B)/$(v)/$(1:.c=),$(1),$(2),\
	$(B)/$(v)/tests/fuzz/main.o,)))
$(eval $(call program,fuzz,$(B)/fuzz/$(notdir $(1:.c=)),$(1),$(2),,))
endef
$(foreach s,$(FUZZ_SRC),$(call fuzzer_of_source,$(s),$(call needs_of,$(s))))

TEST_SRC := $(UNIT_SRC) $(PLAY_SRC) $(SIM_RUN) $(FUZZ_SRC)
FUZZERS  := $(FUZZ_SRC:tests/fuzz/%.c=$(B)/fuzz/%)
SIM_FREE  = $(foreach s,$(UNIT_SRC),$(if $(filter sim,$(call needs_of,$(s))),,$(s)))

.PHONY: test-programs coverage-programs plain-programs clang-check fuzzers
test-programs: $(TEST_SRC:%.c=$(B)/asan/%) $(addprefix $(B)/asan/tests/functional/,postern postern-milter)
coverage-programs: $(TEST_SRC:%.c=$(B)/coverage/%) $(addprefix $(B)/coverage/tests/functional/,postern postern-milter) $(PROGRAMS:proxy/%.c=$(B)/coverage/%) $(B)/coverage/postern-milter $(B)/coverage/postern-spf
plain-programs: $(TEST_SRC:%.c=$(B)/plain/%) $(addprefix $(B)/plain/tests/functional/,postern postern-milter) $(PROGRAMS:proxy/%.c=$(B)/plain/%) $(B)/plain/postern-milter $(B)/plain/postern-spf
clang-check: $(ALL_SRC:%.c=$(B)/clang/%.o)
fuzzers: $(FUZZERS)

# --- tests ---------------------------------------------------------------------------------------

.PHONY: test quick sim sim-cuts sim-mutants sim-free core lint check-layers check-arrows \
	check-contracts check-size check-items check-format check-scripts check-mutants
RUN_TESTS = B='$(B)' MAKE='$(MAKE)' JOBS='$(JOBS)' $(PYTHON) scripts/test

test: setup ## everything a change must pass, under ASan and UBSan; ends with the count
	@$(RUN_TESTS) compile lint core unit transcripts corpus sim functional

quick: ## unit tests, transcripts and corpus replay only
	@$(RUN_TESTS) unit transcripts corpus

SEEDS ?= 20000
SEED  ?=
sim: $(B)/sim/tests/sim/run ## scenarios: make sim SEEDS=100000; SEED=7 prints all of that one
	@$< $(if $(SEED),$(SEED) loud,1 $(SEEDS) $(JOBS))

sim-cuts: $(B)/release/tests/sim/enumerate ## every operation of the spool, cut at every call, in every way
	@$< 2>/dev/null

sim-mutants: ## plant bugs: the simulator must find each
	@B='$(B)' MAKE='$(MAKE)' JOBS='$(JOBS)' $(PYTHON) scripts/sim-mutants

sim-free: ## the unit tests that need no simulator
	@$(RUN_TESTS) $(SIM_FREE:%.c=$(B)/asan/%)

lint: ## layers, sizes, format, scripts, whether tests that are named exist and planted bugs still fit
	@$(RUN_TESTS) lint

check-layers:
	@$(PYTHON) scripts/check-layers --pure $(PURE_SRC)

check-arrows:
	@$(PYTHON) scripts/check-arrows

check-contracts:
	@$(PYTHON) scripts/check-contracts

check-size:
	@$(PYTHON) scripts/check-size $(C_FILES)

check-items:
	@$(PYTHON) scripts/check-items

# clang-format's opinion changes between versions: only 14 counts.
CLANG_FORMAT := $(shell command -v clang-format-14)
check-format:
ifdef CLANG_FORMAT
	@$(CLANG_FORMAT) -n $(C_FILES) 2>&1 | awk -F : '/Wclang-format-violations/ { n[$$1]++ } END { \
		for (f in n) print f ": " n[f] " places that `make format` would change"; exit NR > 0 }'
else
	@echo "clang-format-14 is missing"
endif

check-mutants:
	@$(PYTHON) scripts/sim-mutants --fit

check-scripts:
	@files=$$(grep -lE '^#!/bin/(ba)?sh' scripts/* .ci/* tests/*/* 2>/dev/null); \
	if ! command -v shellcheck >/dev/null; then echo "shellcheck is missing"; \
	elif [ -n "$$files" ]; then shellcheck $$files; fi

format: ## clang-format 14 on our files
	clang-format-14 -i $(C_FILES)

# What pure code may call, and what the compiler adds on its own.
CORE_MAY_CALL := memcpy memmove memset memcmp memchr memrchr memmem bcmp explicit_bzero \
	strlen strcmp strncmp strchr strrchr strstr malloc calloc realloc free \
	__assert_fail __stack_chk_fail __memcpy_chk __memmove_chk __memset_chk __explicit_bzero_chk _GLOBAL_OFFSET_TABLE_ __tls_get_addr

core: $(B)/core ## prove that the pure objects need memory and string functions only
$(B)/core: $(PURE_SRC:%.c=$(B)/release/%.o)
	@mkdir -p $(@D) && ld -r $^ -o $@.o
	@nm -u $@.o | awk -v may='$(CORE_MAY_CALL)' 'BEGIN { n = split(may, m); \
		for (i = 1; i <= n; i++) ok[m[i]] = 1 } \
		!($$2 in ok) { print "pure code calls " $$2; bad = 1 } END { exit bad }'
	@echo 'int main(void) { return 0; }' | $(CC) -xc - -xnone $^ -pie -o $@
	@echo "the $(words $^) pure objects stand alone"

# --- deeper looks --------------------------------------------------------------------------------

.PHONY: fuzz fuzz-all coverage valgrind format
F ?=
T ?= 60
# Without what makes allocation slow; a finding is replayed with the defaults.
FUZZ_ENV = ASAN_OPTIONS=malloc_context_size=3:max_malloc_fill_size=0:quarantine_size_mb=32
# An input of this one touches so much that weighing what is rare would cost more than running it.
FUZZ_FLAGS_session = -entropic=0

# New inputs go below $(B). Findings are worth keeping, in tests/fuzz/corpus.
fuzz_one = mkdir -p $(B)/fuzz/corpus/$(1) tests/fuzz/corpus/$(1) && \
	$(FUZZ_ENV) $(B)/fuzz/fuzz_$(1) $(FUZZ_FLAGS_$(1)) \
	-max_total_time=$(T) -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
	-artifact_prefix=$(B)/fuzz/$(1)- $(patsubst %,-dict=%,$(wildcard tests/fuzz/$(1).dict)) \
	$(B)/fuzz/corpus/$(1) tests/fuzz/corpus/$(1)

fuzz: $(if $(F),$(B)/fuzz/fuzz_$(F)) ## one fuzzer for T seconds: make fuzz F=line T=60
	@$(if $(F),$(call fuzz_one,$(F)),echo "which one? F=$(FUZZ_SRC:tests/fuzz/fuzz_%.c=%)"; exit 2)

fuzz-all: fuzzers ## every fuzzer for T seconds
	@set -e; $(foreach f,$(FUZZ_SRC:tests/fuzz/fuzz_%.c=%),$(call fuzz_one,$(f));)

coverage: coverage-programs ## lines reached by unit tests, transcripts, corpus and functional tests
	@find $(B)/coverage -name '*.gcda' -delete
	-@$(RUN_TESTS) --variant coverage unit transcripts corpus functional
	@echo; echo 'Pure code:'; gcovr -r . $(B)/coverage $(PURE_SRC:%=-f %)
	@echo; echo 'All code:'; gcovr -r . $(B)/coverage $(ALL_SRC:%=-f %) | tail -4

valgrind: plain-programs ## unit tests, transcripts, corpus and functional tests under valgrind
	@$(RUN_TESTS) --variant plain --valgrind unit transcripts corpus functional

-include scripts/bench/bench.mk
ifneq ($(wildcard scripts/bench/bench.mk),)
bench: ## side by side with peers, and with no proxy at all
endif

# --- the rest ------------------------------------------------------------------------------------

.PHONY: install clean help
MAN8  := $(wildcard doc/*.8)
MAN5  := $(wildcard doc/*.5)
UNITS := $(wildcard doc/*.service)
TURNS := $(wildcard doc/*.logrotate)
put    = $(if $(2),install -D -m $(1) -t $(DESTDIR)$(3) $(2))

install: all ## install below $(DESTDIR)$(PREFIX): programs, manual pages, unit, logrotate snippet
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/sbin $(PROGRAMS:proxy/%.c=$(B)/%) $(B)/postern-milter
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/libexec/postern $(B)/postern-spf
	$(call put,644,$(MAN8),$(PREFIX)/share/man/man8)
	$(call put,644,$(MAN5),$(PREFIX)/share/man/man5)
	$(call put,644,$(UNITS),$(PREFIX)/lib/systemd/system)
	$(if $(UNITS),sed -i 's|/usr/sbin/postern|$(PREFIX)/sbin/postern|' \
		$(UNITS:doc/%=$(DESTDIR)$(PREFIX)/lib/systemd/system/%))
	$(if $(TURNS),test -e $(DESTDIR)$(SYSCONF)/logrotate.d/postern || \
		install -D -m 644 $(TURNS) $(DESTDIR)$(SYSCONF)/logrotate.d/postern)

clean: ## remove $(B)
	rm -rf $(B)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | sed 's|$$(B)|$(B)|' | \
		awk -F '\t' '{ printf "make %-10s %s\n", $$1, $$2 }'

-include $(wildcard $(foreach v,$(VARIANTS),$(B)/$(v)/*/*.d $(B)/$(v)/*/*/*.d))
