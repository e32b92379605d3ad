// SPDX-License-Identifier: GPL-2.0-or-later
/* migctl supervise: its options, and QEMUs that real ones can't be made to be. */
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "qmp_server.h"
#include "supervise_state.h"

static int parse(struct supervise_options *options, const char *line, struct error *err)
{
	char *argv[UNIT_WORDS];
	int argc = unit_words("supervise", line, argv);

	return supervise_options_parse(options, argc, argv, err);
}

static void refused(const char *line, const char *message)
{
	struct supervise_options options;
	struct error err = {};

	CHECK_EQ(parse(&options, line, &err), -1);
	CHECK_EQ(err.code, EXIT_USAGE);
	CHECK_HAS(err.message, message);
	CHECK(err.advice[0]);
}

TEST(supervise_options_are_understood)
{
	struct supervise_options options;
	struct error err = {};

	CHECK_EQ(parse(&options, "--qmp s --to tcp:h:1 --downtime 500ms "
		       "--max-downtime 3s --fixed-cost 50ms --timeout 10m "
		       "--on-timeout postcopy --switchover-bandwidth 1G "
		       "--max-bandwidth 100M --attempts 5 --min-interval 200ms "
		       "--multifd 8 --tls-creds t --tls-hostname h", &err), 0);
	CHECK_EQ(options.limits.downtime, 500 * NS_PER_MS);
	CHECK_EQ(options.limits.max_downtime, 3 * NS_PER_S);
	CHECK_EQ(options.limits.fixed_cost, 50 * NS_PER_MS);
	CHECK_EQ(options.limits.timeout, 600 * NS_PER_S);
	CHECK_EQ(options.limits.bandwidth, 1ull << 30);
	CHECK_EQ(options.max_bandwidth, 100ull << 20);
	CHECK_EQ(options.attempts, 5);
	CHECK_EQ(options.vmm.multifd, 8);
	CHECK(options.vmm.postcopy && options.limits.postcopy);
	/* At the timeout, not before. */
	CHECK(!(options.limits.allowed & POLICY_ALLOW_POSTCOPY));
}

TEST(supervise_options_out_of_range)
{
	refused("--to x", "which guest");
	refused("--qmp s --to x --downtime 0", "too short");
	refused("--qmp s --to x --downtime soon", "not a time");
	refused("--qmp s --to x --downtime 2001s", "no downtime above");
	refused("--qmp s --to x --max-downtime 1h", "no downtime above");
	refused("--qmp s --to x --downtime 1s --max-downtime 500ms", "below");
	refused("--qmp s --to x --fixed-cost 300ms", "leaves nothing");
	refused("--qmp s --to x --switchover-bandwidth 0", "is no rate");
	refused("--qmp s --to x --max-bandwidth fast", "is no rate");
	refused("--qmp s --to x --timeout 0", "too short");
	refused("--qmp s --to x --on-timeout explode", "is unknown");
	refused("--qmp s --to x --on-timeout stop", "without --timeout");
	refused("--qmp s --to x --attempts 0", "at least 1");
	refused("--qmp s --to x --attempts 101", "at least 1");
	refused("--qmp s --to x --min-interval 1ms", "--min-interval is from");
	refused("--qmp s --to x --min-interval 11s", "--min-interval is from");
	refused("--qmp s --to x --multifd 0", "at least 1");
	refused("--qmp s --to x --multifd 256", "at least 1");
	refused("--qmp s --to x --dry-run", "starts no migration");
	refused("--qmp s --multifd 2", "can't be set while");
	refused("--qmp s --postcopy", "can't be set while");
	refused("--qmp s more", "unexpected argument");
}

TEST(supervise_needs_the_pause)
{
	struct vmm_supervise_options options = { .to = "tcp:h:1" };
	struct server server;
	struct error err = {};
	struct vmm *vmm;

	vmm = connect_to(&server, SCRIPT(GREETING, OK,
		RETURN("[{\"capability\": \"events\", \"state\": false}]"),
		RETURN("{\"downtime-limit\": 300}")));
	CHECK_EQ(ops->prepare(vmm, &options, &err), -1);
	CHECK_HAS(err.message, "no pause-before-switchover");
	CHECK(err.advice[0]);
	disconnect(vmm, &server);
	/* Nothing was set. */
	CHECK(!strstr(server.requests, "migrate-set"));
}

TEST(supervise_does_without_what_it_need_not_have)
{
	struct vmm_supervise_options options = { .to = "exec:cat" };
	struct server server;
	struct error err = {};
	struct vmm *vmm;

	/* No events, no way back through a pipe. */
	vmm = connect_to(&server, SCRIPT(GREETING, OK,
		RETURN("[{\"capability\": \"pause-before-switchover\", \"state\": false}]"),
		RETURN("{\"downtime-limit\": 300}"),
		RETURN("[{\"capability\": \"pause-before-switchover\", \"state\": false}]"),
		OK,
		RETURN("{\"downtime-limit\": 300}")));
	CHECK_EQ(ops->prepare(vmm, &options, &err), 0);
	disconnect(vmm, &server);
	CHECK_HAS(server.requests, "\"pause-before-switchover\",\"state\":true");
	CHECK(!strstr(server.requests, "return-path"));
	CHECK(!strstr(server.requests, "\"events\""));
}

/* A QEMU before 8.2 has no bandwidth to decide by. */
TEST(supervise_limit_sets_what_is_there)
{
	struct vmm_limits limits = { .downtime_ns = 1910999999, .bandwidth = 5 };
	struct server server;
	struct error err = {};
	struct vmm *vmm;

	vmm = connect_to(&server, SCRIPT(GREETING, OK, RETURN("[]"),
		RETURN("{\"downtime-limit\": 300}"), OK));
	CHECK_EQ(ops->limit(vmm, &limits, NULL, &err), 0);
	disconnect(vmm, &server);
	CHECK_HAS(server.requests, "{\"downtime-limit\":1910}");
}

TEST(supervise_limit_nothing_fits_an_unknown_bandwidth)
{
	struct vmm_limits limits = { .downtime_ns = 3000 * NS_PER_S };
	struct server server;
	struct error err = {};
	struct vmm *vmm;

	vmm = connect_to(&server, SCRIPT(GREETING, OK, RETURN("[]"),
		RETURN("{\"downtime-limit\": 300, \"avail-switchover-bandwidth\": 0, \"max-bandwidth\": 7}"),
		OK));
	CHECK_EQ(ops->limit(vmm, &limits, NULL, &err), 0);
	disconnect(vmm, &server);
	CHECK_HAS(server.requests,
		  "{\"downtime-limit\":2000000,\"avail-switchover-bandwidth\":1}");
}

static void max_bandwidth_told(uint64_t asked, const char *told)
{
	struct vmm_limits limits = { .downtime_ns = NS_PER_S, .max_bandwidth = asked };
	json_t *saved = json_pack("{s:{s:i}}", "parameters", "max-bandwidth", 0);
	struct server server;
	struct error err = {};
	struct vmm *vmm;

	vmm = connect_to(&server, SCRIPT(GREETING, OK, RETURN("[]"),
		RETURN("{\"downtime-limit\": 1000, \"max-bandwidth\": 9}"), OK));
	CHECK_EQ(ops->limit(vmm, &limits, saved, &err), 0);
	disconnect(vmm, &server);
	CHECK_HAS(server.requests, told);
	json_decref(saved);
}

/* Also that there was none is told, which is 0 to QEMU. */
TEST(supervise_limit_puts_back_what_nobody_has_set)
{
	max_bandwidth_told(0, "{\"max-bandwidth\":0}");
	max_bandwidth_told(7, "{\"max-bandwidth\":7}");
}

/* QEMU's own comparison: does so much fit, by what it was told? */
static bool qemu_fits(uint64_t left, const char *requests)
{
	const char *ms = strstr(requests, "\"downtime-limit\":");
	const char *bandwidth = strstr(requests, "\"avail-switchover-bandwidth\":");

	CHECK(ms && bandwidth);
	return !left || left < strtoull(strchr(bandwidth, ':') + 1, NULL, 10) / 1000 *
			       strtoull(strchr(ms, ':') + 1, NULL, 10);
}

/* What fits by the policy fits by QEMU's integers, and hardly more does. */
TEST(supervise_limit_is_the_threshold_of_the_policy)
{
	static const struct {
		struct vmm_limits limits;
		uint64_t threshold;
	} cases[] = {
		{ { .downtime_ns = 300 * NS_PER_MS, .bandwidth = 1000000999 }, 300000299 },
		{ { .downtime_ns = 1910999999, .bandwidth = 1 << 30 }, 2051920624 },
		{ { .downtime_ns = 900000, .bandwidth = 1000000000 }, 900000 },
		{ { .downtime_ns = 1000 * NS_PER_MS, .bandwidth = 999 }, 999 },
		{ { .bandwidth = 1 << 30 }, 0 },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t ms = cases[i].limits.downtime_ns / NS_PER_MS;
		struct server server;
		struct error err = {};
		struct vmm *vmm;

		vmm = connect_to(&server, SCRIPT(GREETING, OK, RETURN("[]"),
			RETURN("{\"downtime-limit\": 3, \"avail-switchover-bandwidth\": 0}"),
			OK));
		CHECK_EQ(ops->limit(vmm, &cases[i].limits, NULL, &err), 0);
		disconnect(vmm, &server);
		CHECK(qemu_fits(cases[i].threshold, server.requests));
		CHECK(!qemu_fits(cases[i].threshold + ms + 1, server.requests));
	}
}

static void progress_is(const char *reply, struct vmm_progress *progress)
{
	struct server server;
	struct error err = {};
	struct vmm *vmm;

	vmm = connect_to(&server, SCRIPT(GREETING, OK, reply));
	CHECK_EQ(ops->progress(vmm, progress, &err), 0);
	disconnect(vmm, &server);
}

TEST(supervise_progress_of_any_qemu)
{
	struct vmm_progress progress;

	progress_is(RETURN("{}"), &progress);
	CHECK_EQ(progress.phase, VMM_NONE);
	CHECK_EQ(progress.all_bytes, VMM_UNKNOWN);
	CHECK_EQ(progress.downtime_ns, VMM_UNKNOWN);

	/* QEMU 10: no system-wide number. */
	progress_is(RETURN("{\"status\": \"active\", \"ram\": {\"remaining\": 7, \"transferred\": 9,"
			   " \"dirty-sync-count\": 3, \"dirty-pages-rate\": 2, \"page-size\": 4096}}"),
		    &progress);
	CHECK_EQ(progress.phase, VMM_ACTIVE);
	CHECK_EQ(progress.ram_bytes, 7);
	CHECK_EQ(progress.all_bytes, VMM_UNKNOWN);
	CHECK_EQ(progress.sent_bytes, 9);
	CHECK_EQ(progress.passes, 3);
	CHECK_EQ(progress.dirty_rate, 8192);
	CHECK(!progress.postcopy);

	/* 11.1, and nonsense. */
	progress_is(RETURN("{\"status\": \"postcopy-paused\", \"remaining\": 20, \"ram\": {\"remaining\": -1,"
			   " \"dirty-pages-rate\": 9223372036854775807}, \"downtime\": 12}"),
		    &progress);
	CHECK_EQ(progress.all_bytes, 20);
	CHECK_EQ(progress.ram_bytes, 0);
	CHECK(progress.postcopy && progress.paused);
	CHECK_EQ(progress.downtime_ns, 12 * NS_PER_MS);
	CHECK(progress.dirty_rate != VMM_UNKNOWN);
}

TEST(supervise_takes_events_without_waiting)
{
	struct server server;
	struct error err = {};
	bool changed = true;
	struct vmm *vmm;

	vmm = connect_to(&server, SCRIPT(GREETING, OK,
		"{\"event\": \"MIGRATION_PASS\", \"data\": {\"pass\": 2}}\n"
		"{\"event\": \"MIGRATION\", \"data\": {\"status\": \"pre-switchover\"}}\n"
		RETURN("{\"status\": \"active\"}"), ""));
	CHECK_EQ(ops->news(vmm, &changed, &err), 0);
	CHECK(!changed);
	CHECK_EQ(ops->progress(vmm, &(struct vmm_progress) {}, &err), 0);
	/* They came with the reply, and were not lost. */
	CHECK(!ops->gone(vmm));
	CHECK_EQ(ops->news(vmm, &changed, &err), 0);
	CHECK(changed);
	disconnect(vmm, &server);
}

/* QEMU's migration waits as soon as it has stopped the guest. */
TEST(supervise_stop_is_news)
{
	struct server server;
	struct error err = {};
	bool changed = false;
	struct vmm *vmm;

	vmm = connect_to(&server, SCRIPT(GREETING,
		OK "{\"event\": \"STOP\", \"timestamp\": {\"seconds\": 1, \"microseconds\": 1}}\n",
		RETURN("{\"status\": \"active\"}"), ""));
	while (!changed && !ops->news(vmm, &changed, &err))
		usleep(1000);
	CHECK(changed);
	CHECK_EQ(ops->progress(vmm, &(struct vmm_progress) {}, &err), 0);
	CHECK_EQ(ops->news(vmm, &changed, &err), 0);
	CHECK(!changed);
	disconnect(vmm, &server);
}

/* A deadline, and no hang; that is not taken for its end. */
TEST(supervise_peer_that_stops_answering)
{
	struct vmm_progress progress;
	struct server server;
	struct error err = {};
	struct vmm *vmm;

	vmm = connect_to(&server, SCRIPT(GREETING, OK, ""));
	CHECK_EQ(ops->progress(vmm, &progress, &err), -1);
	CHECK_EQ(err.code, EXIT_VMM);
	CHECK_HAS(err.message, "no reply to query-migrate within 10 s");
	CHECK(!ops->gone(vmm));
	disconnect(vmm, &server);
}

TEST(supervise_sees_a_qemu_that_ends)
{
	struct server server;
	struct error err = {};
	bool changed;
	struct vmm *vmm;
	int i, ret = 0;

	vmm = connect_to(&server, SCRIPT(GREETING, OK));
	for (i = 0; i < 20000 && !ret; i++) {
		usleep(1000);
		ret = ops->news(vmm, &changed, &err);
	}
	CHECK_EQ(ret, -1);
	CHECK(ops->gone(vmm));
	CHECK_HAS(err.message, "closed the connection");
	disconnect(vmm, &server);
}

static void failed(struct error *err)
{
	error_set(err, EXIT_VMM, "QEMU's migration failed");
}

TEST(supervise_next_attempt_keeps_what_was_set_and_learned)
{
	struct supervision s;
	struct output out = {};
	struct error err = {};

	running(&s, &out);
	s.policy.limits.downtime = NS_PER_S;
	policy_set_bandwidth(&s.policy, 5);
	s.times = (struct supervise_times) { .started = 3, .running = 100, .checked = 350 };
	s.forced = true;
	failed(&err);
	CHECK(supervise_again(&s, &err));
	CHECK_EQ(s.attempt, 2);
	CHECK_EQ(s.times.started, 3);
	CHECK_EQ(s.times.checked, 0);
	CHECK_EQ(s.policy.limits.downtime, NS_PER_S);
	CHECK_EQ(s.policy.bandwidth, 5);
	CHECK_EQ(s.limits.max_bandwidth, 7);
	CHECK_EQ(policy_fixed_cost(&s.policy), 250);
	/* All of the memory is to be moved again: not while the guest is stopped. */
	CHECK(!s.forced && !s.reinit);
	fclose(out.stream);
}

TEST(supervise_timeout_is_of_all_attempts)
{
	struct supervision s;
	struct output out = {};
	struct error err = {};

	running(&s, &out);
	failed(&err);
	s.policy.limits.timeout = 1;
	CHECK(!supervise_again(&s, &err));
	CHECK_EQ(s.attempt, 1);
	CHECK_EQ(err.code, EXIT_VMM);
	s.policy.limits.timeout = 0;
	s.attempt = 3;
	CHECK(!supervise_again(&s, &err));
	fclose(out.stream);
}

TEST(supervise_called_off_in_the_handover_means_no_other_attempt)
{
	struct supervision s;
	struct output out = {};
	struct error err = {};

	running(&s, &out);
	CHECK_EQ(supervise_cancelled(&s, &err), 0);
	s.times.continued = 1;
	raise(SIGINT);
	CHECK_EQ(supervise_cancelled(&s, &err), 0);
	CHECK(s.called_off);
	/* QEMU fails. */
	s.times.continued = 0;
	failed(&err);
	CHECK(!supervise_again(&s, &err));
	CHECK_EQ(err.code, EXIT_CANCELLED);
	CHECK_HAS(err.message, "QEMU's migration failed");
	/* What ends it is still heard. */
	raise(SIGTERM);
	CHECK_EQ(supervise_cancelled(&s, &err), -1);
	fclose(out.stream);
}

TEST(supervise_called_off_between_two_attempts)
{
	struct supervision s;
	struct output out = {};
	struct error err = {};

	running(&s, &out);
	failed(&err);
	raise(SIGINT);
	CHECK(!supervise_again(&s, &err));
	CHECK_EQ(err.code, EXIT_CANCELLED);
	fclose(out.stream);
}

static void iteration(struct supervision *s, uint64_t seconds, uint64_t left)
{
	struct policy_pending pending = { .precopy = left };
	struct error err = {};

	s->decision = policy_switchover(&s->policy, seconds * NS_PER_S, &pending, true, NULL);
	CHECK_EQ(supervise_act(s, &err), 0);
}

/* What listeners are told is why it was decided so now, not some time ago. */
TEST(supervise_reason_of_a_stall_ends_with_it)
{
	struct supervise_options options = { .dry_run = true, .attempts = 1 };
	struct supervision s;
	struct output out = {};

	running(&s, &out);
	s.options = &options;
	s.policy.limits.stall_window = NS_PER_S;
	policy_set_bandwidth(&s.policy, 1 << 20);
	iteration(&s, 1, 100 << 20);
	CHECK_EQ(supervise_reason(&s), POLICY_REASON_TOO_MUCH);
	iteration(&s, 3, 100 << 20);
	iteration(&s, 5, 100 << 20);
	CHECK_EQ(supervise_reason(&s), POLICY_REASON_STALL);
	/* Between two iterations it is not decided anew. */
	CHECK_EQ(supervise_act(&s, &(struct error) {}), 0);
	CHECK_EQ(supervise_reason(&s), POLICY_REASON_STALL);
	iteration(&s, 6, 10 << 20);
	CHECK_EQ(supervise_reason(&s), POLICY_REASON_TOO_MUCH);
	iteration(&s, 7, 1000);
	CHECK_EQ(supervise_reason(&s), POLICY_REASON_FITS);
	fclose(out.stream);
}

/* Rule 15: from the stop on, in parts that are all of it. */
TEST(supervise_rule_15_the_downtime_is_the_sum_of_its_parts)
{
	json_t *json;
	struct supervision s;
	struct output out = {};
	char *text = NULL;
	json_int_t down, stop, check, copy;
	size_t size;

	running(&s, &out);
	fclose(out.stream);
	out.json = true;
	out.stream = open_memstream(&text, &size);
	s.phase = MIGTRACK_PHASE_COMPLETED;
	s.times = (struct supervise_times) {
		.started = 1, .running = 1000, .stopped = 1200, .continued = 1300,
		.over = 2000,
	};
	supervise_out_summary(&s, NULL);
	fclose(out.stream);
	json = json_loads(text, 0, NULL);
	CHECK_EQ(json_unpack(json, "{s:I, s:I, s:I, s:I}", "downtime_ns", &down,
			     "downtime_stop_ns", &stop, "downtime_check_ns", &check,
			     "downtime_copy_ns", &copy), 0);
	CHECK_EQ(down, 1000);
	CHECK_EQ(stop + check + copy, down);
	json_decref(json);
	free(text);
}

/* What a terminal shows of a migration, drawn as often as asked for. */
static char *screen(struct supervision *s, int times)
{
	struct output out = {};
	char *text = NULL;
	size_t size;

	out.stream = open_memstream(&text, &size);
	s->out = &out;
	while (times--) {
		s->times.shown = 0;
		supervise_out_look(s, true);
	}
	fclose(out.stream);
	return text;
}

TEST(supervise_screen_is_drawn_over_itself)
{
	static const struct supervise_options options;
	struct supervision s = {
		.options = &options,
		.progress = { .ram_bytes = 5 << 20, .passes = 700,
			      .dirty_rate = VMM_UNKNOWN },
		.sync = { .iteration = 3, .total_bytes = 200 << 20 },
		.phase = MIGTRACK_PHASE_PRECOPY,
	};
	struct policy_pending pending = { .precopy = 5 << 20, .stopcopy = 195 << 20 };
	char *text;

	policy_init(&s.policy, &policy_default_limits, 1);
	policy_set_bandwidth(&s.policy, 100 << 20);
	s.decision = policy_switchover(&s.policy, NS_PER_S, &pending, true, NULL);
	s.action = policy_act(&s.policy, NS_PER_S);
	text = screen(&s, 1);
	CHECK_HAS(text, "precopy, iteration 3 (700 passes");
	CHECK_HAS(text, "5.0 MiB of memory, 200.0 MiB in all");
	CHECK_HAS(text, "dirty rate  unknown");
	CHECK_HAS(text, "100.0 MiB/s (user)");
	CHECK_HAS(text, "2.0 s expected, 300.0 ms allowed");
	CHECK_HAS(text, "stop-only");
	CHECK_HAS(text, "allow a downtime of 2000 ms, or a bandwidth of");
	/* No percent can run backwards. */
	CHECK(!strchr(text, '%'));
	CHECK(!strstr(text, "A\033"));
	free(text);
	text = screen(&s, 1);
	CHECK_EQ(s.lines, 7);
	CHECK(!strncmp(text, "\033[7A", 4));
	free(text);
}

TEST(supervise_lines_are_one_a_second)
{
	static const struct supervise_options options;
	struct supervision s = { .options = &options, .lines = -1 };
	char *text;

	policy_init(&s.policy, &policy_default_limits, 1);
	text = screen(&s, 1);
	CHECK(!strchr(text, '\033'));
	CHECK_EQ(strchr(text, '\n') - text, strlen(text) - 1);
	free(text);
}
