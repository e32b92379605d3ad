// SPDX-License-Identifier: GPL-2.0-or-later
/* What the destination answers, as the source takes it: a type, and what it says. */
#include "../../../ctl/cmd/peer.c"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint64_t hashes[WIRE_MAX_PAYLOAD / sizeof(uint64_t)];
	struct peer peer = { .hashes = hashes };
	struct wire_frame frame = {};
	char *text;

	if (!size)
		return 0;
	frame.type = data[0];
	frame.length = (uint32_t)size - 1;
	/* As channel_receive() lets it through. */
	if (wire_check(&frame))
		return 0;
	text = fuzz_text(data + 1, size - 1);
	peer_take(&peer, &frame, text);
	FUZZ_ASSERT(!peer.failed || peer.err.message[0]);
	json_decref(peer.accept);
	free(text);
	return 0;
}
