/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What goes over the connections between migctl migrate and migctl receive:
 * frames, each a header and @length bytes. Little-endian. One connection is the
 * control channel (C), the others are data channels (D), which only the source
 * sends on, and with post-copy urgent channels (U), where the destination asks and
 * the source answers. Documentation/stream.rst has all of it.
 */
#ifndef MIGCTL_WIRE_H
#define MIGCTL_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_VERSION		2
#define WIRE_PAGE_SIZE		4096u
/* The longest payload; a run of pages is cut into several frames. */
#define WIRE_MAX_PAYLOAD	(1u << 20)
/* No frame of memory crosses a multiple of this; see stream/link.h. */
#define WIRE_CHUNK		(256u << 10)
/* Data channels. */
#define WIRE_MAX_CHANNELS	16u
/* Urgent channels. */
#define WIRE_MAX_URGENT		8u
/* The migration's id. */
#define WIRE_ID_SIZE		16u
/* What a data channel says first: the id, and what ties it to the control channel. */
#define WIRE_TIE_SIZE		32u
#define WIRE_JOIN_SIZE		(WIRE_ID_SIZE + WIRE_TIE_SIZE)

enum wire_type {
	WIRE_HELLO = 1,		/* C> JSON: version, id, and the VM's description */
	WIRE_ACCEPT,		/* C< JSON: for each block whether it is empty */
	WIRE_REFUSE,		/* C< JSON: reason */
	WIRE_JOIN,		/* DU> the id and the tie: this is channel number @block */
	WIRE_JOINED,		/* C< all data and urgent channels are there */
	WIRE_PAGES,		/* DU> pages of @block from @offset on */
	WIRE_PAGES_LZ4,		/* D> the same, @count bytes of memory, compressed */
	WIRE_PAGES_ZSTD,	/* D> */
	WIRE_ZERO,		/* DU> @count bytes of @block from @offset on are 0 */
	WIRE_BARRIER,		/* D> all before it is to be written; @offset: number */
	WIRE_BARRIER_DONE,	/* C< it is, of all data channels */
	WIRE_VMM_START,		/* C> the VMM's own stream begins */
	WIRE_VMM_DATA,		/* C<> a part of the VMM's own stream */
	WIRE_VMM_END,		/* C<> it has ended */
	WIRE_LOADED,		/* C< the destination VMM has loaded it */
	WIRE_HASH,		/* C> send your hashes of @count bytes of @block */
	WIRE_HASHES,		/* C< 64-bit page hashes of @block from @offset on */
	WIRE_GO,		/* C> the guest is yours: run it if @count is not 0 */
	WIRE_RUNNING,		/* C< it runs */
	WIRE_CANCEL,		/* C> the migration is off, reason in JSON */
	WIRE_FAILED,		/* C< JSON: reason */
	WIRE_DONE,		/* C> verified, close */
	WIRE_ASK,		/* C> the id; instead of HELLO: does the guest run? */
	WIRE_NEVER,		/* C< it never ran, and can't any more; reason in JSON */
	WIRE_MISSING,		/* C> bitmap: pages of @block from @offset on that are to come */
	WIRE_POSTCOPY,		/* C> that was all that is missing: ask for it */
	WIRE_READY,		/* C< whoever touches what is missing waits for it */
	WIRE_REQUEST,		/* U< send @count bytes of @block from @offset on */
	WIRE_RECOVER,		/* C> JSON: the id; instead of HELLO, the connection was lost */
	WIRE_RECEIVED,		/* C< bitmap: pages of @block from @offset on that are there */
};

/**
 * struct wire_frame - a frame's header
 * @type: enum wire_type
 * @length: bytes of payload that follow
 * @block: index in the description's list of memory blocks
 * @offset: bytes
 * @count: bytes, where the payload does not tell; see WIRE_GO
 * @checksum: of the rest of the header and the payload, see wire_checksum()
 */
struct wire_frame {
	uint32_t type;
	uint32_t length;
	uint32_t block;
	uint64_t offset;
	uint64_t count;
	uint64_t checksum;
};

#define WIRE_HEADER_SIZE	40u

/*
 * Pure. Decoding and checking return 0 or -EPROTO: no magic, another version,
 * unknown type, a length that the type can't have.
 */
/* Can the @n bytes that came so far become a header? */
bool wire_begins(const uint8_t *bytes, size_t n);
/* The version that a header is of, 0 if it is none. */
unsigned int wire_version(const uint8_t header[WIRE_HEADER_SIZE]);
/* @payload has @frame->length bytes; @frame->checksum does not count. */
uint64_t wire_checksum(const struct wire_frame *frame, const void *payload);
/* "PAGES", for messages. */
const char *wire_type_name(uint32_t type);
void wire_encode(uint8_t header[WIRE_HEADER_SIZE], const struct wire_frame *frame);
int wire_decode(const uint8_t header[WIRE_HEADER_SIZE], struct wire_frame *frame);
int wire_check(const struct wire_frame *frame);

#endif /* MIGCTL_WIRE_H */
