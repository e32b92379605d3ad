// SPDX-License-Identifier: GPL-2.0-or-later
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/capability.h>

#include "cmd/host.h"

#define KERNEL_MAJOR	6
#define KERNEL_MINOR	12

#define SHMEM_ENABLED	"/sys/kernel/mm/transparent_hugepage/shmem_enabled"

void finding_set(struct finding *finding, enum finding_state state,
		 const char *fix, const char *format, ...)
{
	va_list args;

	finding->state = state;
	snprintf(finding->fix, sizeof(finding->fix), "%s", fix);
	va_start(args, format);
	vsnprintf(finding->detail, sizeof(finding->detail), format, args);
	va_end(args);
}

const char *finding_state_name(enum finding_state state)
{
	static const char * const names[] = {
		[FINDING_OK] = "ok",
		[FINDING_ADVICE] = "advice",
		[FINDING_MISSING] = "missing",
	};

	return names[state];
}

/* The beginning of a file; false, and "", if it can't be read. */
static bool host_read(const struct host *host, const char *path, char *text,
		      size_t size)
{
	char full[PATH_MAX];
	size_t length = 0;
	FILE *file;

	snprintf(full, sizeof(full), "%s%s", host->root, path);
	file = fopen(full, "re");
	if (file) {
		length = fread(text, 1, size - 1, file);
		fclose(file);
	}
	text[length] = '\0';
	return file;
}

static bool host_has(const struct host *host, const char *path, int mode)
{
	char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s%s", host->root, path);
	return !access(full, mode);
}

static void check_kernel(const struct host *host, struct finding *finding)
{
	int major_number = 0, minor_number = 0;

	finding->name = "kernel";
	sscanf(host->release, "%d.%d", &major_number, &minor_number);
	if (major_number > KERNEL_MAJOR ||
	    (major_number == KERNEL_MAJOR && minor_number >= KERNEL_MINOR))
		finding_set(finding, FINDING_OK, "", "%s", host->release);
	else
		finding_set(finding, FINDING_MISSING,
			    "boot Linux 6.12 or newer (Debian 13, or 12 with backports)",
			    "%s is older than 6.12", host->release);
}

static void check_machine(const struct host *host, struct finding *finding)
{
	finding->name = "architecture";
	if (!strcmp(host->machine, "x86_64"))
		finding_set(finding, FINDING_OK, "", "%s", host->machine);
	else
		finding_set(finding, FINDING_MISSING,
			    "use an x86_64 host: the module is not ported to others",
			    "%s", host->machine);
}

/* Whether depmod knows the module for the kernel that runs. */
static bool module_installed(const struct host *host)
{
	char path[PATH_MAX], *line = NULL;
	bool found = false;
	size_t room = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/lib/modules/%s/modules.dep",
		 host->root, host->release);
	file = fopen(path, "re");
	if (!file)
		return false;
	while (!found && getline(&line, &room, file) > 0)
		found = strstr(line, "/migtrack.ko");
	free(line);
	fclose(file);
	return found;
}

static void check_module(const struct host *host, struct finding *finding)
{
	char version[64];

	finding->name = "module";
	if (host_has(host, "/sys/module/migtrack", F_OK)) {
		host_read(host, "/sys/module/migtrack/version", version,
			  sizeof(version));
		version[strcspn(version, "\n")] = '\0';
		finding_set(finding, FINDING_OK, "", "migtrack%s%s is loaded",
			    version[0] ? " " : "", version);
	} else if (module_installed(host)) {
		finding_set(finding, FINDING_ADVICE, "modprobe migtrack",
			    "migtrack is installed; the first session loads it");
	} else {
		finding_set(finding, FINDING_MISSING,
			    "in the source tree: make && make install, then modprobe migtrack",
			    "migtrack is not installed for %s", host->release);
	}
}

static uint64_t capabilities(const struct host *host)
{
	char status[4096];
	const char *line;

	host_read(host, "/proc/self/status", status, sizeof(status));
	line = strstr(status, "\nCapEff:");
	return line ? strtoull(line + strlen("\nCapEff:"), NULL, 16) : 0;
}

static bool capable(uint64_t caps, int cap)
{
	return caps >> cap & 1;
}

static void check_privileges(const struct host *host, struct finding *finding)
{
	uint64_t caps = capabilities(host);
	bool admin = capable(caps, CAP_NET_ADMIN);
	bool ptrace = capable(caps, CAP_SYS_PTRACE);

	finding->name = "privileges";
	if (admin && ptrace)
		finding_set(finding, FINDING_OK, "",
			    "CAP_NET_ADMIN and CAP_SYS_PTRACE");
	else
		finding_set(finding, FINDING_MISSING,
			    "run migctl as root (list, show and monitor need nothing)",
			    "no %s%s%s: track is not allowed",
			    admin ? "" : "CAP_NET_ADMIN",
			    admin || ptrace ? "" : ", no ",
			    ptrace ? "" : "CAP_SYS_PTRACE");
}

static void check_kvm(const struct host *host, struct finding *finding)
{
	finding->name = "kvm";
	if (host_has(host, "/dev/kvm", F_OK))
		finding_set(finding, FINDING_OK, "", "/dev/kvm is there");
	else
		finding_set(finding, FINDING_ADVICE,
			    "modprobe kvm_intel or kvm_amd, and enable virtualization in the firmware",
			    "no /dev/kvm: guests are emulated, slow, but can be tracked");
}

/* The word in brackets of a sysfs choice: "always [never]". */
static void chosen_word(char *text)
{
	char *open = strchr(text, '['), *close;

	if (!open)
		return;
	close = strchr(open, ']');
	if (close)
		*close = '\0';
	memmove(text, open + 1, strlen(open + 1) + 1);
}

static void check_huge_pages(const struct host *host, struct finding *finding)
{
	char text[128];

	finding->name = "huge pages";
	host_read(host, SHMEM_ENABLED, text, sizeof(text));
	chosen_word(text);
	if (!text[0])
		finding_set(finding, FINDING_OK, "", "this kernel has none");
	else if (!strcmp(text, "never") || !strcmp(text, "deny"))
		finding_set(finding, FINDING_OK, "", "shmem_enabled is %s",
			    text);
	else
		finding_set(finding, FINDING_ADVICE,
			    "before the guest starts: echo never > " SHMEM_ENABLED,
			    "shmem_enabled is %s: memory in huge pages can't be tracked yet",
			    text);
}

static void check_numa(const struct host *host, struct finding *finding)
{
	char text[16];

	finding->name = "numa balancing";
	host_read(host, "/proc/sys/kernel/numa_balancing", text, sizeof(text));
	if (atoi(text))
		finding_set(finding, FINDING_ADVICE,
			    "while tracking: sysctl kernel.numa_balancing=0",
			    "on: each of its scans looks like the guest's writes");
	else
		finding_set(finding, FINDING_OK, "", "off");
}

static void check_swap(const struct host *host, struct finding *finding)
{
	char text[512];
	const char *second;

	finding->name = "swap";
	host_read(host, "/proc/swaps", text, sizeof(text));
	second = strchr(text, '\n');
	if (second && second[1])
		finding_set(finding, FINDING_ADVICE,
			    "while tracking: keep guest memory out of swap (memory.swap.max=0 in its cgroup, or swapoff -a)",
			    "on: a page that is swapped out counts as written");
	else
		finding_set(finding, FINDING_OK, "", "off");
}

host_check_fn * const host_checks[] = {
	check_kernel,
	check_machine,
	check_module,
	check_privileges,
	check_kvm,
	check_huge_pages,
	check_numa,
	check_swap,
	NULL
};
