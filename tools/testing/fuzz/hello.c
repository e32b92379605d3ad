// SPDX-License-Identifier: GPL-2.0-or-later
/* The source's greeting, as the destination takes it. */
#include <sys/mman.h>
#include <unistd.h>

#include "../../../ctl/cmd/receive_door.c"
#include "../../../ctl/cmd/receive_run.c"
#include "fuzz.h"

static json_t *here;
static struct vmm_memory memory[2];

static int userfaultfd(struct vmm *vmm, unsigned int modes, struct uffd_offer *offer,
		       struct error *err)
{
	(void)vmm;
	(void)modes;
	(void)offer;
	return error_set(err, EXIT_VMM, "there is none");
}

static int describe(struct vmm *vmm, json_t **description, struct error *err)
{
	(void)vmm;
	(void)err;
	*description = json_incref(here);
	return 0;
}

static void setup(void)
{
	size_t i;

	here = json_loads("{\"vmm\":\"qemu\",\"machine\":\"pc-q35-11.0\",\"uuid\":\"0\","
			  "\"cpu\":{\"model\":\"qemu64\",\"present\":1,\"max\":1,"
			  "\"topology\":{\"cores\":1},\"features\":{\"1.edx\":5}},"
			  "\"memory\":[{\"id\":\"m0\",\"size\":65536,\"kind\":\"file\",\"share\":true,\"file\":true}],"
			  "\"blocks\":[{\"name\":\"m0\",\"size\":65536}]}", 0, NULL);
	FUZZ_ASSERT(here);
	for (i = 0; i < 2; i++) {
		memory[i].fd = memfd_create("fuzz", MFD_CLOEXEC);
		memory[i].size = 65536;
		snprintf(memory[i].id, sizeof(memory[i].id), "m%zu", i);
		FUZZ_ASSERT(!ftruncate(memory[i].fd, 65536));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vmm_migration_ops ops = {
		.describe = describe, .userfaultfd = userfaultfd,
	};
	struct reception r = { .ops = &ops, .memory = memory, .n_memory = 1 };
	char *text = fuzz_text(data, size);
	struct channel channel = { .peer = "fuzz" };
	struct wire_frame frame = {};
	struct error err;
	json_t *hello;

	if (!here)
		setup();
	hello = json_loads(text, 0, NULL);
	frame.type = WIRE_HELLO;
	check_hello(NULL, &channel, &frame, text, &err);
	/* Each by itself: a description that fits is hard to come by. */
	compare_vm(&r, hello, &err);
	if (!take_channels(&r, hello, &err)) {
		FUZZ_ASSERT(r.channels >= 1 && r.channels <= WIRE_MAX_CHANNELS &&
			    r.urgent <= WIRE_MAX_URGENT);
		receive_open_link(&r, &err);
	}
	if (!take_blocks(&r, json_object_get(hello, "blocks"), &err))
		FUZZ_ASSERT(r.receiver.nblocks == 1);
	receiver_close(&r.receiver);
	link_close(&r.link);
	intake_free(&r.intake);
	free(r.blocks);
	json_decref(hello);
	reason_take(text, "it says", &err);
	free(text);
	return 0;
}
