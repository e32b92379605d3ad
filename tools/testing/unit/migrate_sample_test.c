// SPDX-License-Identifier: GPL-2.0-or-later
/* What is measured while memory is moved, by the code of the iterations itself. */
#define migrate_set_phase(...)		sample_migrate_set_phase(__VA_ARGS__)
#define migrate_tell_phase(...)		sample_migrate_tell_phase(__VA_ARGS__)
#define migrate_check(...)		sample_migrate_check(__VA_ARGS__)
#define migrate_send(...)		sample_migrate_send(__VA_ARGS__)
#define migrate_sync(...)		sample_migrate_sync(__VA_ARGS__)
#define migrate_precopy(...)		sample_migrate_precopy(__VA_ARGS__)
#include "cmd/migrate_run.c"

#include "common/clock.h"
#include "common/units.h"
#include "stream_move.h"
#include "unit.h"

#define PAGES	4096

/* Much smaller on the wire. */
static void fill(int fd, uint64_t n)
{
	uint64_t page[PAGE / 8] = {}, i;

	for (i = 0; i < n; i++) {
		page[0] = i + 1;
		CHECK_EQ(pwrite(fd, page, PAGE, (off_t)(i * PAGE)), PAGE);
	}
}

/* All of a block, the first @data pages with data, to a destination that has some. */
static void send_all(struct move *move, struct migration *m, uint64_t data,
		     const struct sender_options *options)
{
	struct error err = {};
	int ret;

	move->codec = options->codec;
	move_block(move, 0, PAGES);
	fill(move->from[0].fd, data);
	CHECK_EQ(receiver_open(&move->receiver, move->to, 1, &err), 0);
	move_link(move);
	*m = (struct migration) { .left.told = true };
	CHECK_EQ(sender_open(&m->sender, &move->source, move->from, 1, options, &err), 0);
	CHECK_EQ(sender_first_pass(&m->sender, &err), 0);
	do {
		ret = sample_migrate_send(m, UINT64_MAX, &err);
	} while (ret > 0);
	CHECK_EQ(ret, 0);
	CHECK_EQ(sender_barrier(&m->sender, 1, &err), 0);
	move_passed(move, 1);
}

static unsigned int restored;

static int count_restore(struct vmm *vmm, json_t *saved, struct error *err)
{
	(void)vmm;
	(void)err;
	CHECK(json_is_object(saved));
	restored++;
	return 0;
}

/* What a switchover wants does not stay while the guest is moved on, live. */
TEST(migrate_a_switchover_that_is_not_due_is_not_prepared)
{
	const struct vmm_migration_ops ops = { .restore = count_restore };
	struct migration m = { .ops = &ops, .times.prepared = 5 };
	struct error err = {};

	restored = 0;
	m.saved = json_object();
	CHECK_EQ(unprepare(&m, &err), 0);
	CHECK_EQ(restored, 1);
	/* Then it has to be prepared again, and is no more restored till then. */
	CHECK_EQ(m.times.prepared, 0);
	CHECK(!m.saved);
	CHECK_EQ(unprepare(&m, &err), 0);
	CHECK_EQ(restored, 1);
}

static void end(struct move *move, struct migration *m)
{
	sender_close(&m->sender);
	move_close(move);
}

/* But for what is still on its way when the last call returns. */
TEST(migrate_rule_9_compressed_memory_counts_as_memory)
{
	const struct sender_options options = { .codec = CODEC_LZ4, .level = 1 };
	struct move move = {};
	struct migration m;

	send_all(&move, &m, PAGES, &options);
	CHECK(m.sample.bytes <= PAGES * PAGE);
	CHECK(m.sample.bytes >= PAGES * PAGE / 2);
	CHECK(m.sample.bytes > 4 * link_sent(&move.source));
	CHECK_EQ(m.sample.zeros, 0);
	CHECK(m.sample.time > 0);
	end(&move, &m);
}

/* The limit is of what goes over the wire, and not in force when the guest is stopped. */
TEST(migrate_rule_9_a_limit_is_on_the_wire)
{
	const struct sender_options options = {
		.codec = CODEC_LZ4, .level = 1, .max_bandwidth = 1 << 20,
	};
	struct move move = {};
	struct migration m;
	uint64_t begin = now_ns(), time;

	send_all(&move, &m, PAGES, &options);
	/* Until all has arrived: not what the sample has, a part may be on its way then. */
	time = now_ns() - begin;
	CHECK(m.sample.bytes * NS_PER_S / m.sample.time > 2 * options.max_bandwidth);
	CHECK(link_sent(&move.source) * NS_PER_S / time < 2 * options.max_bandwidth);
	end(&move, &m);
}

TEST(migrate_rule_9_zero_pages_count_apart)
{
	const struct sender_options options = { .level = 1 };
	struct move move = {};
	struct migration m;

	send_all(&move, &m, PAGES / 8, &options);
	CHECK(m.sample.bytes <= PAGES / 8 * PAGE);
	CHECK(m.sample.zeros > m.sample.bytes);
	CHECK(m.sample.zeros <= PAGES / 8 * 7 * PAGE);
	end(&move, &m);
}

TEST(migrate_rule_9_mostly_zero_pages_are_no_sample)
{
	const struct policy_sample mostly = {
		.bytes = SAMPLE_BYTES, .time = SAMPLE_TIME, .zeros = SAMPLE_BYTES + 1,
	};
	struct migration m = { .sample = mostly };

	/* Before the first, that is better than nothing. */
	CHECK(sample_due(&m) == &m.sample);
	CHECK_EQ(m.sample.bytes, SAMPLE_BYTES);
	m.policy.bandwidth_source = POLICY_BANDWIDTH_MEASURED;
	CHECK(!sample_due(&m));
	CHECK_EQ(m.sample.time, 0);
	/* Nor is its time that of the next one. */
	m.sample = mostly;
	m.policy.bandwidth_source = POLICY_BANDWIDTH_KEPT;
	CHECK(!sample_due(&m));
	CHECK_EQ(m.sample.time, 0);
	m.sample = mostly;
	m.sample.zeros--;
	CHECK(sample_due(&m) == &m.sample);
}

TEST(migrate_rule_9_small_samples_grow)
{
	struct migration m = { .sample = { .bytes = SAMPLE_BYTES, .time = SAMPLE_TIME - 1 } };

	m.policy.bandwidth_source = POLICY_BANDWIDTH_MEASURED;
	CHECK(!sample_due(&m));
	CHECK_EQ(m.sample.bytes, SAMPLE_BYTES);
	m.sample.time++;
	CHECK(sample_due(&m) == &m.sample);
	m.sample.bytes--;
	CHECK(!sample_due(&m));
	CHECK_EQ(m.sample.time, SAMPLE_TIME);
}
