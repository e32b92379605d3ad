/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What goes over the connection between migctl migrate and migctl receive: a
 * sequence of frames in both directions, each a header and @length bytes.
 * Little-endian.
 */
#ifndef MIGCTL_WIRE_H
#define MIGCTL_WIRE_H

#include <stddef.h>
#include <stdint.h>

#define WIRE_VERSION		1
#define WIRE_PAGE_SIZE		4096u
/* The longest payload; a run of pages is cut into several frames. */
#define WIRE_MAX_PAYLOAD	(1u << 20)

enum wire_type {
	WIRE_HELLO = 1,		/* > JSON: version, and the VM's description */
	WIRE_ACCEPT,		/* < JSON: for each block whether it is empty */
	WIRE_REFUSE,		/* < JSON: reason */
	WIRE_PAGES,		/* > pages of @block from @offset on */
	WIRE_ZERO,		/* > @count bytes of @block from @offset on are 0 */
	WIRE_BARRIER,		/* > all before it is to be written; @offset: number */
	WIRE_BARRIER_DONE,	/* < it is */
	WIRE_VMM_START,		/* > the VMM's own stream begins */
	WIRE_VMM_DATA,		/* <> a part of the VMM's own stream */
	WIRE_VMM_END,		/* <> it has ended */
	WIRE_LOADED,		/* < the destination VMM has loaded it */
	WIRE_HASH,		/* > send your hashes of @count bytes of @block */
	WIRE_HASHES,		/* < 64-bit page hashes of @block from @offset on */
	WIRE_GO,		/* > the guest is yours: run it if @count is not 0 */
	WIRE_RUNNING,		/* < it runs */
	WIRE_CANCEL,		/* > the migration is off, reason in JSON */
	WIRE_FAILED,		/* < JSON: reason */
	WIRE_DONE,		/* > verified, close */
};

/**
 * struct wire_frame - a frame's header
 * @type: enum wire_type
 * @length: bytes of payload that follow
 * @block: index in the description's list of memory blocks
 * @offset: bytes
 * @count: bytes, where the payload does not tell; see WIRE_GO
 */
struct wire_frame {
	uint32_t type;
	uint32_t length;
	uint32_t block;
	uint64_t offset;
	uint64_t count;
};

#define WIRE_HEADER_SIZE	32u

/*
 * Pure. Decoding and checking return 0 or -EPROTO: no magic, unknown type, a
 * length that the type can't have.
 */
void wire_encode(uint8_t header[WIRE_HEADER_SIZE], const struct wire_frame *frame);
int wire_decode(const uint8_t header[WIRE_HEADER_SIZE], struct wire_frame *frame);
int wire_check(const struct wire_frame *frame);

#endif /* MIGCTL_WIRE_H */
