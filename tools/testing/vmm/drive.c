// SPDX-License-Identifier: GPL-2.0-or-later
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "drive.h"

const struct vmm_migration_ops * const ops = &vmm_qemu_migration;

const char * const moments[] = {
	[IDLE] = "before anything was changed",
	[PREPARED] = "with the capabilities set",
	[ACTIVE] = "while QEMU migrates, its stream blocked",
	[STOPPED] = "at pre-switchover",
	[COMPLETED] = "after completed, not handed over",
	[HALF_COMMAND] = "in the middle of a command, at pre-switchover",
	[HALF_REPLY] = "in the middle of a reply, at pre-switchover",
	[NAMED_FD] = "between getfd and migrate",
};

void go_to(enum moment moment, struct vmm *from, struct vmm *to,
		  const struct machine *src, const struct machine *dst,
		  int pair[2])
{
	static const char half[] = "{\"execute\": \"migrate-cont";
	static const char whole[] = "{\"execute\": \"query-qmp-schema\"}";
	char some[3000];
	int fd = ops->connection(from);

	if (moment == IDLE)
		return;
	OK(ops->prepare_source(from, &err));
	if (moment == PREPARED)
		return;
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	if (moment == ACTIVE) {
		int size = 4096;

		setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	}
	if (moment == NAMED_FD)
		return;
	OK(ops->start(from, pair[0], &err));
	close(pair[0]);
	if (moment == ACTIVE) {
		sleep_ms(50);
		return;
	}
	OK(ops->prepare_destination(to, &err));
	OK(ops->incoming(to, pair[1], &err));
	close(pair[1]);
	CHECK(phase_wait(from, VMM_PRE_SWITCHOVER, PATIENCE_MS));
	if (moment == COMPLETED) {
		copy_ram(src, dst);
		OK(ops->go_on(from, &err));
		CHECK(phase_wait(from, VMM_COMPLETED, PATIENCE_MS));
	}
	if (moment == HALF_COMMAND)
		CHECK(write(fd, half, strlen(half)) == (ssize_t)strlen(half));
	if (moment == HALF_REPLY) {
		CHECK(write(fd, whole, strlen(whole)) ==
		      (ssize_t)strlen(whole));
		CHECK(read(fd, some, sizeof(some)) > 0);
	}
}

struct vmm *connect_to(const struct machine *m)
{
	struct vmm *vmm = NULL;

	OK(vmm_qemu.open(&vmm, m->qmp, 0, &err));
	return vmm;
}

bool phase_wait(struct vmm *vmm, enum vmm_phase phase, int ms)
{
	int64_t end = now_us() + (int64_t)ms * 1000;
	struct vmm_status status = {};
	struct error err;

	while (now_us() < end) {
		if (ops->status(vmm, &status, &err)) {
			printf("# %s\n", err.message);
			return false;
		}
		if (status.phase == phase)
			return true;
		usleep(1000);
	}
	printf("# phase %d instead of %d, state %s, %s\n", status.phase, phase,
	       status.state, status.reason);
	return false;
}
