# GNU make. Everything built goes below build/ in the current directory, except the two programs, which are left
# at the top because that is where people type ./tcpcopy. The flags and directories come from config.mk, written
# by configure; plain `make` runs that first. Sources are found by wildcard, one static library a folder, so that
# the linker, too, sees that the folders depend on each other one way only. `make help` lists the targets.

SRCDIR ?= .
MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

ifneq ($(filter-out clean distclean help,$(or $(MAKECMDGOALS),all)),)
include config.mk
config.mk: $(SRCDIR)/configure $(SRCDIR)/VERSION
	$(SRCDIR)/configure $(CONFIGURE_ARGS)
endif

# --- flags ------------------------------------------------------------------------------------------------------
includes = -I$(SRCDIR)/src -I. # the second for "build/config.h"
language = -std=gnu11 -D_GNU_SOURCE -pthread
# Folders of libraries count as system ones, or their headers would be held to our warnings.
package_cflags = $(patsubst -I%,-isystem %,$(sort $(EVENT_CFLAGS) $(EVENT_EXTRA_CFLAGS) $(PCAP_CFLAGS) $(OPENSSL_CFLAGS) $(JANSSON_CFLAGS) \
	$(CAPNG_CFLAGS) $(SECCOMP_CFLAGS) $(MNL_CFLAGS) $(ZLIB_CFLAGS) $(ZSTD_CFLAGS)))
package_libs = $(EVENT_EXTRA_LIBS) $(EVENT_LIBS) $(PCAP_LIBS) $(OPENSSL_LIBS) $(JANSSON_LIBS) $(CAPNG_LIBS) $(SECCOMP_LIBS) $(MNL_LIBS) $(ZLIB_LIBS) $(ZSTD_LIBS) -lm
compile = $(CC) $(language) $(includes) $(package_cflags) $(CPPFLAGS) $(WARNINGS) $(HARDENING) $(INSTRUMENT) \
	$(CFLAGS) -MMD -MP
link = $(CC) -pthread $(HARDENING) $(INSTRUMENT) $(CFLAGS) $(LINK_HARDENING) $(LDFLAGS)

# One word a step; V=1 shows the commands.
step = $(if $(V),,@printf '  %-5s %s\n' $1 $2;)

# --- sources ----------------------------------------------------------------------------------------------------
folders := base packet program stream path protocol compare session io channel tcpcopy intercept
programs := $(foreach p,tcpcopy intercept,$(if $(wildcard $(SRCDIR)/src/$p/main.c),$p))

# A folder's files, and those of the rooms in it.
sources = $(filter-out %/main.c,$(wildcard $(SRCDIR)/src/$1/*.c $(SRCDIR)/src/$1/*/*.c))
objects = $(patsubst $(SRCDIR)/src/%.c,$2/%.o,$(call sources,$1))
archives = $(foreach f,$1,$2/lib$f.a)

# What a program of tests, a fuzzer or a benchmark may use goes by its name: test_base_x sees base alone.
below_base := base
below_packet := packet base
below_program := program base
below_stream := stream packet base
below_path := path packet base
below_protocol := protocol packet base
below_compare := compare base
below_session := session compare protocol path stream packet base
below_io := io program packet base
below_channel := channel program packet base
below_tcpcopy := tcpcopy session compare protocol path stream channel io program packet base
below_intercept := intercept channel io program packet base
# test_base_pool -> base; everything without the name of a folder sees what tcpcopy sees
layer_of = $(or $(filter $(folders),$(word 2,$(subst _, ,$(notdir $1)))),tcpcopy)
uses = $(below_$(call layer_of,$1))

all: $(programs)

help:
	@echo 'all (default)      ./tcpcopy and ./intercept'
	@echo 'install uninstall  to sbindir, mandir, docdir of configure; DESTDIR is obeyed'
	@echo 'unit               build and run the unit tests; T=base_wheel or T="base_*" for some of them'
	@echo 'check              unit, layers'
	@echo 'sim                run the session engine in simulated worlds; SEEDS=1-2000 DAYS=1-60'
	@echo 'oracle             give the same segments to the kernel and to the engine, as root; CASES=10000'
	@echo 'gates              layers, format, spelling, scripts, manuals, lint: what can be said of the text alone'
	@echo 'layers             do includes go one way, and is the core pure?'
	@echo 'format spelling    clang-format, codespell'
	@echo 'scripts manuals    shellcheck and pyflakes, mandoc'
	@echo 'lint               cppcheck and clang-tidy'
	@echo 'fuzz               build fuzz/fuzz_*.c (clang) below build/; fuzz-run also runs each, FUZZ_SECONDS=5'
	@echo 'bench              what single operations cost: name, value and unit, with tabs between them'
	@echo 'bench-verdict      how often the rules of a comparison are wrong, by simulation: ten minutes'
	@echo 'bench-all          also whole programs in the lab, as root; bench/run -h for parts of it'
	@echo 'lab/relay          the wire with faults that the lab uses'
	@echo 'clean distclean    what make built; also what configure wrote'
	@echo 'Variants live beside each other: mkdir b && cd b && ../configure --enable-sanitizers && make unit'

# --- objects, libraries, programs ---------------------------------------------------------------------------------
build/obj/%.o: $(SRCDIR)/src/%.c config.mk
	@mkdir -p $(@D)
	$(call step,CC,$@) $(compile) -c -o $@ $<

# A library is made anew whenever its list of sources changes, so that one that was removed is gone from it too.
define folder_library
build/lib$1.a: $(call objects,$1,build/obj) build/lib$1.list
	@rm -f $$@
	$$(call step,AR,$$@) $$(AR) rcs $$@ $$(filter %.o,$$^)
build/lib$1.list: always
	@mkdir -p build
	@echo '$(call objects,$1,build/obj)' | cmp -s - $$@ || echo '$(call objects,$1,build/obj)' >$$@
endef
$(foreach f,$(folders),$(eval $(call folder_library,$f)))

define program
$1: build/obj/$1/main.o $(call archives,$(below_$1),build)
	$$(call step,LINK,$$@) $$(link) -o $$@ $$^ $$(package_libs) $$(LIBS)
endef
$(foreach p,$(programs),$(eval $(call program,$p)))

lab/relay: $(SRCDIR)/lab/relay.c config.mk
	@mkdir -p lab build/obj/lab
	$(call step,CC,$@) $(filter-out -D_GNU_SOURCE,$(compile)) -MF build/obj/lab/relay.d -MT $@ $(LINK_HARDENING) $(LDFLAGS) -o $@ $< $(LIBS)

# --- unit tests -----------------------------------------------------------------------------------------------------
# Files in test/unit that are not called test_* are shared by the tests.
T ?= *
test_names := $(patsubst $(SRCDIR)/test/unit/%.c,%,$(wildcard $(SRCDIR)/test/unit/test_*.c))
test_wanted := $(sort $(foreach t,$(T),$(patsubst $(SRCDIR)/test/unit/%.c,%,$(wildcard $(SRCDIR)/test/unit/test_$t.c))))
test_shared := $(patsubst $(SRCDIR)/test/unit/%.c,build/test/%.o,$(filter-out $(SRCDIR)/test/unit/test_%,\
	$(wildcard $(SRCDIR)/test/unit/*.c)))
test_includes = -I$(SRCDIR)/test/unit

build/test/%.o: $(SRCDIR)/test/unit/%.c config.mk
	@mkdir -p $(@D)
	$(call step,CC,$@) $(compile) $(CMOCKA_CFLAGS) $(test_includes) -DTEST_DIR='"$(abspath $(SRCDIR))/test"' -c -o $@ $<

build/test/libshared.a: $(test_shared)
	@mkdir -p $(@D)
	@rm -f $@
	$(call step,AR,$@) $(AR) rcs $@ $^

define test_program
build/test/$1: build/test/$1.o build/test/libshared.a $(call archives,$(call uses,$1),build)
	$$(call step,LINK,$$@) $$(link) -o $$@ $$^ $$(CMOCKA_LIBS) $$(package_libs) $$(LIBS)
endef
$(foreach t,$(test_names),$(eval $(call test_program,$t)))

unit: cmocka $(addprefix build/test/,$(test_wanted))
	@failed=; \
	for t in $(test_wanted); do \
		if ASAN_OPTIONS=$${ASAN_OPTIONS-detect_leaks=1:strict_string_checks=1} \
		   UBSAN_OPTIONS=$${UBSAN_OPTIONS-print_stacktrace=1} \
		   timeout 300 build/test/$$t >build/test/$$t.out 2>&1; then \
			echo "ok    $$t ($$(grep -c '^\[       OK' build/test/$$t.out) tests)"; \
		else \
			echo "FAIL  $$t (status $$?)"; cat build/test/$$t.out; failed="$$failed $$t"; \
		fi; \
	done; \
	if [ -n "$$failed" ]; then echo "failed:$$failed" >&2; exit 1; fi

cmocka:
	@[ "$(HAVE_CMOCKA)" = 1 ] || { echo 'The unit tests need cmocka: apt-get install libcmocka-dev,' \
		'then ./configure' >&2; exit 1; }

check: unit layers

# Programs that the system tests drive.
build/tools/%.o: $(SRCDIR)/test/tools/%.c config.mk
	@mkdir -p $(@D)
	$(call step,CC,$@) $(compile) -c -o $@ $<

build/tools/hostile: build/tools/hostile.o
	$(call step,LINK,$@) $(link) -o $@ $^ $(LIBS)

build/tools/spoof: build/tools/spoof.o
	$(call step,LINK,$@) $(link) -o $@ $^ $(LIBS)

build/tools/iotool: build/tools/iotool.o $(call archives,$(below_io),build)
	$(call step,LINK,$@) $(link) -o $@ $^ $(package_libs) $(LIBS)

build/tools/helpertool: build/tools/helpertool.o $(call archives,$(below_program),build)
	$(call step,LINK,$@) $(link) -o $@ $^ $(package_libs) $(LIBS)

# --- simulator ------------------------------------------------------------------------------------------------------
# A world of seeds around the session engine; SEEDS=1-20000 for a longer run.
# DAYS are those of worlds that last for a day or a month of the virtual clock.
SEEDS ?= 1-2000
DAYS ?= 1-60
sim_lwip := $(shell pkg-config --exists lwip 2>/dev/null && echo 1)
sim_objects := $(patsubst $(SRCDIR)/test/sim/%.c,build/sim/%.o,$(wildcard $(SRCDIR)/test/sim/*.c))

build/sim/%.o: $(SRCDIR)/test/sim/%.c config.mk
	@mkdir -p $(@D)
	$(call step,CC,$@) $(compile) -I$(SRCDIR)/test/sim $(if $(sim_lwip),-DSIM_LWIP -isystem /usr/include/lwip) -c -o $@ $<

build/test/sim: $(sim_objects) $(call archives,$(below_session),build)
	@mkdir -p $(@D)
	$(call step,LINK,$@) $(link) -o $@ $^ $(if $(sim_lwip),-llwip) $(package_libs) $(LIBS)

sim: build/test/sim
	build/test/sim --seeds $(SEEDS) --jobs 2
	build/test/sim --day --seeds $(DAYS) --jobs 2

# --- the kernel as the judge ----------------------------------------------------------------------------------------
# Segments to the kernel's TCP and to the engine alike; CASES=100000 ORACLE_SEED=7 for others. Needs root and /dev/net/tun.
CASES ?= 10000
ORACLE_SEED ?= 1
oracle_objects := $(patsubst $(SRCDIR)/test/kernel/%.c,build/kernel/%.o,$(wildcard $(SRCDIR)/test/kernel/*.c))

build/kernel/%.o: $(SRCDIR)/test/kernel/%.c config.mk
	@mkdir -p $(@D)
	$(call step,CC,$@) $(compile) -I$(SRCDIR)/test/kernel -c -o $@ $<

build/test/oracle: $(oracle_objects) $(call archives,$(below_session),build)
	@mkdir -p $(@D)
	$(call step,LINK,$@) $(link) -o $@ $^ $(LIBS)

oracle: build/test/oracle
	build/test/oracle --cases $(CASES) --seed $(ORACLE_SEED)

# --- checks of the source -------------------------------------------------------------------------------------------
layers: $(call archives,packet stream path protocol session,build)
	$(SRCDIR)/test/layers $(SRCDIR) $(if $(INSTRUMENT),,build)

# Each of these fails when its tool is not there: lab/install-packages installs them all.
gates: layers format spelling scripts manuals lint

c_files = $(shell find $(addprefix $(SRCDIR)/,src test fuzz bench lab) -name '*.[ch]')
format:
	clang-format -n -Werror $(c_files)

# .codespellrc has the words that are right all the same.
spelling:
	cd $(SRCDIR) && codespell README.md .ci check configure demo bench dist doc fuzz lab man src test Makefile

# What the first line says of a file, not its name: some have no suffix.
scripts_in = $(shell grep -rIlE '^\#! ?/(usr/)?bin/(env )?$1' $(addprefix $(SRCDIR)/,.ci check configure demo bench lab test))
scripts:
	shellcheck $(call scripts_in,(ba|da)?sh)
	pyflakes3 $(sort $(call scripts_in,python3) $(shell find $(addprefix $(SRCDIR)/,bench lab test) -name '*.py'))

# Which other manuals are installed is no matter of ours.
manuals:
	! mandoc -Tlint $(manuals) 2>&1 | grep -v -e 'referenced manual not found' -e 'outdated mandoc.db'

lint: cppcheck tidy
cppcheck: config.mk
	@mkdir -p build/lint/cppcheck
	cppcheck -q -j2 --cppcheck-build-dir=build/lint/cppcheck --std=c11 -D_GNU_SOURCE -D__linux__ $(includes) \
		-I$(SRCDIR)/test/unit -I$(SRCDIR)/test/sim --inline-suppr --error-exitcode=1 \
		--enable=warning,performance,portability --suppress=missingIncludeSystem \
		$(filter %.c,$(c_files))

# The analyzer takes a second for a file, so it looks again only at what was compiled again; make -j has it look
# at several at once. What it says on stderr is how much it does not say.
tidy_file = $(call step,TIDY,$<) mkdir -p $(@D) && clang-tidy --quiet --warnings-as-errors='*' $< -- $(language) $(includes) \
	$(package_cflags) $(test_includes) -I$(SRCDIR)/test/sim -DTEST_DIR='""' -isystem /usr/include/lwip \
	2>$@.stderr && touch $@
build/lint/%.tidy: $(SRCDIR)/src/%.c build/obj/%.o $(SRCDIR)/.clang-tidy
	$(tidy_file)
build/lint/%.tidy: $(SRCDIR)/%.c $(filter %.h,$(c_files)) $(SRCDIR)/.clang-tidy
	$(tidy_file)
tidy: $(patsubst build/obj/%.o,build/lint/%.tidy,$(foreach f,$(folders),$(call objects,$f,build/obj)) \
	$(foreach p,$(programs),build/obj/$p/main.o)) build/lint/lab/relay.tidy

# Also what does not ship.
tidy-all: tidy $(patsubst $(SRCDIR)/%.c,build/lint/%.tidy,$(wildcard $(addprefix $(SRCDIR)/,test/*/*.c fuzz/*.c bench/*.c)))

# --- fuzzers and benchmarks -----------------------------------------------------------------------------------------
FUZZ_CC ?= clang
FUZZ_FLAGS ?= -O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=all
fuzz_names := $(patsubst $(SRCDIR)/fuzz/%.c,%,$(wildcard $(SRCDIR)/fuzz/fuzz_*.c))
fuzz_compile = $(FUZZ_CC) $(language) $(includes) $(package_cflags) $(WARNINGS) $(FUZZ_FLAGS) -MMD -MP

build/fuzz/obj/%.o: $(SRCDIR)/src/%.c config.mk
	@mkdir -p $(@D)
	$(call step,CC,$@) $(fuzz_compile) -fsanitize=fuzzer-no-link,address,undefined -c -o $@ $<

build/fuzz/%.o: $(SRCDIR)/fuzz/%.c config.mk
	@mkdir -p $(@D)
	$(call step,CC,$@) $(fuzz_compile) -fsanitize=fuzzer-no-link,address,undefined -c -o $@ $<

define fuzz_library
build/fuzz/lib$1.a: $(call objects,$1,build/fuzz/obj) build/lib$1.list
	@mkdir -p build/fuzz
	@rm -f $$@
	$$(call step,AR,$$@) $$(AR) rcs $$@ $$(filter %.o,$$^)
endef
$(foreach f,$(folders),$(eval $(call fuzz_library,$f)))

define fuzz_program
build/fuzz/$1: build/fuzz/$1.o $(call archives,$(call uses,$1),build/fuzz)
	$$(call step,LINK,$$@) $$(FUZZ_CC) -pthread $$(FUZZ_FLAGS) -fsanitize=fuzzer,address,undefined -o $$@ $$^ $$(package_libs) $$(LIBS)
endef
$(foreach t,$(fuzz_names),$(eval $(call fuzz_program,$t)))
fuzz: $(addprefix build/fuzz/,$(fuzz_names))

# Each for so many seconds, from nothing; what it finds is left below build/fuzz.
FUZZ_SECONDS ?= 5
fuzz-run: $(addprefix fuzz-run-,$(fuzz_names))
$(addprefix fuzz-run-,$(fuzz_names)): fuzz-run-%: build/fuzz/%
	@rm -rf $<.corpus && mkdir $<.corpus
	@$< -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 -artifact_prefix=$<. $<.corpus >$<.log 2>&1 || \
		{ tail -n 40 $<.log; exit 1; }
	@echo "$*: $$(sed -n 's/^stat::number_of_executed_units: //p' $<.log) executions"

bench_names := $(patsubst $(SRCDIR)/bench/%.c,%,$(wildcard $(SRCDIR)/bench/bench_*.c))
build/bench/%.o: $(SRCDIR)/bench/%.c config.mk
	@mkdir -p $(@D)
	$(call step,CC,$@) $(compile) -c -o $@ $<

define bench_program
build/bench/$1: build/bench/$1.o $(call archives,$(call uses,$1),build)
	$$(call step,LINK,$$@) $$(link) -o $$@ $$^ $$(package_libs) $$(LIBS)
endef
$(foreach t,$(bench_names),$(eval $(call bench_program,$t)))
bench: $(addprefix build/bench/,$(bench_names))
	@for b in $(bench_names); do build/bench/$$b || exit; done

# How often is a verdict wrong? On simulated traffic; takes its time.
build/bench/verdict.o: includes += $(test_includes)
build/bench/verdict: build/bench/verdict.o build/test/traffic_model.o $(call archives,$(below_compare),build)
	$(call step,LINK,$@) $(link) -o $@ $^ -lm $(LIBS)
bench-verdict: build/bench/verdict
	$< --jobs 2 --out $(SRCDIR)/bench/results

# What bench/run needs: a reader of captures and a source of load.
define bench_tool
build/bench/$1: build/bench/$1.o
	$$(call step,LINK,$$@) $$(link) -o $$@ $$^ $$(LIBS)
endef
$(foreach t,tap load torrent,$(eval $(call bench_tool,$t)))
bench-tools: build/bench/tap build/bench/load build/bench/torrent
bench-all: $(addprefix build/bench/,$(bench_names)) bench-tools all
	$(SRCDIR)/bench/run

# --- installation ---------------------------------------------------------------------------------------------------
INSTALL ?= install
manuals = $(wildcard $(SRCDIR)/man/*.8)
units = $(wildcard $(SRCDIR)/dist/*.service)
unitdir = $(exec_prefix)/lib/systemd/system# where systemd looks, below /usr and /usr/local
documents = $(wildcard $(SRCDIR)/README.md $(SRCDIR)/doc/*.md)

build/man/%.8: $(SRCDIR)/man/%.8 config.mk
	@mkdir -p $(@D)
	$(call step,MAN,$@) sed -e 's|@VERSION@|$(PACKAGE_VERSION)|g' -e 's|@sysconfdir@|$(sysconfdir)|g' \
		-e 's|@localstatedir@|$(localstatedir)|g' -e 's|@runstatedir@|$(runstatedir)|g' \
		-e 's|@docdir@|$(docdir)|g' -e 's|@sbindir@|$(sbindir)|g' $< >$@

build/dist/%.service: $(SRCDIR)/dist/%.service config.mk
	@mkdir -p $(@D)
	$(call step,UNIT,$@) sed -e 's|@sbindir@|$(sbindir)|g' -e 's|@sysconfdir@|$(sysconfdir)|g' $< >$@

install: all $(patsubst $(SRCDIR)/%,build/%,$(manuals) $(units))
	$(INSTALL) -d $(DESTDIR)$(sbindir) $(DESTDIR)$(mandir)/man8 $(DESTDIR)$(docdir) $(DESTDIR)$(unitdir)
	$(INSTALL) -m 644 $(patsubst $(SRCDIR)/%,build/%,$(units)) $(DESTDIR)$(unitdir)
	$(if $(programs),$(INSTALL) -m 755 $(programs) $(DESTDIR)$(sbindir))
	$(if $(manuals),$(INSTALL) -m 644 $(patsubst $(SRCDIR)/%,build/%,$(manuals)) $(DESTDIR)$(mandir)/man8)
	$(if $(documents),$(INSTALL) -m 644 $(documents) $(DESTDIR)$(docdir))

uninstall:
	rm -f $(addprefix $(DESTDIR)$(sbindir)/,$(programs)) \
		$(addprefix $(DESTDIR)$(mandir)/man8/,$(notdir $(manuals))) \
		$(addprefix $(DESTDIR)$(unitdir)/,$(notdir $(units))) \
		$(addprefix $(DESTDIR)$(docdir)/,$(notdir $(documents)))
	-[ ! -d $(DESTDIR)$(docdir) ] || rmdir $(DESTDIR)$(docdir)

clean:
	rm -rf build/obj build/sim build/test build/tools build/fuzz build/bench build/lint build/man build/dist build/*.a build/*.list tcpcopy intercept lab/relay

distclean: clean
	rm -rf build config.mk
	$(if $(filter-out .,$(SRCDIR)),rm -f Makefile)

.PHONY: all help install uninstall unit sim oracle cmocka check gates layers format spelling scripts manuals lint cppcheck tidy tidy-all fuzz fuzz-run $(addprefix fuzz-run-,$(fuzz_names)) bench bench-verdict bench-tools bench-all clean distclean always
.SECONDARY:

-include $(wildcard build/obj/*/*.d build/obj/*/*/*.d build/test/*.d build/sim/*.d build/kernel/*.d build/tools/*.d build/fuzz/*.d build/fuzz/obj/*/*.d build/fuzz/obj/*/*/*.d build/bench/*.d build/tools/*.d)
