// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/host.h"
#include "vmm/vfio_host.h"
#include "vmm/vmm.h"

const char check_usage[] =
	"migctl check [-j] [--qmp SOCKET [--pid PID]]\n"
	"\n"
	"What this host can do, line by line: ok, advice (works, could be better) or\n"
	"missing (tracking is impossible), with the fix. Exit code 0 if guests can be\n"
	"tracked, 8 if not. Changes nothing; a VFIO device that nobody uses is opened for\n"
	"a moment, as a VMM opens it, to ask whether it can migrate.\n"
	"\n"
	"  --qmp SOCKET   also look at the memory of the guest behind QEMU's QMP socket\n"
	"  --pid PID      its process, if the socket belongs to another";

enum { OPTION_QMP = 256, OPTION_PID };

enum { STATE, NAME, DETAIL, FIX };

static const struct out_field fields[] = {
	[STATE] = { "state", "STATE", 8, OUT_TEXT },
	[NAME] = { "name", "CHECK", 15, OUT_TEXT },
	[DETAIL] = { "detail", "FOUND", 0, OUT_TEXT },
	[FIX] = { "fix", NULL, 0, OUT_TEXT },
};

/**
 * struct check - a run of check
 * @out: where to
 * @qmp: QEMU's socket, or NULL
 * @pid: its process, 0 if the socket tells
 * @missing: the first thing without which nothing works, "" if there is none
 */
struct check {
	struct output *out;
	const char *qmp;
	pid_t pid;
	char missing[64];
};

static void check_report(struct check *check, const struct finding *finding)
{
	struct output *out = check->out;

	out_begin(out, OUT_ROW, "check");
	out_text(out, &fields[STATE], finding_state_name(finding->state));
	out_text(out, &fields[NAME], finding->name);
	out_text(out, &fields[DETAIL], finding->detail);
	out_text(out, &fields[FIX], finding->fix);
	out_end(out);
	if (finding->fix[0])
		out_say(out, "%-8s  %-15s  fix: %s", "", "", finding->fix);
	if (finding->state == FINDING_MISSING && !check->missing[0])
		snprintf(check->missing, sizeof(check->missing), "%s",
			 finding->name);
}

static void check_host(struct check *check)
{
	struct finding finding;
	host_check_fn * const *next;
	struct utsname uts;
	struct host host = {
		.root = "",
		.release = uts.release,
		.machine = uts.machine,
	};

	uname(&uts);
	for (next = host_checks; *next; next++) {
		finding = (struct finding){};
		(*next)(&host, &finding);
		check_report(check, &finding);
	}
}

/* Asking for the family of a module that is not loaded would load it. */
static void check_family(struct check *check)
{
	struct finding finding = { .name = "kernel family" };
	struct migtrack *mt;
	int ret;

	if (access("/sys/module/migtrack", F_OK))
		return;
	ret = migtrack_open(&mt);
	if (ret) {
		finding_set(&finding, FINDING_MISSING,
			    "rmmod migtrack, modprobe migtrack, and see dmesg",
			    "it does not answer: %s", strerror(-ret));
	} else {
		finding_set(&finding, FINDING_OK, "", "it answers");
		migtrack_close(mt);
	}
	check_report(check, &finding);
}

static void device_detail(char *text, size_t size, uint32_t features)
{
	snprintf(text, size, "can migrate; %s, %s, %s",
		 features & MIGTRACK_DEVICE_FEATURES_P2P ? "P2P" : "no P2P",
		 features & MIGTRACK_DEVICE_FEATURES_PRE_COPY ?
			"precopy" : "no precopy",
		 features & MIGTRACK_DEVICE_FEATURES_DIRTY_LOG ?
			"dirty log" : "no dirty log");
}

static void check_device(const struct vfio_host_device *device, void *data)
{
	struct finding finding = { .name = device->name };
	char who[32] = "not in use", detail[64];
	struct check *check = data;

	if (device->pid)
		snprintf(who, sizeof(who), "process %d", device->pid);
	device_detail(detail, sizeof(detail), device->features);
	if (device->error)
		finding_set(&finding, FINDING_ADVICE,
			    "bind all devices of its IOMMU group to VFIO drivers, and run migctl as root",
			    "VFIO device, %s: can't be asked: %s", who,
			    strerror(device->error));
	else if (!device->features)
		finding_set(&finding, FINDING_ADVICE,
			    "use the device's own VFIO driver (for example mlx5_vfio_pci), if it has one",
			    "VFIO device, %s: can't migrate, its driver has no support for that",
			    who);
	else
		finding_set(&finding, FINDING_OK, "", "VFIO device, %s: %s",
			    who, detail);
	check_report(check, &finding);
}

static void check_memory(struct check *check, const struct vmm_memory *mem)
{
	struct finding finding = { .name = mem->id };
	char size[UNIT_TEXT_SIZE];

	format_bytes(size, mem->size);
	if (mem->reason[0])
		finding_set(&finding, FINDING_ADVICE, mem->advice,
			    "%s, %s: can't be tracked: %s", mem->kind, size,
			    mem->reason);
	else
		finding_set(&finding, FINDING_OK, "", "%s, %s, %s", mem->kind,
			    size, mem->path);
	check_report(check, &finding);
}

static size_t check_memories(struct check *check,
			     const struct vmm_memory *memory, size_t n)
{
	size_t i, good = 0;

	for (i = 0; i < n; i++) {
		check_memory(check, &memory[i]);
		good += !memory[i].reason[0];
	}
	return good;
}

static int check_vmm(struct check *check, struct error *err)
{
	struct finding finding = { .name = "vmm" };
	struct vmm_memory *memory;
	struct vmm *vmm;
	size_t n, good;
	int ret;

	if (vmm_qemu.open(&vmm, check->qmp, check->pid, err))
		return -1;
	finding_set(&finding, FINDING_OK, "", "%s %s, process %d",
		    vmm->ops->name, vmm->version, vmm->pid);
	check_report(check, &finding);
	ret = vmm->ops->memory(vmm, &memory, &n, err);
	vmm->ops->close(vmm);
	if (ret)
		return -1;
	good = check_memories(check, memory, n);
	vmm_memory_free(memory, n);
	if (good)
		return 0;
	error_set(err, EXIT_UNTRACKABLE,
		  "no memory of this guest can be tracked");
	return error_advise(err, "see the fixes above");
}

static int check_options(struct check *check, int argc, char **argv,
			 struct error *err)
{
	static const struct option longs[] = {
		{ "qmp", required_argument, NULL, OPTION_QMP },
		{ "pid", required_argument, NULL, OPTION_PID },
		COMMON_OPTIONS
	};
	uint64_t pid;
	int option;

	while ((option = option_next(argc, argv, ":j", longs, err))) {
		if (option < 0)
			return -1;
		if (option == OPTION_QMP)
			check->qmp = optarg;
		if (option != OPTION_PID)
			continue;
		if (option_number("--pid", optarg, 1, INT32_MAX, &pid, err))
			return -1;
		check->pid = (pid_t)pid;
	}
	if (option_end(argc, argv, err))
		return -1;
	if (!check->pid || check->qmp)
		return 0;
	error_set(err, EXIT_USAGE, "check: --pid without --qmp");
	return error_advise(err, "see migctl check --help");
}

int cmd_check(struct output *out, int argc, char **argv, struct error *err)
{
	struct check check = { .out = out };

	if (check_options(&check, argc, argv, err))
		return -1;
	out_header(out, fields, 3);
	check_host(&check);
	check_family(&check);
	vfio_host_visit(check_device, &check);
	if (check.qmp && check_vmm(&check, err))
		return -1;
	if (!check.missing[0]) {
		out_say(out, "\nThis host can track guests.");
		return 0;
	}
	error_set(err, EXIT_UNUSABLE, "this host can't track guests: %s",
		  check.missing);
	return error_advise(err, "see the fixes above, from the top");
}
