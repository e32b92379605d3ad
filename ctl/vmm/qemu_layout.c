// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where devices find the guest's memory in QEMU: what the guest does, as long as it
 * has no IOMMU of its own. QMP tells that only in the words of "info mtree -f".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/qemu.h"
#include "vmm/qemu_layout.h"

static const char vmm_migrates[] =
	"a device has one DMA log, and QEMU needs it: wait for the end of the migration, or cancel it";

static int layout_add(struct vmm_range **ranges, size_t *n,
		      const struct vmm_range *range, struct error *err)
{
	struct vmm_range *more;

	more = reallocarray(*ranges, *n + 1, sizeof(*more));
	if (!more)
		return error_set(err, EXIT_FAILED, "out of memory");
	*ranges = more;
	more[(*n)++] = *range;
	return 0;
}

/* "  AS "memory", root: system": one of the views that the next ranges are of. */
static bool space_name(const char *line, char *name, size_t size)
{
	const char *start = strstr(line, "AS \""), *end;

	if (!start)
		return false;
	start += strlen("AS \"");
	end = strrchr(start, '"');
	if (!end)
		return false;
	snprintf(name, size, "%.*s", (int)(end - start), start);
	return true;
}

static bool is_iommu(const char *name)
{
	return strstr(name, "iommu") || strstr(name, "vtd") ||
	       strstr(name, "smmu");
}

/*
 * "  0000000100000000-000000013fffffff (prio 0, ram): ram @0000000080000000 KVM":
 * in the guest first and last byte, then of what, and from where on. Pages only.
 */
static bool range_parse(const char *line, struct vmm_range *range)
{
	unsigned long long first, last, offset = 0, page;
	char kind[32], name[NAME_MAX + 1];
	const char *base;

	if (sscanf(line, " %llx-%llx (prio %*d, %31[^)]): %255s @%llx", &first,
		   &last, kind, name, &offset) < 4 || strcmp(kind, "ram"))
		return false;
	page = (unsigned long long)sysconf(_SC_PAGESIZE);
	if (first % page || last < first || (last + 1) % page || offset % page)
		return false;
	base = strrchr(name, '/');
	*range = (struct vmm_range) {
		.iova = first,
		.length = last - first + 1,
		.offset = offset,
	};
	snprintf(range->id, sizeof(range->id), "%s", base ? base + 1 : name);
	return true;
}

/**
 * qemu_layout_parse() - what "info mtree -f" says of the guest's memory
 * @text: that; changed
 * @ranges: set, to be freed also after a failure
 * @n: how many
 * @err: why it does not say where devices find it
 *
 * Return: 0 or -1.
 */
int qemu_layout_parse(char *text, struct vmm_range **ranges, size_t *n,
		      struct error *err)
{
	bool in_memory = false;
	struct vmm_range range;
	char *line, *rest, name[128];

	*ranges = NULL;
	*n = 0;
	for (line = strtok_r(text, "\r\n", &rest); line;
	     line = strtok_r(NULL, "\r\n", &rest)) {
		if (!strncmp(line, "FlatView", strlen("FlatView"))) {
			in_memory = false;
		} else if (space_name(line, name, sizeof(name))) {
			if (is_iommu(name)) {
				error_set(err, EXIT_VMM,
					  "the guest has an IOMMU: where its devices find memory is up to the guest");
				return error_advise(err,
						    "track without --dma-log");
			}
			in_memory |= !strcmp(name, "memory");
		} else if (in_memory && range_parse(line, &range) &&
			   layout_add(ranges, n, &range, err)) {
			return -1;
		}
	}
	return *n ? 0 : qemu_odd(err, "info mtree -f");
}

static int layout_check_idle(struct qemu *qemu, struct error *err)
{
	static const char * const idle[] = {
		"none", "completed", "failed", "cancelled",
	};
	const char *status;
	json_t *migration;
	size_t i;

	if (qemu_query(qemu, "query-migrate", NULL, JSON_OBJECT, &migration,
		       err))
		return -1;
	status = json_string_value(json_object_get(migration, "status"));
	for (i = 0; status && i < sizeof(idle) / sizeof(idle[0]); i++) {
		if (!strcmp(status, idle[i]))
			status = NULL;
	}
	if (status)
		error_set(err, EXIT_VMM,
			  "--dma-log: QEMU migrates the guest (%s)", status);
	json_decref(migration);
	return status ? error_advise(err, "%s", vmm_migrates) : 0;
}

/**
 * qemu_layout() - where devices find the guest's memory
 * @vmm: the QEMU
 * @ranges: set, to be freed also after a failure
 * @n: how many
 * @err: why it can't be told, or must not be used now
 *
 * Return: 0 or -1.
 */
int qemu_layout(struct vmm *vmm, struct vmm_range **ranges, size_t *n,
		struct error *err)
{
	struct qemu *qemu = to_qemu(vmm);
	json_t *reply;
	char *text;
	int ret;

	*ranges = NULL;
	*n = 0;
	if (layout_check_idle(qemu, err))
		return -1;
	if (qemu_query(qemu, "human-monitor-command",
		       json_pack("{s:s}", "command-line", "info mtree -f"),
		       JSON_STRING, &reply, err))
		return -1;
	text = strdup(json_string_value(reply));
	json_decref(reply);
	if (!text)
		return error_set(err, EXIT_FAILED, "out of memory");
	ret = qemu_layout_parse(text, ranges, n, err);
	free(text);
	return ret;
}
