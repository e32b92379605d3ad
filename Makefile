# SPDX-License-Identifier: GPL-2.0-or-later
#
# "make help" lists the targets.

KDIR ?= /lib/modules/$(shell uname -r)/build
KERNEL ?= 6.12
PREFIX ?= /usr/local
DESTDIR ?=

LAB := tools/testing/lab/lab
release := $(or $(shell cat $(KDIR)/include/config/kernel.release 2>/dev/null),unknown)
modules_out := build/host/$(release)
updates := $(abspath $(DESTDIR)/lib/modules/$(release)/updates)
installed := $(updates)/kmod/migtrack.ko $(updates)/vfio-bridge/migtrack_vfio.ko

export KERNEL

.PHONY: all check-kernel modules migctl install modules_install uninstall \
	lab lab-build lab-shell debug-kernel check check-e2e check-long check-debug check-fuzz check-full fuzz bench bench-migrate bench-mover bench-netlink bench-uffd sim demo demo-track checkpatch netlink clean distclean help

all: check-kernel
	@$(MAKE) --no-print-directory modules migctl

help:
	@echo 'On a hypervisor host:'
	@echo '  all              modules for the running kernel, and migctl (default)'
	@echo '                   KDIR=... another kernel'
	@echo '  install          modules, migctl, library, headers, manual pages; PREFIX, DESTDIR'
	@echo '  uninstall        take them away again'
	@echo 'In a throwaway VM (a Debian is unpacked into the cache once, the host is not touched):'
	@echo '  demo             a real guest, migrated live; 90 s.  KERNEL=6.12|7.2'
	@echo '  demo-track       a real guest, tracked live; 90 s.  KERNEL=6.12|7.2'
	@echo '  check            the tests, on both kernels, half an hour; FULL=1: more of them'
	@echo '  check-e2e        only: real guests move, and things go wrong. KERNELS="6.12 7.2"'
	@echo '                   (6.12), TESTS="faults guard" FAULTS=all ROUNDS=20 STORM=300 SEED=1;'
	@echo '                   FULL=1: a storm of 300 s, 20 instants to be killed at'
	@echo '  check-long       storms, endings, vCPUs and swap: an hour; goes on where it was.'
	@echo '                   KERNELS="6.12 7.2", 6.12-debug after make debug-kernel: hours'
	@echo '  check-debug      only: the kselftests, on a kernel that looks for mistakes in memory,'
	@echo '                   locks and page tables; compiles it once, 10 to 30 min'
	@echo '  check-fuzz       only: a million hostile messages, on that kernel'
	@echo '  check-full       all of these, as thorough as they get; hours; goes on where it was'
	@echo '  fuzz             libFuzzer on all that decodes what others say; FUZZ_SECONDS=60 or'
	@echo '                   FUZZ_RUNS=10000000 for each of its targets, TARGETS="qmp door"'
	@echo '  bench            what a sync costs, beside what the kernel has for it. KERNEL=6.12|7.2'
	@echo '  bench-migrate    how guests are moved, beside QEMU; 45 min. KERNEL=6.12|7.2'
	@echo '                   QUICK=1: 3 min, FULL=1: hours'
	@echo '  bench-netlink    what a get costs, beside CTRL_CMD_GETFAMILY; 1 min. KERNEL=6.12|7.2'
	@echo '  bench-mover      how fast memory moves here, beside a floor and QEMU; no VM, 3 min'
	@echo '  bench-uffd       what lazy restores and post-copy cost; natively, 15 min'
	@echo '  sim              the policy beside other ways to decide: a table, and pictures'
	@echo '  lab-shell        a shell in the VM, modules and migctl at hand. KERNEL=6.12|7.2'
	@echo 'For development:'
	@echo '  lab              only make the lab'
	@echo '  debug-kernel     only compile the kernel of check-debug; KERNEL=6.12-debug is it'
	@echo '  lab-build        only build everything in it'
	@echo '  checkpatch       the kernel style checker on kmod/ and uapi/'
	@echo '  netlink          generate the netlink code from its specification'
	@echo '  clean            remove build/'
	@echo '  distclean        remove build/ and the lab from the cache'

check-kernel:
	@tools/check-kernel.sh $(KDIR)

modules: check-kernel
	@tools/build-modules.sh $(KDIR) $(modules_out)

migctl:
	@$(MAKE) --no-print-directory -C ctl O=$(CURDIR)/build/host PREFIX=$(PREFIX)

install: all modules_install
	@$(MAKE) --no-print-directory -C ctl O=$(CURDIR)/build/host \
		PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) install

# With a DESTDIR the package that is made of it runs depmod.
modules_install: modules
	cd $(modules_out) && find kmod vfio-bridge -name '*.ko' \
		-exec install -D -m 644 {} $(updates)/{} \;
	$(if $(DESTDIR),,depmod $(release))

uninstall:
	@$(MAKE) --no-print-directory -C ctl O=$(CURDIR)/build/host \
		PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) uninstall
	rm -f $(installed)
	$(if $(DESTDIR),,depmod $(release))

lab:
	@$(LAB) make

debug-kernel:
	@$(LAB) kernel

lab-build:
	@$(LAB) enter /src/tools/testing/lab/build 6.12 7.2

lab-shell:
	@$(LAB) enter /src/tools/testing/lab/build $(KERNEL)
	@tools/testing/lab/vm shell $(KERNEL)

check:
	@FULL="$(FULL)" tools/testing/lab/check

check-e2e:
	@TESTS="$(TESTS)" FAULTS="$(FAULTS)" ROUNDS="$(ROUNDS)" STORM="$(STORM)" FULL="$(FULL)" \
		SEED="$(SEED)" tools/testing/lab/check-e2e $(or $(KERNELS),$(KERNEL))

check-long:
	@tools/testing/lab/check-long $(KERNELS)

check-debug: debug-kernel
	@tools/testing/lab/check-debug kselftest

check-fuzz: debug-kernel
	@tools/testing/lab/check-debug fuzz

check-full:
	@tools/testing/lab/check-full

fuzz:
	@$(LAB) enter make -s --no-print-directory -j2 -C /src/tools/testing/fuzz O=/build/fuzz \
		FUZZ_SECONDS=$(or $(FUZZ_SECONDS),60) FUZZ_RUNS=$(FUZZ_RUNS) \
		$(if $(TARGETS),TARGETS="$(TARGETS)") check

bench:
	@tools/testing/bench/sync/run $(KERNEL)

bench-migrate:
	@tools/testing/bench/migrate/run $(KERNEL)

bench-mover:
	@tools/testing/bench/mover/run

bench-netlink:
	@tools/testing/bench/netlink/run $(KERNEL)

bench-uffd:
	@tools/testing/bench/uffd/run

sim:
	@$(LAB) enter make -s --no-print-directory -C /src/tools/testing/sim O=/build/sim table

demo: what := migrate
demo-track: what := track

demo demo-track:
	@$(LAB) enter /src/tools/testing/lab/build-kernel $(KERNEL)
	@$(LAB) enter /src/tools/testing/lab/build-user migctl guest
	@tools/testing/demo/demo $(KERNEL) $(what)

checkpatch:
	@$(LAB) enter /src/tools/testing/lab/checkpatch

netlink:
	@$(LAB) edit /src/tools/netlink/regen.sh /opt/linux

clean:
	@echo 'removing $(CURDIR)/build (the lab stays in the cache; make distclean removes it too)'
	@rm -rf build

distclean: clean
	@$(LAB) remove
