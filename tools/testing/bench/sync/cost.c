// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What it costs to find the pages that a guest wrote, and to watch for the next
 * ones: migtrack beside what the kernel has for it, and beside one plain pass
 * over the page tables. In the lab's VM; "make bench" does it all.
 *
 *	cost [-r ROUNDS] [-i] [-j FILE]
 *
 * Times are medians, in us per GiB; with -i the VM counts instructions instead
 * of time (-icount shift=0), and they are thousands of instructions.
 */

#include <err.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "method.h"

#define MEMORY		(256UL << 20)
#define NPAGES		(MEMORY / GUEST_PAGE)
#define PER_GIB		((1UL << 30) / MEMORY)
#define MAX_ROUNDS	101
#define RUN		256	/* pages in a run */

struct density {
	const char *name;
	size_t pages;
	size_t stride;		/* 0: in runs of RUN, as many apart */
};

static const struct density densities[] = {
	{ "0 %",		0,		1 },
	{ "0.1 %",		NPAGES / 1000,	1000 },
	{ "1 %",		NPAGES / 100,	100 },
	{ "10 %",		NPAGES / 10,	10 },
	{ "50 %, scattered",	NPAGES / 2,	2 },
	{ "50 %, in runs",	NPAGES / 2,	0 },
	{ "100 %",		NPAGES,		1 },
};
#define DENSITIES	(sizeof(densities) / sizeof(densities[0]))

/* What is counted beside the time; each a tracepoint. */
static const char *const events[] = {
	"kvm/kvm_unmap_hva_range",	/* notifications that KVM acts on */
	"tlb/tlb_flush",
};
#define EVENTS		(sizeof(events) / sizeof(events[0]))
#define MAX_CPUS	8

struct result {
	uint64_t ns;
	size_t found;
	uint64_t faults;	/* of the guest, on reading all after it */
	uint64_t events[EVENTS];
};

static int event_fds[EVENTS][MAX_CPUS];
static unsigned int ncpus;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void events_open(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
	};
	char path[128];
	unsigned int e, cpu;
	FILE *file;

	ncpus = sysconf(_SC_NPROCESSORS_ONLN);
	if (ncpus > MAX_CPUS)
		errx(1, "more than %d CPUs", MAX_CPUS);
	for (e = 0; e < EVENTS; e++) {
		snprintf(path, sizeof(path), "/sys/kernel/tracing/events/%s/id", events[e]);
		file = fopen(path, "r");
		if (!file || fscanf(file, "%llu", &attr.config) != 1)
			err(1, "%s", path);
		fclose(file);
		for (cpu = 0; cpu < ncpus; cpu++) {
			event_fds[e][cpu] = syscall(SYS_perf_event_open, &attr, -1, cpu, -1,
						    PERF_FLAG_FD_CLOEXEC);
			if (event_fds[e][cpu] < 0)
				err(1, "perf_event_open of %s", events[e]);
		}
	}
}

static uint64_t events_read(unsigned int event)
{
	uint64_t value, sum = 0;
	unsigned int cpu;

	for (cpu = 0; cpu < ncpus; cpu++) {
		if (read(event_fds[event][cpu], &value, sizeof(value)) != sizeof(value))
			err(1, "perf counter");
		sum += value;
	}
	return sum;
}

static void list_pages(struct vm *vm, const struct density *density)
{
	size_t i;

	for (i = 0; i < density->pages; i++)
		vm->control->list[i] = density->stride ? i * density->stride :
				       i / RUN * 2 * RUN + i % RUN;
	vm->control->vcpus[0].list_first = 0;
	vm->control->vcpus[0].list_len = density->pages;
}

static uint64_t guest_write(struct vm *vm)
{
	uint64_t start = now_ns();

	vm_run(vm, 0, GUEST_WRITE_LIST);
	return now_ns() - start;
}

static uint64_t host_write(struct vm *vm)
{
	uint64_t start = now_ns();
	size_t i;

	for (i = 0; i < NPAGES; i++)
		*(volatile char *)(vm->memory + i * GUEST_PAGE) += 1;
	return now_ns() - start;
}

static struct result round_once(struct vm *vm, const struct method *method)
{
	struct result r = {};
	unsigned int e;
	uint64_t start;

	guest_write(vm);
	for (e = 0; e < EVENTS; e++)
		r.events[e] = events_read(e);
	start = now_ns();
	r.found = method->collect(vm);
	r.ns = now_ns() - start;
	for (e = 0; e < EVENTS; e++)
		r.events[e] = events_read(e) - r.events[e];

	start = vm_stat(vm, 0, "pf_taken");
	vm_run(vm, 0, GUEST_READ_ALL);
	r.faults = vm_stat(vm, 0, "pf_taken") - start;
	return r;
}

static int compare_u64(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static uint64_t median(uint64_t *values, unsigned int n)
{
	qsort(values, n, sizeof(*values), compare_u64);
	return values[n / 2];
}

/* Medians of each number by itself. */
static struct result results_median(const struct result *r, unsigned int n)
{
	uint64_t values[MAX_ROUNDS];
	struct result m = { .found = r[0].found };
	unsigned int i, e;

	for (i = 0; i < n; i++)
		values[i] = r[i].ns;
	m.ns = median(values, n);
	for (i = 0; i < n; i++)
		values[i] = r[i].faults;
	m.faults = median(values, n);
	for (e = 0; e < EVENTS; e++) {
		for (i = 0; i < n; i++)
			values[i] = r[i].events[e];
		m.events[e] = median(values, n);
	}
	return m;
}

static struct result results[METHODS][DENSITIES];

static uint64_t first_guest_write[METHODS], first_host_write[METHODS];

/* Per page: writes that follow a collection, by a vCPU and by a thread. */
static void measure_first_writes(struct vm *vm, unsigned int m, unsigned int rounds)
{
	uint64_t guest[MAX_ROUNDS], host[MAX_ROUNDS];
	unsigned int i;

	list_pages(vm, &densities[DENSITIES - 1]);
	for (i = 0; i < rounds; i++) {
		methods[m].collect(vm);
		guest[i] = guest_write(vm);
		methods[m].collect(vm);
		host[i] = host_write(vm);
	}
	first_guest_write[m] = median(guest, rounds) / NPAGES;
	first_host_write[m] = median(host, rounds) / NPAGES;
}

static void measure(unsigned int rounds)
{
	struct result r[MAX_ROUNDS];
	unsigned int m, d, i;
	struct vm vm;

	for (m = 0; m < METHODS; m++) {
		vm_create(&vm, 1, MEMORY);
		memset(vm.memory, 1, MEMORY);
		list_pages(&vm, &densities[DENSITIES - 1]);
		guest_write(&vm);
		methods[m].start(&vm);
		/* What was written before is found once. */
		methods[m].collect(&vm);
		for (d = 0; d < DENSITIES; d++) {
			list_pages(&vm, &densities[d]);
			for (i = 0; i < rounds; i++)
				r[i] = round_once(&vm, &methods[m]);
			results[m][d] = results_median(r, rounds);
			if (m != METHOD_FLOOR && results[m][d].found < densities[d].pages)
				errx(1, "%s found %zu of %zu pages", methods[m].name,
				     results[m][d].found, densities[d].pages);
		}
		measure_first_writes(&vm, m, rounds);
		methods[m].stop();
		vm_destroy(&vm);
	}
}

static void heading(const char *what)
{
	unsigned int m;

	printf("\n%s\n%-18s", what, "");
	for (m = 0; m < METHODS; m++)
		printf(" %13s", methods[m].name);
}

static void row(const char *name)
{
	printf("\n%-18s", name);
}

static void print_table(const char *unit)
{
	unsigned int m, d, e;
	char what[128];

	snprintf(what, sizeof(what), "One collection, %s per GiB", unit);
	heading(what);
	for (d = 0; d < DENSITIES; d++) {
		row(densities[d].name);
		for (m = 0; m < METHODS; m++)
			printf(" %13.0f", results[m][d].ns * PER_GIB / 1000.0);
	}
	heading("\nThe same, times migtrack's");
	for (d = 0; d < DENSITIES; d++) {
		row(densities[d].name);
		for (m = 0; m < METHODS; m++)
			printf(" %13.2f", (double)results[m][d].ns /
			       results[METHOD_MIGTRACK][d].ns);
	}
	heading("\nFaults of the guest when it then reads all of its memory, pages not written");
	for (d = 0; d < DENSITIES; d++) {
		row(densities[d].name);
		for (m = 0; m < METHODS; m++) {
			uint64_t faults = results[m][d].faults;

			printf(" %13llu", (unsigned long long)
			       (faults > densities[d].pages ? faults - densities[d].pages : 0));
		}
	}
	for (e = 0; e < EVENTS; e++) {
		snprintf(what, sizeof(what), "\n%s in a collection of 256 MiB", events[e]);
		heading(what);
		for (d = 0; d < DENSITIES; d++) {
			row(densities[d].name);
			for (m = 0; m < METHODS; m++)
				printf(" %13llu", (unsigned long long)results[m][d].events[e]);
		}
	}
	snprintf(what, sizeof(what), "\nThe first write to a page after a collection, %s",
		 !strcmp(unit, "us") ? "ns" : "instructions");
	heading(what);
	row("vCPU");
	for (m = 0; m < METHODS; m++)
		printf(" %13llu", (unsigned long long)first_guest_write[m]);
	row("thread");
	for (m = 0; m < METHODS; m++)
		printf(" %13llu", (unsigned long long)first_host_write[m]);
	putchar('\n');
}

static void print_json(const char *path, const char *unit)
{
	FILE *file = fopen(path, "w");
	unsigned int m, d;

	if (!file)
		err(1, "%s", path);
	fprintf(file, "{\"unit\":\"%s\",\"bytes\":%lu,\"methods\":[", unit, MEMORY);
	for (m = 0; m < METHODS; m++) {
		fprintf(file, "%s{\"name\":\"%s\",\"first_write_vcpu\":%llu,\"first_write_thread\":%llu,\"collections\":[",
			m ? "," : "", methods[m].name,
			(unsigned long long)first_guest_write[m],
			(unsigned long long)first_host_write[m]);
		for (d = 0; d < DENSITIES; d++) {
			const struct result *r = &results[m][d];

			fprintf(file, "%s{\"density\":\"%s\",\"written\":%zu,\"found\":%zu,\"cost\":%llu,\"guest_faults\":%llu,\"kvm_unmap_hva_range\":%llu,\"tlb_flush\":%llu}",
				d ? "," : "", densities[d].name, densities[d].pages,
				r->found, (unsigned long long)r->ns,
				(unsigned long long)r->faults,
				(unsigned long long)r->events[0],
				(unsigned long long)r->events[1]);
		}
		fputs("]}", file);
	}
	fputs("]}\n", file);
	if (fclose(file))
		err(1, "%s", path);
}

int main(int argc, char **argv)
{
	const char *json = NULL, *unit = "us";
	unsigned long rounds = 7;
	int option;

	while ((option = getopt(argc, argv, "r:ij:")) != -1) {
		switch (option) {
		case 'r':
			rounds = strtoul(optarg, NULL, 0);
			if (rounds && rounds <= MAX_ROUNDS)
				break;
			errx(2, "-r is 1 to %d", MAX_ROUNDS);
		case 'i':
			unit = "thousand instructions";
			break;
		case 'j':
			json = optarg;
			break;
		default:
			errx(2, "usage: cost [-r ROUNDS] [-i] [-j FILE]");
		}
	}
	events_open();
	measure(rounds);
	print_table(unit);
	if (json)
		print_json(json, unit);
	return 0;
}
