// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/doubt.h"
#include "cmd/limits.h"
#include "cmd/live.h"
#include "cmd/migrate.h"
#include "cmd/session.h"
#include "common/fault.h"
#include "stream/door.h"
#include "vmm/memfile.h"

const char migrate_usage[] =
	"migctl migrate [OPTIONS] --qmp|--vmm SOCKET --to ADDRESS\n"
	"\n"
	"Move a running guest to a migctl receive. The guest runs on while its\n"
	"memory is moved, and stops only for the rest. Ctrl-C or migctl cancel call it\n"
	"off: the guest runs on here, as it was.\n"
	"\n"
	"  --qmp SOCKET         the source QEMU's QMP socket\n"
	"  --vmm SOCKET         that of a VMM which hands over its memory itself\n"
	"  --to ADDRESS         unix:PATH or HOST:PORT, where migctl receive listens\n"
	"  --channels N         connections that memory goes over, 1 to 16 (2)\n"
	"  --postcopy           what is still missing after all was sent once, and does not\n"
	"                       fit the downtime, goes there while the guest runs there\n"
	"                       (--vmm): no way back from then on\n"
	"  --postcopy-channels N\n"
	"                       connections for what the guest waits for, 1 to 8 (2)\n"
	"  --compress HOW       lz4, zstd or none (default); what it does not make\n"
	"                       smaller goes as it is\n"
	"  --compress-level N   of zstd, 1 to 19 (1)\n"
	SECURITY_USAGE
	"  --downtime T         the guest may be stopped for so long (300ms)\n"
	"  --max-downtime T     raise that as far as needed, up to this\n"
	"  --fixed-cost T       of that, keep so much for the stop, the devices and the\n"
	"                       resume (0ms); the rest is for the last copy\n"
	"  --bandwidth RATE     decide by this many bytes a second (100M), not by what\n"
	"                       is measured\n"
	"  --max-bandwidth RATE send no more than that while the guest runs\n"
	"  --throttle[=PERCENT] against a stall, take away CPU time from the guest, step by\n"
	"                       step, up to so much (80)\n"
	"  --stall-window T     no progress for so long is a stall (40s)\n"
	"  --timeout T          after this time do what --on-timeout says\n"
	"  --on-timeout WHAT    cancel (default; the guest runs on here) or stop: move the\n"
	"                       rest with the guest stopped, however long that takes\n"
	"  --verify WHEN        compare all pages: after (default; while the guest runs\n"
	"                       at the destination), before (the handover, paid in\n"
	"                       downtime) or off\n"
	DOUBT_USAGE
	"  --disks-shared       the destination has the guest's disks by shared storage:\n"
	"                       they are not moved\n"
	"  -j, --json           one JSON object a line, in bytes and nanoseconds";

enum {
	OPTION_QMP = 256, OPTION_VMM, OPTION_TO, OPTION_BANDWIDTH, OPTION_MAX_BANDWIDTH,
	OPTION_VERIFY, OPTION_CHANNELS, OPTION_COMPRESS, OPTION_COMPRESS_LEVEL,
	OPTION_DISKS_SHARED, OPTION_THROTTLE, OPTION_ON_TIMEOUT, OPTION_DOUBT_TIMEOUT,
	OPTION_POSTCOPY, OPTION_POSTCOPY_CHANNELS,
};

#define ACCEPT_TIMEOUT		(30 * NS_PER_S)
#define DEFAULT_CHANNELS	2
#define DEFAULT_URGENT		2

static int option_verify(const char *value, enum verify *verify,
			 struct error *err)
{
	static const char * const names[] = {
		[VERIFY_AFTER] = "after",
		[VERIFY_BEFORE] = "before",
		[VERIFY_OFF] = "off",
	};
	size_t word;

	if (option_word("--verify", value, names, ARRAY_SIZE(names),
			"it is after, before or off", &word, err))
		return -1;
	*verify = (enum verify)word;
	return 0;
}

static int option_compress(const char *value, enum codec *codec,
			   struct error *err)
{
	size_t word;

	if (option_word("--compress", value, codec_names, CODECS,
			"it is none, lz4 or zstd", &word, err))
		return -1;
	*codec = (enum codec)word;
	return 0;
}

/* 1 to @max. */
static int option_count(const char *option, const char *value, unsigned int max,
			unsigned int *count, struct error *err)
{
	uint64_t n;

	if (option_number(option, value, 1, max, &n, err))
		return -1;
	*count = (unsigned int)n;
	return 0;
}

static int option_on_timeout(const char *value, enum policy_on_timeout *what,
			     struct error *err)
{
	static const char * const names[] = { "cancel", "stop" };
	size_t word;

	if (option_word("--on-timeout", value, names, ARRAY_SIZE(names),
			"it is cancel or stop", &word, err))
		return -1;
	*what = word ? POLICY_ON_TIMEOUT_STOP : POLICY_ON_TIMEOUT_CANCEL;
	return 0;
}

static int option_throttle(const char *value, struct policy_limits *limits,
			   struct error *err)
{
	limits->allowed |= POLICY_ALLOW_THROTTLE;
	if (!value)
		return 0;
	return option_count("--throttle", value, THROTTLE_MAX, &limits->throttle_max,
			    err);
}

/* 1 if it is none of these. */
static int decision_take(struct policy_limits *limits, int option, struct error *err)
{
	switch (option) {
	case OPTION_BANDWIDTH:
		return option_rate("--bandwidth", optarg, &limits->bandwidth, err);
	case OPTION_THROTTLE:
		return option_throttle(optarg, limits, err);
	case OPTION_ON_TIMEOUT:
		return option_on_timeout(optarg, &limits->on_timeout, err);
	default:
		return limits_option(limits, option, optarg, err);
	}
}

static int options_take(struct migrate_options *options, int option,
			struct error *err)
{
	int ret = decision_take(&options->limits, option, err);

	if (ret <= 0)
		return ret;
	switch (option) {
	case OPTION_QMP:
		return choice_take(&options->guest, &vmm_driver_qemu, optarg, err);
	case OPTION_VMM:
		return choice_take(&options->guest, &vmm_driver_handover, optarg, err);
	case OPTION_TO:
		options->to = optarg;
		return 0;
	case OPTION_MAX_BANDWIDTH:
		return option_rate("--max-bandwidth", optarg,
				   &options->sending.max_bandwidth, err);
	case OPTION_CHANNELS:
		return option_count("--channels", optarg, WIRE_MAX_CHANNELS,
				    &options->channels, err);
	case OPTION_POSTCOPY:
		options->postcopy = true;
		return 0;
	case OPTION_POSTCOPY_CHANNELS:
		return option_count("--postcopy-channels", optarg, WIRE_MAX_URGENT,
				    &options->urgent, err);
	case OPTION_COMPRESS:
		return option_compress(optarg, &options->sending.codec, err);
	case OPTION_COMPRESS_LEVEL:
		return option_count("--compress-level", optarg, CODEC_MAX_LEVEL,
				    &options->sending.level, err);
	case OPTION_VERIFY:
		return option_verify(optarg, &options->verify, err);
	case OPTION_DISKS_SHARED:
		options->disks_shared = true;
		return 0;
	case OPTION_DOUBT_TIMEOUT:
		return option_time("--doubt-timeout", optarg,
				   &options->doubt_timeout, err);
	default:
		return security_option(&options->security, option, optarg, err);
	}
}

static int options_postcopy(struct migrate_options *options, struct error *err)
{
	if (!options->postcopy)
		return options->urgent ? error_set(err, EXIT_USAGE,
						   "migrate: --postcopy-channels is of --postcopy") : 0;
	if (!options->guest.driver->migration->userfaultfd) {
		error_set(err, EXIT_USAGE, "migrate: --postcopy is for VMMs that hand over their userfaultfd, and QEMU does not");
		return error_advise(err, "QEMU does post-copy itself: migctl supervise --postcopy");
	}
	if (options->verify == VERIFY_BEFORE)
		return error_set(err, EXIT_USAGE,
				 "migrate: --verify=before is of memory that is all there before the handover, with --postcopy it is not");
	options->limits.postcopy = true;
	if (!options->urgent)
		options->urgent = DEFAULT_URGENT;
	return 0;
}

int migrate_options_parse(struct migrate_options *options, int argc, char **argv,
			  struct error *err)
{
	static const struct option longs[] = {
		{ "qmp", required_argument, NULL, OPTION_QMP },
		{ "vmm", required_argument, NULL, OPTION_VMM },
		{ "to", required_argument, NULL, OPTION_TO },
		{ "channels", required_argument, NULL, OPTION_CHANNELS },
		{ "postcopy", no_argument, NULL, OPTION_POSTCOPY },
		{ "postcopy-channels", required_argument, NULL, OPTION_POSTCOPY_CHANNELS },
		{ "compress", required_argument, NULL, OPTION_COMPRESS },
		{ "compress-level", required_argument, NULL, OPTION_COMPRESS_LEVEL },
		SECURITY_OPTIONS,
		LIMITS_OPTIONS,
		{ "bandwidth", required_argument, NULL, OPTION_BANDWIDTH },
		{ "max-bandwidth", required_argument, NULL, OPTION_MAX_BANDWIDTH },
		{ "throttle", optional_argument, NULL, OPTION_THROTTLE },
		{ "on-timeout", required_argument, NULL, OPTION_ON_TIMEOUT },
		{ "verify", required_argument, NULL, OPTION_VERIFY },
		{ "disks-shared", no_argument, NULL, OPTION_DISKS_SHARED },
		{ "doubt-timeout", required_argument, NULL, OPTION_DOUBT_TIMEOUT },
		COMMON_OPTIONS
	};
	int option;

	*options = (struct migrate_options) {
		.limits = policy_default_limits,
		.channels = DEFAULT_CHANNELS,
		.doubt_timeout = DOUBT_TIMEOUT,
	};
	while ((option = option_next(argc, argv, ":j", longs, err))) {
		if (option < 0 || options_take(options, option, err))
			return -1;
	}
	if (option_end(argc, argv, err))
		return -1;
	if (!options->guest.socket || !options->to) {
		error_set(err, EXIT_USAGE, "migrate: %s",
			  options->guest.socket ? "where to?" : "which guest?");
		return error_advise(err, "give --qmp SOCKET or --vmm SOCKET, and --to ADDRESS; see migctl migrate --help");
	}
	if (options->sending.level && options->sending.codec != CODEC_ZSTD)
		return error_set(err, EXIT_USAGE,
				 "migrate: --compress-level is of --compress zstd");
	if (!options->sending.level)
		options->sending.level = 1;
	if (limits_check("migrate", &options->limits, err))
		return -1;
	return options_postcopy(options, err);
}

/* The source's half: find the guest, refuse what can't be moved. */
static int open_source(struct migration *m, struct error *err)
{
	size_t i;

	if (choice_open(&m->options->guest, &m->vmm, err) ||
	    lock_take(&m->lock, m->vmm->pid, err) ||
	    m->ops->check_source(m->vmm, err) ||
	    (!m->options->disks_shared && m->ops->check_disks(m->vmm, err)) ||
	    m->ops->describe(m->vmm, &m->description, err) ||
	    m->vmm->ops->memory(m->vmm, &m->memory, &m->n_memory, err))
		return -1;
	record_remove_older(m->vmm, m->options->guest.driver);
	if (!m->n_memory)
		return error_set(err, EXIT_UNTRACKABLE,
				 "%s: the VMM has no memory back ends",
				 m->options->guest.socket);
	for (i = 0; i < m->n_memory; i++) {
		if (!m->memory[i].reason[0])
			continue;
		error_set(err, EXIT_UNTRACKABLE, "memory %s can't be moved: %s",
			  m->memory[i].id, m->memory[i].reason);
		return error_advise(err, "%s", m->memory[i].advice);
	}
	return 0;
}

static int open_tracker(struct migration *m, struct error *err)
{
	size_t i;

	if (tracker_open(&m->tracker, err))
		return -1;
	for (i = 0; i < m->n_memory; i++) {
		if (tracker_add(&m->tracker, m->vmm->pid, &m->memory[i], err))
			return -1;
	}
	if (record_create(&m->record, m->tracker.id, &m->options->guest,
			  m->vmm->pid, m->options->to, err))
		return -1;
	return control_open(&m->control, m->tracker.id, err);
}

static json_t *hello_block(const struct vmm_memory *mem)
{
	char file[MEMFILE_IDENTITY_SIZE];

	memfile_identity(mem->fd, file);
	return json_pack("{s:s, s:I, s:s, s:I}", "id", mem->id, "size", (json_int_t)mem->size,
			 "file", file, "offset", (json_int_t)mem->offset);
}

/* What the destination has to agree to. */
static char *hello(const struct migration *m)
{
	json_t *blocks = json_array(), *text;
	char id[2 * WIRE_ID_SIZE + 1], *dump;
	size_t i;

	link_format_id(m->id, id);
	for (i = 0; i < m->n_memory; i++)
		json_array_append_new(blocks, hello_block(&m->memory[i]));
	text = json_pack("{s:i, s:s, s:i, s:s, s:O, s:o, s:b, s:i}", "version", WIRE_VERSION,
			 "id", id, "channels", (int)m->options->channels,
			 "compress", codec_names[m->options->sending.codec],
			 "vm", m->description, "blocks", blocks,
			 "postcopy", m->options->postcopy,
			 "urgent", (int)m->options->urgent);
	dump = text ? json_dumps(text, JSON_COMPACT) : NULL;
	json_decref(text);
	return dump;
}

static int open_destination(struct migration *m, struct error *err)
{
	char *text;
	int ret;

	if (link_draw_id(m->id, err) ||
	    channel_connect(&m->channel, m->options->to, &m->secured.security, err) ||
	    peer_start(&m->peer, &m->channel, &m->relay, err))
		return -1;
	text = hello(m);
	if (!text)
		return error_set(err, EXIT_FAILED, "out of memory");
	if (strlen(text) > DOOR_MAX_FRAME)
		ret = error_set(err, EXIT_VMM, "the description of this VM is too long: %zu bytes",
				strlen(text));
	else
		ret = channel_send_text(&m->channel, WIRE_HELLO, text, err);
	free(text);
	if (ret)
		return ret;
	return peer_wait(&m->peer, PEER_ACCEPTED, ACCEPT_TIMEOUT, m->signals, err);
}

/* Does the destination understand what we mean to send? */
static int check_codec(const struct migration *m, struct error *err)
{
	const char *name = codec_names[m->options->sending.codec];
	json_t *codecs = json_object_get(m->peer.accept, "compress"), *codec;
	size_t i;

	if (m->options->sending.codec == CODEC_NONE)
		return 0;
	json_array_foreach(codecs, i, codec) {
		if (!strcmp(json_string_value(codec) ? : "", name))
			return 0;
	}
	return error_set(err, EXIT_PEER, "the destination can't decompress %s",
			 name);
}

/* One that knows nothing of it has accepted a migration without. */
static int check_postcopy(const struct migration *m, struct error *err)
{
	if (!m->options->postcopy || json_is_true(json_object_get(m->peer.accept, "postcopy")))
		return 0;
	error_set(err, EXIT_PEER, "the destination does not know post-copy");
	return error_advise(err, "use the same migctl on both hosts");
}

int migrate_open_link(struct migration *m, struct error *err)
{
	if (check_codec(m, err) ||
	    link_open(&m->link, &m->channel, m->options->channels, m->id, NULL, err))
		return -1;
	m->link.urgent = m->options->urgent;
	m->peer.link = &m->link;
	if (link_connect(&m->link, m->options->to, &m->secured.security, err))
		return -1;
	return peer_wait(&m->peer, PEER_JOINED, ACCEPT_TIMEOUT, m->signals, err);
}

int migrate_open_sender(struct migration *m, struct error *err)
{
	json_t *blocks = json_object_get(m->peer.accept, "blocks");
	size_t i;

	free(m->blocks);
	m->blocks = calloc(m->n_memory, sizeof(*m->blocks));
	if (!m->blocks)
		return error_set(err, EXIT_FAILED, "out of memory");
	for (i = 0; i < m->n_memory; i++) {
		json_t *block = json_array_get(blocks, i);

		m->blocks[i].fd = m->memory[i].fd;
		m->blocks[i].offset = m->memory[i].offset;
		m->blocks[i].size = m->memory[i].size;
		m->blocks[i].empty = json_is_true(json_object_get(block, "empty"));
	}
	return sender_open(&m->sender, &m->link, m->blocks, m->n_memory,
			   &m->options->sending, err);
}

static int migrate(struct migration *m, struct error *err)
{
	m->times.started = clock_ns(CLOCK_MONOTONIC);
	m->signals = signals_open_for_guest(err);
	if (m->signals < 0 ||
	    security_open(&m->secured, &m->options->security, m->options->to, err) ||
	    open_source(m, err) || open_tracker(m, err))
		return -1;
	run_note(&m->run, "session_id", json_integer((json_int_t)m->tracker.id));
	policy_init(&m->policy, &m->options->limits, m->times.started);
	if (migrate_set_phase(m, MIGTRACK_PHASE_SETUP, err) ||
	    migrate_throttle_open(m, err) || open_destination(m, err) ||
	    fault("connected", err) || check_postcopy(m, err) ||
	    migrate_open_link(m, err) || fault("joined", err) || migrate_open_sender(m, err))
		return -1;
	migrate_out_start(m);
	if (migrate_precopy(m, err))
		return -1;
	return migrate_switchover(m, err);
}

/* The guest runs at the destination; what is left disturbs it no more. */
static int finish(struct migration *m, struct error *err)
{
	struct wire_frame frame = { .type = WIRE_DONE };

	if (m->options->verify == VERIFY_AFTER) {
		migrate_tell_phase(m, MIGTRACK_PHASE_VERIFY);
		if (fault("verify", err) || migrate_verify(m, err))
			return -1;
	}
	migrate_tell_phase(m, MIGTRACK_PHASE_COMPLETED);
	record_remove(&m->record);
	return channel_send(&m->channel, &frame, NULL, err);
}

/* What fails after the handover is no failure of the move: nothing is to be repeated. */
static int moved_but(const struct migration *m, struct error *err)
{
	char why[sizeof(err->message)];
	bool compared = m->verified || m->options->verify == VERIFY_OFF;

	if (err->code == EXIT_DIFFERS)
		return -1;
	memcpy(why, err->message, sizeof(why));
	error_set(err, EXIT_MOVED, "the guest runs at the destination, but %s (%.800s)",
		  compared ? "that could not be told that all is well" :
		  "its memory could not be compared", why);
	return error_advise(err,
			    "the VMM here is paused and can be ended: never let it run%s",
			    compared ? "" : "; that a page is wrong was not found");
}

static int complete(struct migration *m, struct error *err)
{
	if (!finish(m, err))
		return 0;
	if (err->code == EXIT_PEER)
		peer_explain(&m->peer, err);
	return moved_but(m, err);
}

static void conclude(struct migration *m, const struct error *err)
{
	if (m->phase == MIGTRACK_PHASE_NONE || m->phase == MIGTRACK_PHASE_IN_DOUBT ||
	    m->phase == MIGTRACK_PHASE_COMPLETED)
		;
	/* It runs at the destination, well or not. */
	else if (err->code == EXIT_MOVED || (err->code == EXIT_DIFFERS && m->handed_over))
		migrate_tell_phase(m, MIGTRACK_PHASE_COMPLETED);
	else
		migrate_tell_phase(m, err->code == EXIT_CANCELLED ?
				   MIGTRACK_PHASE_CANCELLED : MIGTRACK_PHASE_FAILED);
	/* One that is in doubt leaves its record, to whoever resolves it. */
	if (m->phase == MIGTRACK_PHASE_IN_DOUBT)
		record_leave(&m->record);
	else
		record_remove(&m->record);
}

static void migration_close(struct migration *m)
{
	control_close(&m->control);
	lock_drop(&m->lock);
	peer_end(&m->peer);
	relay_close(&m->relay);
	sender_close(&m->sender);
	link_close(&m->link);
	channel_close(&m->channel);
	security_close(&m->secured);
	tracker_close(&m->tracker);
	vmm_memory_free(m->memory, m->n_memory);
	json_decref(m->description);
	json_decref(m->saved);
	if (m->vmm)
		m->vmm->ops->close(m->vmm);
	throttle_free(&m->throttle);
	free(m->blocks);
}

int cmd_migrate(struct output *out, int argc, char **argv, struct error *err)
{
	struct migrate_options options;
	struct migration m = {
		.out = out,
		.options = &options,
		.channel.fd = -1,
		.lock = LOCK_NONE,
		.control = CONTROL_NONE,
		.tracker.fd = -1,
		.relay.fd = -1,
		.relay.vmm_fd = -1,
		.throttle = THROTTLE_NONE,
		.signals = -1,
		.lines = live_open(out),
	};
	int ret;

	if (migrate_options_parse(&options, argc, argv, err))
		return -1;
	m.ops = options.guest.driver->migration;
	run_begin(&m.run, NULL, "migrate", options.guest.socket, options.to);
	out_never_wait(out);
	ret = migrate(&m, err);
	if (!ret)
		ret = complete(&m, err);
	migrate_undo(&m, ret ? err : NULL);
	/* One that has never run it has said why, and we what is to be done. */
	if (ret && err->code == EXIT_PEER && !m.peer.never)
		peer_explain(&m.peer, err);
	conclude(&m, err);
	if (m.sync.syncs)
		migrate_out_summary(&m, ret ? err : NULL);
	run_end(&m.run, migrate_result(&m, ret ? err : NULL), ret ? err : NULL);
	migration_close(&m);
	signals_end(out, m.signals);
	return ret;
}
