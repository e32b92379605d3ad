// SPDX-License-Identifier: GPL-2.0-or-later
/* What the source sends, and what is done with it. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/reason.h"
#include "cmd/receive.h"
#include "common/fault.h"
#include "vmm/memfile.h"

#define LOAD_TIMEOUT	(60 * NS_PER_S)
#define LOAD_WAIT_US	1000
#define LOAD_WAIT_NS	(20 * NS_PER_MS)

/* How long what the source said before it went can take to arrive. */
#define EXPLAIN_MS	1000
#define EXPLAIN_STEP_MS	10

static struct vmm_memory *find_memory(struct reception *r, const char *id)
{
	size_t i;

	for (i = 0; i < r->n_memory; i++) {
		if (!strcmp(r->memory[i].id, id))
			return &r->memory[i];
	}
	return NULL;
}

/*
 * On the same host, both VMMs may have been given the same file: what we write there the
 * running guest has lost.
 */
static int is_not_the_sources(const struct reception *r, const json_t *wanted,
			      struct error *err)
{
	const char *theirs = json_string_value(json_object_get(wanted, "file"));
	json_int_t offset = json_integer_value(json_object_get(wanted, "offset"));
	json_int_t size = json_integer_value(json_object_get(wanted, "size"));
	char ours[MEMFILE_IDENTITY_SIZE];
	size_t i;

	for (i = 0; theirs && *theirs && i < r->n_memory; i++) {
		const struct vmm_memory *mem = &r->memory[i];

		if (mem->fd < 0)
			continue;
		memfile_identity(mem->fd, ours);
		if (strcmp(ours, theirs) || mem->offset >= (uint64_t)offset + (uint64_t)size ||
		    (uint64_t)offset >= mem->offset + mem->size)
			continue;
		error_set(err, EXIT_VMM, "memory %s is in the same file as the source's: %s",
			  mem->id, mem->path);
		return error_advise(err, "start the destination with another mem-path");
	}
	return 0;
}

/* The source's blocks, in its order, are our back ends of the same name. */
static int take_block(struct reception *r, struct receiver_block *block,
		      const json_t *wanted, struct error *err)
{
	const struct receiver_block *other;
	struct vmm_memory *mem;
	json_int_t size = 0;
	const char *id = "";

	if (json_unpack((json_t *)wanted, "{s:s, s:I}", "id", &id, "size", &size))
		return error_set(err, EXIT_PEER, "the source's list of memory blocks can't be understood");
	mem = find_memory(r, id);
	if (!mem)
		return error_set(err, EXIT_VMM, "there is no memory %s here", id);
	for (other = r->blocks; other < block; other++)
		if (other->name == mem->id)
			return error_set(err, EXIT_PEER, "the source has memory %s twice", id);
	if (mem->fd < 0) {
		error_set(err, EXIT_UNTRACKABLE, "memory %s can't be filled: %s",
			  id, mem->reason);
		return error_advise(err, "%s", mem->advice);
	}
	if ((uint64_t)size != mem->size)
		return error_set(err, EXIT_VMM,
				 "memory %s has %llu bytes here, and %lld at the source",
				 id, (unsigned long long)mem->size, (long long)size);
	if (is_not_the_sources(r, wanted, err))
		return -1;
	*block = (struct receiver_block) {
		.name = mem->id,
		.fd = mem->fd,
		.offset = mem->offset,
		.size = mem->size,
	};
	return 0;
}

static int take_blocks(struct reception *r, const json_t *wanted,
		       struct error *err)
{
	size_t i, n = json_array_size(wanted);

	if (!n || n != r->n_memory)
		return error_set(err, EXIT_VMM,
				 "the source has %zu memory blocks, and this VM %zu",
				 n, r->n_memory);
	r->blocks = calloc(n, sizeof(*r->blocks));
	if (!r->blocks)
		return error_set(err, EXIT_FAILED, "out of memory");
	for (i = 0; i < n; i++) {
		if (take_block(r, &r->blocks[i], json_array_get(wanted, i), err))
			return -1;
	}
	return receiver_open(&r->receiver, r->blocks, n, err);
}

static int serve_data(void *data, unsigned int index, struct channel *channel,
		      struct error *err)
{
	struct reception *r = data;

	return intake_serve(&r->intake, index, channel, err);
}

/*
 * A data channel has failed. If the source went away it may have said why on the
 * control channel, which is worth more.
 */
static void data_failed(void *data, const struct error *err)
{
	struct reception *r = data;
	int waited;

	for (waited = 0; err->code == EXIT_PEER && !r->fetch.uffd && waited < EXPLAIN_MS;
	     waited += EXPLAIN_STEP_MS) {
		if (channel_stopped(&r->channel))
			return;
		usleep(EXPLAIN_STEP_MS * 1000);
	}
	receive_break_off(r, err);
}

static int find_codec(const char *name, enum codec *codec)
{
	int i;

	for (i = 0; i < CODECS; i++) {
		if (!strcmp(name, codec_names[i])) {
			*codec = (enum codec)i;
			return 0;
		}
	}
	return -1;
}

static int take_channels(struct reception *r, const json_t *hello, struct error *err)
{
	const char *text = NULL, *compress = NULL;
	int n = 0, urgent = 0, postcopy = 0;

	if (json_unpack((json_t *)hello, "{s:s, s:i, s:s, s?b, s?i}", "id", &text,
			"channels", &n, "compress", &compress, "postcopy", &postcopy,
			"urgent", &urgent) ||
	    link_parse_id(text, r->id) || n < 1 || n > (int)WIRE_MAX_CHANNELS ||
	    urgent < 0 || urgent > (int)WIRE_MAX_URGENT || !postcopy != !urgent)
		return error_set(err, EXIT_PEER, "the source's channels can't be understood");
	if (find_codec(compress, &r->codec))
		return error_set(err, EXIT_PEER, "the source compresses with %s, which this side does not know",
				 compress);
	if (urgent && !r->ops->userfaultfd)
		return error_set(err, EXIT_VMM, "this VMM hands over no userfaultfd, as post-copy needs it");
	r->channels = (unsigned int)n;
	r->urgent = (unsigned int)urgent;
	return 0;
}

int receive_open_link(struct reception *r, struct error *err)
{
	const struct link_ops ops = {
		.serve = serve_data,
		.failed = data_failed,
		.data = r,
	};

	if (link_open(&r->link, &r->channel, r->channels, r->id, &ops, err))
		return -1;
	r->link.urgent = r->urgent;
	intake_open(&r->intake, &r->link, &r->receiver, r->codec);
	return 0;
}

static int compare_vm(struct reception *r, const json_t *hello,
		      struct error *err)
{
	json_t *here;
	int ret;

	if (r->ops->describe(r->vmm, &here, err))
		return -1;
	ret = vmm_compare(json_object_get(hello, "vm"), here, err);
	json_decref(here);
	return ret;
}

int receive_accept(struct reception *r, struct error *err)
{
	json_t *blocks = json_array(), *codecs = json_array(), *reply;
	char *text;
	size_t i;
	int ret;

	for (i = 0; i < r->receiver.nblocks; i++)
		json_array_append_new(blocks, json_pack("{s:b}", "empty",
			receiver_is_empty(&r->receiver.blocks[i]) > 0));
	for (i = 0; i < CODECS; i++)
		json_array_append_new(codecs, json_string(codec_names[i]));
	reply = json_pack("{s:i, s:o, s:o, s:b, s:b}", "version", WIRE_VERSION,
			  "blocks", blocks, "compress", codecs, "postcopy", !!r->urgent,
			  "running", r->resumed);
	text = reply ? json_dumps(reply, JSON_COMPACT) : NULL;
	json_decref(reply);
	if (!text)
		return error_set(err, EXIT_FAILED, "out of memory");
	ret = channel_send_text(&r->channel, WIRE_ACCEPT, text, err);
	free(text);
	return ret;
}

/*
 * A source comes late, perhaps. Of what was found at the start, see what can be another
 * thing by now; of the processes that have the memory only those that need no privilege.
 */
static int check_again(struct reception *r, struct error *err)
{
	if (!r->ops->check_waiting(r->vmm, err) &&
	    !vmm_memory_alone(r->vmm, r->memory, r->n_memory, err))
		return 0;
	r->spared = true;
	return -1;
}

/**
 * receive_agree() - take the source's description, and compare
 * @r: connected; its payload is the HELLO
 * @err: why it is refused; the caller tells the source
 *
 * Return: 0 or -1.
 */
int receive_agree(struct reception *r, struct error *err)
{
	json_t *hello = json_loads(r->payload, 0, NULL);
	int ret;

	ret = check_again(r, err);
	if (!ret)
		ret = compare_vm(r, hello, err);
	if (!ret)
		ret = take_blocks(r, json_object_get(hello, "blocks"), err);
	if (!ret)
		ret = take_channels(r, hello, err);
	if (!ret)
		ret = receive_open_link(r, err);
	if (!ret)
		ret = receive_accept(r, err);
	if (!ret)
		ret = link_listen(&r->link, &r->door, err);
	if (!ret)
		ret = fault("accepted", err);
	json_decref(hello);
	return ret;
}

static int reply(struct reception *r, enum wire_type type, struct error *err)
{
	struct wire_frame frame = { .type = type };

	return channel_send(&r->channel, &frame, NULL, err);
}

static int vmm_start(struct reception *r, struct error *err)
{
	if (r->saved)
		return error_set(err, EXIT_PEER, "the source started its VMM's stream twice");
	if (fault("vmm-start", err) || r->ops->save(r->vmm, &r->saved, err) ||
	    r->ops->prepare_destination(r->vmm, err) ||
	    relay_open(&r->relay, &r->channel, err) ||
	    receive_postcopy_prepare(r, err) ||
	    r->ops->incoming(r->vmm, r->relay.vmm_fd, err))
		return -1;
	return relay_start(&r->relay, err);
}

/*
 * The VMM has what it needs. Its settings go back before the guest may run, while the
 * source writes down that it is ours: whatever becomes of this process then, its own
 * next migration does not leave out its memory.
 */
static int loaded(struct reception *r, struct error *err)
{
	r->loaded = true;
	if (fault("loading", err) || reply(r, WIRE_LOADED, err) ||
	    r->ops->restore(r->vmm, r->saved, err))
		return -1;
	return fault("loaded-there", err);
}

/*
 * All of the stream was delivered: wait until the VMM has loaded it. It closes the
 * stream then; to ask all the time meanwhile would keep it from its work.
 */
static int vmm_end(struct reception *r, struct error *err)
{
	uint64_t end = clock_ns(CLOCK_MONOTONIC) + LOAD_TIMEOUT;
	struct vmm_status status;

	if (relay_deliver(&r->relay, NULL, 0, err))
		return -1;
	for (;;) {
		if (r->ops->status(r->vmm, &status, err))
			return -1;
		if (status.phase == VMM_COMPLETED)
			return loaded(r, err);
		if (status.phase == VMM_FAILED)
			return error_set(err, EXIT_VMM,
					 "the VMM could not load the state: %s",
					 status.reason[0] ? status.reason :
					 "see its log");
		if (clock_ns(CLOCK_MONOTONIC) > end)
			return error_set(err, EXIT_VMM,
					 "the VMM did not load the state in time");
		if (relay_has_ended(&r->relay, LOAD_WAIT_NS))
			usleep(LOAD_WAIT_US);
	}
}

/* The guest is ours now. One that was paused stays so. */
static int go(struct reception *r, bool run, struct error *err)
{
	if ((!r->fetch.uffd && (intake_close(&r->intake, err) ||
				receive_postcopy_forgo(r, err))) || fault("go-taken", err))
		return -1;
	/* One that has ended has not run the guest, and never will: nothing is in doubt. */
	if (receive_vmm_ended(r))
		return receive_gone(r, err);
	r->told = run;
	if (run && r->ops->run(r->vmm, err))
		return -1;
	r->resumed = true;
	__atomic_store_n(&r->bound, r->fetch.uffd, __ATOMIC_RELAXED);
	if (fault("running", err))
		return -1;
	return reply(r, WIRE_RUNNING, err);
}

static int send_hashes(struct reception *r, const struct wire_frame *asked,
		       struct error *err)
{
	struct wire_frame frame = {
		.type = WIRE_HASHES,
		.block = asked->block,
		.offset = asked->offset,
	};
	const struct receiver_block *block;
	uint64_t pages = asked->count / WIRE_PAGE_SIZE;

	if (intake_rests(&r->intake, err))
		return -1;
	if (asked->block >= r->receiver.nblocks)
		return error_set(err, EXIT_PEER, "the source asks for block %u", asked->block);
	block = &r->receiver.blocks[asked->block];
	if (asked->offset > block->size || asked->count > block->size - asked->offset ||
	    !pages || pages > WIRE_MAX_PAYLOAD / sizeof(uint64_t))
		return error_set(err, EXIT_PEER, "the source asks for hashes outside of block %u",
				 asked->block);
	frame.length = (uint32_t)(pages * sizeof(uint64_t));
	return channel_send(&r->channel, &frame,
			    block->hashes + asked->offset / WIRE_PAGE_SIZE, err);
}

/* A guest is run once, and when there is one; see Documentation/stream.rst. */
static int check_order(const struct reception *r, const struct wire_frame *frame,
		       struct error *err)
{
	bool due = true;

	if (frame->type == WIRE_GO)
		due = r->loaded && !r->resumed;
	else if (frame->type == WIRE_DONE)
		due = r->resumed;
	else if (frame->type == WIRE_MISSING)
		due = r->urgent && r->saved && !r->loaded && !r->fetch.uffd;
	else if (frame->type == WIRE_POSTCOPY)
		due = r->fetch.receiver && (!r->fetch.uffd || r->recoveries);
	else if (frame->type == WIRE_VMM_DATA || frame->type == WIRE_VMM_END)
		due = r->saved && !r->loaded;
	return due ? 0 : error_set(err, EXIT_PEER, "the source sent %s when it was not due",
				   wire_type_name(frame->type));
}

static int take_frame(struct reception *r, const struct wire_frame *frame,
		      struct error *err)
{
	if (check_order(r, frame, err))
		return -1;
	/* Who goes on after the handover has heard of it. */
	r->known |= r->resumed || frame->type == WIRE_CANCEL;
	switch (frame->type) {
	case WIRE_VMM_START:
		return vmm_start(r, err);
	case WIRE_VMM_DATA:
		return relay_deliver(&r->relay, r->payload, frame->length, err);
	case WIRE_VMM_END:
		return vmm_end(r, err);
	case WIRE_GO:
		return go(r, frame->count, err);
	case WIRE_HASH:
		return send_hashes(r, frame, err);
	case WIRE_MISSING:
		return receive_missing(r, frame, err);
	case WIRE_POSTCOPY:
		return receive_postcopy(r, err);
	case WIRE_CANCEL:
		r->cancelled = true;
		return reason_take(r->payload, "the source called the migration off",
				   err);
	case WIRE_DONE:
		r->done = !receive_postcopy_end(r, err);
		return r->done ? 0 : -1;
	default:
		return error_set(err, EXIT_PEER,
				 "the source sent a frame of type %s on the control channel",
				 wire_type_name(frame->type));
	}
}

/**
 * receive_run() - take frames until the source says that all is well
 * @r: agreed
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int receive_run(struct reception *r, struct error *err)
{
	struct wire_frame frame;

	while (!r->done) {
		if (channel_receive(&r->channel, &frame, r->payload, err) ||
		    take_frame(r, &frame, err))
			return -1;
	}
	return 0;
}
