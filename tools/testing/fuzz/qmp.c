// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What QEMU sends on its QMP socket: greeting, replies and events, and what the
 * driver makes of the replies. The first byte says what is asked. A reply without
 * an id is taken for the awaited one.
 */
#include "../../../ctl/vmm/qmp.c"
#include "fuzz.h"
#include "vmm/migration.h"
#include "vmm/qemu.h"

static void ask(struct qemu *qemu, unsigned int what, struct error *err)
{
	const struct vmm_migration_ops *ops = &vmm_qemu_migration;
	struct vmm_range *ranges = NULL;
	struct vmm_status status;
	json_t *json = NULL;
	size_t n;

	switch (what % 8) {
	case 0:
		greeting_read(qemu->qmp, err);
		qmp_take_events(qemu->qmp, err);
		break;
	case 1:
		ops->describe(&qemu->vmm, &json, err);
		break;
	case 2:
		ops->check_source(&qemu->vmm, err);
		break;
	case 3:
		ops->check_destination(&qemu->vmm, err);
		break;
	case 4:
		if (!ops->save(&qemu->vmm, &json, err))
			ops->restore(&qemu->vmm, json, err);
		break;
	case 5:
		ops->status(&qemu->vmm, &status, err);
		break;
	case 6:
		vmm_qemu.layout(&qemu->vmm, &ranges, &n, err);
		free(ranges);
		break;
	case 7:
		ops->memory_blocks(&qemu->vmm, &json, err);
		break;
	}
	json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qemu *qemu;
	struct error err;
	int pair[2];

	if (!size)
		return 0;
	qemu = calloc(1, sizeof(*qemu));
	qemu->qmp = calloc(1, sizeof(*qemu->qmp));
	qemu->qmp->path = strdup("fuzz");
	qemu->qmp->dialect = &dialect_qmp;
	FUZZ_ASSERT(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	FUZZ_ASSERT(send(pair[1], data + 1, size - 1, MSG_DONTWAIT) == (ssize_t)(size - 1));
	/* It hangs up after that, but can be written to. */
	shutdown(pair[1], SHUT_WR);
	qemu->qmp->fd = pair[0];
	qemu->vmm.pid = getpid();
	qemu->vmm.ops = &vmm_qemu;
	ask(qemu, data[0], &err);
	vmm_qemu.close(&qemu->vmm);
	close(pair[1]);
	return 0;
}
