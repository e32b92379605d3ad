// SPDX-License-Identifier: GPL-2.0-or-later
/* QEMUs that can not be moved, or not to each other, and why. */
#include "check.h"
#include "drive.h"
#include "tests.h"

static void source_refused(const char *what, const char *memory,
			   const char *text, const char *option,
			   const char *value, const char *option2,
			   const char *value2)
{
	struct machine m;
	struct vmm *vmm;

	machine_start(&m, "src", "q35", memory, option, value, option2, value2,
		      NULL);
	vmm = m.pid ? connect_to(&m) : NULL;
	if (vmm) {
		REFUSED(ops->check_source(vmm, &err), text);
		vmm->ops->close(vmm);
	}
	machine_end(&m);
	report(what);
}

static void destination_refused(const char *what, const char *text,
				const char *option, const char *value,
				const char *stop)
{
	struct machine m;
	struct vmm *vmm;

	machine_start(&m, "dst", "q35", NULL, option, value, stop, NULL);
	vmm = m.pid ? connect_to(&m) : NULL;
	if (vmm) {
		REFUSED(ops->check_destination(vmm, &err), text);
		vmm->ops->close(vmm);
	}
	machine_end(&m);
	report(what);
}

static void test_refused(void)
{
	char block[256];

	source_refused("memfd is refused", "memory-backend-memfd,share=on",
		       "memory-backend-memfd", NULL, NULL, NULL, NULL);
	source_refused("anonymous memory is refused", "memory-backend-ram",
		       "anonymous", NULL, NULL, NULL, NULL);
	snprintf(block, sizeof(block),
		 "memory-backend-file,share=off,mem-path=%s/src.ram", folder);
	source_refused("private memory is refused", block, "private", NULL,
		       NULL, NULL, NULL);
	source_refused("a balloon with free-page-hint is refused", NULL,
		       "free-page-hint", "-object", "iothread,id=io", "-device",
		       "virtio-balloon-pci,free-page-hint=on,iothread=io");
	snprintf(block, sizeof(block), "driver=vvfat,node-name=v,rw=on,dir=%s",
		 folder);
	source_refused("blocked migration is refused", NULL, "vvfat",
		       "-blockdev", block, NULL, NULL);
	source_refused("a destination is no source", NULL, "inmigrate", "-S",
		       "-incoming", "defer", NULL);
	destination_refused("a destination without -S is refused", "without -S",
			    "-incoming", "defer", NULL);
	destination_refused("a guest of its own is refused",
			    "does not wait for a guest", "-S", NULL, NULL);
	snprintf(block, sizeof(block), "unix:%s/in", folder);
	destination_refused("a migration from elsewhere is refused",
			    "from elsewhere", "-incoming", block, "-S");
}

static void differs(const char *what, const char *machine, const char *text,
		    const char *option, const char *value)
{
	json_t *here = NULL, *there = NULL;
	struct machine src, dst;
	struct vmm *from, *to;

	machine_start(&src, "src", "q35", NULL, NULL);
	machine_start(&dst, "dst", machine, NULL, "-incoming", "defer", "-S",
		      option, value, NULL);
	from = connect_to(&src);
	to = connect_to(&dst);
	OK(ops->describe(from, &here, &err));
	OK(ops->describe(to, &there, &err));
	if (here && there)
		REFUSED(vmm_compare(here, there, &err), text);
	from->ops->close(from);
	to->ops->close(to);
	json_decref(here);
	json_decref(there);
	machine_end(&src);
	machine_end(&dst);
	report(what);
}

static void test_differences(void)
{
	differs("another machine is told", "pc", "machine", NULL, NULL);
	differs("another CPU is told", "q35", "CPU model", "-cpu", "Nehalem");
	differs("other CPU features are told", "q35", "other features", "-cpu",
		"qemu64,-sse3");
	differs("another number of CPUs is told", "q35", "2 CPUs", "-smp", "2");
	differs("room for more CPUs is told", "q35", "4 CPUs at most", "-smp",
		"1,maxcpus=4");
	differs("another UUID is told", "q35", "UUID", "-uuid",
		"12345678-1234-1234-1234-123456789abc");
	differs("another memory block is told", "q35", "memory block",
		"-device", "VGA");
}

void test_refusals(void)
{
	test_refused();
	test_differences();
}
