// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/host.h"
#include "unit.h"

static char root[] = "/tmp/migtrack-unit-XXXXXX";

static void put(const char *path, const char *text)
{
	char full[256], command[300];
	FILE *file;

	snprintf(full, sizeof(full), "%s%s", root, path);
	snprintf(command, sizeof(command), "mkdir -p $(dirname %s)", full);
	CHECK_EQ(system(command), 0);
	file = fopen(full, "w");
	CHECK(file);
	if (!file)
		return;
	fputs(text, file);
	fclose(file);
}

static struct finding find(const char *name, const char *release,
			   const char *machine)
{
	struct host host = { root, release, machine };
	host_check_fn * const *check;
	struct finding finding;

	for (check = host_checks; *check; check++) {
		finding = (struct finding){};
		(*check)(&host, &finding);
		if (!strcmp(finding.name, name))
			return finding;
	}
	CHECK(!"no such check");
	return (struct finding){};
}

static enum finding_state state(const char *name)
{
	return find(name, "6.12.1-amd64", "x86_64").state;
}

static void root_remove(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -r %s", root);
	CHECK_EQ(system(command), 0);
}

TEST(kernels_and_machines_are_checked)
{
	CHECK(mkdtemp(root));
	CHECK_EQ(find("kernel", "6.12.0", "").state, FINDING_OK);
	CHECK_EQ(find("kernel", "6.12-rc1", "").state, FINDING_OK);
	CHECK_EQ(find("kernel", "7.2.1+deb13-amd64", "").state, FINDING_OK);
	CHECK_EQ(find("kernel", "6.11.9", "").state, FINDING_MISSING);
	CHECK_EQ(find("kernel", "5.19.0", "").state, FINDING_MISSING);
	CHECK_EQ(find("kernel", "odd", "").state, FINDING_MISSING);
	CHECK_EQ(find("architecture", "6.12", "x86_64").state, FINDING_OK);
	CHECK_EQ(find("architecture", "6.12", "aarch64").state,
		 FINDING_MISSING);
	root_remove();
}

TEST(the_module_is_found)
{
	struct finding finding;

	CHECK(mkdtemp(root));
	finding = find("module", "6.12.1-amd64", "");
	CHECK_EQ(finding.state, FINDING_MISSING);
	CHECK_HAS(finding.fix, "make install");
	put("/lib/modules/6.12.1-amd64/modules.dep",
	    "kernel/a.ko.xz:\nupdates/kmod/migtrack.ko:\n");
	finding = find("module", "6.12.1-amd64", "");
	CHECK_EQ(finding.state, FINDING_ADVICE);
	CHECK_STR(finding.fix, "modprobe migtrack");
	put("/sys/module/migtrack/version", "1.2\n");
	finding = find("module", "6.12.1-amd64", "");
	CHECK_EQ(finding.state, FINDING_OK);
	CHECK_HAS(finding.detail, "migtrack 1.2 is loaded");
	root_remove();
}

TEST(settings_are_checked)
{
	CHECK(mkdtemp(root));
	CHECK_EQ(state("privileges"), FINDING_MISSING);
	put("/proc/self/status", "Name:\tx\nCapEff:\t0000000000001000\n");
	CHECK_EQ(state("privileges"), FINDING_MISSING);
	CHECK_HAS(find("privileges", "", "").detail, "no CAP_SYS_PTRACE");
	put("/proc/self/status", "Name:\tx\nCapEff:\t0000000000081000\n");
	CHECK_EQ(state("privileges"), FINDING_OK);

	CHECK_EQ(state("kvm"), FINDING_ADVICE);
	put("/dev/kvm", "");
	CHECK_EQ(state("kvm"), FINDING_OK);

	CHECK_EQ(state("huge pages"), FINDING_OK);
	put("/sys/kernel/mm/transparent_hugepage/shmem_enabled",
	    "always within_size advise [never] deny force\n");
	CHECK_EQ(state("huge pages"), FINDING_OK);
	put("/sys/kernel/mm/transparent_hugepage/shmem_enabled",
	    "always within_size [advise] never deny force\n");
	CHECK_EQ(state("huge pages"), FINDING_ADVICE);
	CHECK_HAS(find("huge pages", "", "").detail, "is advise");

	CHECK_EQ(state("numa balancing"), FINDING_OK);
	put("/proc/sys/kernel/numa_balancing", "1\n");
	CHECK_EQ(state("numa balancing"), FINDING_ADVICE);

	CHECK_EQ(state("swap"), FINDING_OK);
	put("/proc/swaps", "Filename Type Size Used Priority\n");
	CHECK_EQ(state("swap"), FINDING_OK);
	put("/proc/swaps", "Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n");
	CHECK_EQ(state("swap"), FINDING_ADVICE);
	root_remove();
}
