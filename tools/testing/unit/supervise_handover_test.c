// SPDX-License-Identifier: GPL-2.0-or-later
/* migctl supervise at the end: QEMU hands the guest over, dies, or is to be called off. */
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "qmp_server.h"
#include "supervise_state.h"

/* The source's QEMU dies: before it was told to go on, and after. */
static void qemu_dies(uint64_t continued, struct error *err)
{
	struct supervision s;
	struct server server;
	struct output out = {};

	running(&s, &out);
	s.vmm = connect_to(&server, SCRIPT(GREETING, OK));
	s.record.session = 42;
	s.times.continued = continued;
	CHECK_EQ(supervise_news(&s, err), -1);
	disconnect(s.vmm, &server);
	fclose(out.stream);
}

TEST(supervise_qemu_dies_while_it_hands_over)
{
	struct error err = {};

	qemu_dies(clock_ns(CLOCK_MONOTONIC), &err);
	CHECK_EQ(err.code, EXIT_IN_DOUBT);
	CHECK_HAS(err.message, "closed the connection");
	CHECK_HAS(err.advice, "migctl resolve 42 --there");
	CHECK_HAS(err.advice, "migctl resolve 42 --here");
}

TEST(supervise_qemu_dies_before_it_hands_over)
{
	struct error err = {};

	qemu_dies(0, &err);
	CHECK_EQ(err.code, EXIT_VMM);
}

#define MIGRATION(status)	\
	"{\"event\": \"MIGRATION\", \"data\": {\"status\": \"" status "\"}}\n"

/* One that did not wait for us, whose state is known or was only told by an event. */
static int device_and_dies(enum vmm_phase phase, const char *said, struct supervision *s,
			   struct error *err)
{
	struct server server;
	struct output out = {};
	int ret;

	running(s, &out);
	s->vmm = connect_to(&server, SCRIPT(GREETING, said));
	s->record.session = 42;
	s->progress.phase = phase;
	ret = supervise_news(s, err);
	disconnect(s->vmm, &server);
	fclose(out.stream);
	return ret;
}

TEST(supervise_qemu_dies_with_the_devices)
{
	struct supervision s;
	struct error err = {};

	CHECK_EQ(device_and_dies(VMM_DEVICE, OK, &s, &err), -1);
	CHECK_EQ(err.code, EXIT_IN_DOUBT);
	CHECK_HAS(err.advice, "migctl resolve 42 --there");
	CHECK_EQ(device_and_dies(VMM_ACTIVE, OK MIGRATION("device"), &s, &err), -1);
	CHECK_EQ(err.code, EXIT_IN_DOUBT);
	CHECK_EQ(device_and_dies(VMM_ACTIVE, OK MIGRATION("pre-switchover"), &s, &err), -1);
	CHECK_EQ(err.code, EXIT_VMM);
	/* What ran there can't run here again. */
	CHECK_EQ(device_and_dies(VMM_ACTIVE, OK MIGRATION("postcopy-active"), &s, &err), -1);
	CHECK_EQ(err.code, EXIT_IN_DOUBT);
	CHECK(!strstr(err.advice, "--here"));
}

/* It was ended by somebody as soon as that was known. */
TEST(supervise_qemu_is_ended_when_it_has_completed)
{
	struct supervision s;
	struct error err = {};

	CHECK_EQ(device_and_dies(VMM_ACTIVE, OK MIGRATION("completed"), &s, &err), 0);
	CHECK_EQ(s.progress.phase, VMM_COMPLETED);
}

/* An event that came with a reply, and woke nobody. */
TEST(supervise_event_that_was_read_already_is_not_waited_for)
{
	struct supervision s;
	struct server server;
	struct output out = {};
	struct error err = {};
	uint64_t begin;

	running(&s, &out);
	s.vmm = connect_to(&server, SCRIPT(GREETING, OK,
		MIGRATION("pre-switchover") RETURN("{\"status\": \"active\"}"),
		RETURN("{\"status\": \"pre-switchover\"}"), ""));
	CHECK_EQ(ops->progress(s.vmm, &s.progress, &err), 0);
	s.interval = 20 * NS_PER_S;
	s.times.looked = begin = clock_ns(CLOCK_MONOTONIC);
	CHECK_EQ(supervise_news(&s, &err), 0);
	CHECK(clock_ns(CLOCK_MONOTONIC) - begin < 10 * NS_PER_S);
	CHECK_EQ(s.progress.phase, VMM_PRE_SWITCHOVER);
	disconnect(s.vmm, &server);
	fclose(out.stream);
}

TEST(supervise_device_is_too_late_for_all)
{
	struct supervision s;
	struct output out = {};
	struct error err = {};

	running(&s, &out);
	s.progress.phase = VMM_DEVICE;
	CHECK_EQ(supervise_asked("switchover", NULL, &s, &err), -1);
	CHECK_HAS(err.message, "too late");
	raise(SIGINT);
	CHECK_EQ(supervise_cancelled(&s, &err), 0);
	CHECK(s.called_off);
	fclose(out.stream);
}

/* ---- a QEMU that does as it is told here ---- */

static struct vmm_progress fake_state;
static enum exit_code fake_refuses;

static int fake_progress(struct vmm *vmm, struct vmm_progress *progress,
			 struct error *err)
{
	(void)vmm;
	(void)err;
	*progress = fake_state;
	return 0;
}

static int fake_answer(struct error *err)
{
	return fake_refuses ? error_set(err, fake_refuses, "QEMU refuses") : 0;
}

static struct vmm_limits fake_limits;
static const json_t *fake_saved;
static int fake_told;

static int fake_limit(struct vmm *vmm, const struct vmm_limits *limits,
		      const json_t *saved, struct error *err)
{
	(void)vmm;
	fake_limits = *limits;
	fake_saved = saved;
	fake_told++;
	return fake_answer(err);
}

static int fake_news(struct vmm *vmm, bool *changed, struct error *err)
{
	(void)vmm;
	(void)err;
	*changed = false;
	return 0;
}

static int fake_connection(struct vmm *vmm)
{
	(void)vmm;
	return -1;
}

static void fake_attach(struct vmm *vmm, bool ours)
{
	(void)vmm;
	(void)ours;
}

static int fake_cancel(struct vmm *vmm, struct error *err)
{
	(void)vmm;
	return fake_answer(err);
}

static int fake_restore(struct vmm *vmm, json_t *saved, struct error *err)
{
	(void)vmm;
	(void)saved;
	(void)err;
	return 0;
}

static bool fake_gone(struct vmm *vmm)
{
	(void)vmm;
	return false;
}

static bool fake_ran(struct vmm *vmm)
{
	(void)vmm;
	return false;
}

static const struct vmm_migration_ops fake_guard = {
	.cancel = fake_cancel, .restore = fake_restore, .ran = fake_ran,
	.connection = fake_connection,
};

static const struct vmm_supervise_ops fake = {
	.guard = &fake_guard, .progress = fake_progress, .limit = fake_limit,
	.attach = fake_attach, .gone = fake_gone, .news = fake_news,
};

/* Who only watches ends nothing by going, and is in no doubt by that. */
static void watcher_goes(const struct vmm_progress *progress)
{
	static const struct supervise_options options = { .dry_run = true };
	struct supervision s;
	struct output out = {};
	struct error err = {};

	running(&s, &out);
	s.options = &options;
	s.ops = &fake;
	s.progress = fake_state = *progress;
	if (progress->phase == VMM_DEVICE)
		s.times.device = clock_ns(CLOCK_MONOTONIC);
	raise(SIGINT);
	CHECK_EQ(supervise_news(&s, &err), -1);
	CHECK_EQ(err.code, EXIT_CANCELLED);
	fclose(out.stream);
}

TEST(supervise_who_watches_can_go_at_any_time)
{
	watcher_goes(&(struct vmm_progress) { .phase = VMM_ACTIVE, .postcopy = true });
	watcher_goes(&(struct vmm_progress) { .phase = VMM_DEVICE });
}

/* Called off while its state is one, and is another by then. */
static void called_off(struct supervision *s, struct output *out, enum vmm_phase now,
		       struct error *err)
{
	running(s, out);
	s->ops = &fake;
	s->touched = s->attached = true;
	s->progress.phase = VMM_ACTIVE;
	fake_state = (struct vmm_progress) { .phase = now };
	/* The kernel, which is not there, is told nothing that it knows. */
	s->published = (struct migtrack_session) {
		.phase = MIGTRACK_PHASE_COMPLETED,
		.downtime_limit_ns = s->policy.limits.downtime,
		.bandwidth_source = MIGTRACK_BANDWIDTH_SOURCE_UNKNOWN,
		.expected_downtime_ns = policy_expected_downtime(&s->policy),
	};
	error_set(err, EXIT_CANCELLED, "cancelled");
}

TEST(supervise_cancel_that_came_too_late)
{
	struct supervision s;
	struct output out = {};
	struct error err = {};

	called_off(&s, &out, VMM_COMPLETED, &err);
	CHECK_EQ(supervise_take_back(&s, &err), -1);
	CHECK_EQ(err.code, EXIT_MOVED);
	CHECK_HAS(err.message, "QEMU has moved the guest (cancelled)");
	supervise_restore(&s, &err);
	CHECK_EQ(err.code, EXIT_MOVED);
	CHECK(!s.not_undone);
	fclose(out.stream);
}

/* Where QEMU hands over by now, a cancel only waits, and says that in vain. */
static void called_off_handing_over(bool postcopy, const char *state)
{
	struct supervision s;
	struct output out = {};
	struct record read;
	struct error err = {};

	mkdir(RECORD_DIR, 0755);
	called_off(&s, &out, postcopy ? VMM_ACTIVE : VMM_DEVICE, &err);
	fake_state.postcopy = postcopy;
	fake_refuses = EXIT_VMM;
	s.record = (struct record) { .session = 1ull << 60, .driver = &vmm_driver_qemu };
	snprintf(s.record.path, sizeof(s.record.path), RECORD_DIR "/%llu.json", 1ull << 60);
	CHECK_EQ(supervise_take_back(&s, &err), -1);
	CHECK_EQ(err.code, EXIT_IN_DOUBT);
	CHECK_HAS(err.message, "(cancelled)");
	CHECK_EQ(!strstr(err.advice, "--here"), postcopy);
	/* Left alone: no guard goes on trying to have the guest here. */
	CHECK(!s.not_undone);
	supervise_restore(&s, &err);
	CHECK_EQ(err.code, EXIT_IN_DOUBT);
	CHECK(!s.not_undone);
	s.phase = MIGTRACK_PHASE_IN_DOUBT;
	supervise_end(&s);
	CHECK_EQ(record_read(&read, 1ull << 60, &err), 0);
	CHECK_STR(read.state, state);
	record_remove(&s.record);
	fclose(out.stream);
}

TEST(supervise_cancel_when_postcopy_has_begun)
{
	called_off_handing_over(true, "postcopy");
}

TEST(supervise_cancel_when_the_devices_are_moved)
{
	called_off_handing_over(false, "in-doubt");
}

TEST(supervise_cancel_that_was_in_time)
{
	struct supervision s;
	struct output out = {};
	struct error err = {};

	called_off(&s, &out, VMM_CANCELLED, &err);
	CHECK_EQ(supervise_take_back(&s, &err), 0);
	supervise_restore(&s, &err);
	CHECK_EQ(err.code, EXIT_CANCELLED);
	fclose(out.stream);
}

/* The exit code must not say that the guest runs on here. */
TEST(supervise_cancel_that_failed)
{
	struct supervision s;
	struct output out = {};
	struct error err = {};

	called_off(&s, &out, VMM_CANCELLING, &err);
	fake_refuses = EXIT_FAILED;
	CHECK_EQ(supervise_take_back(&s, &err), -1);
	supervise_restore(&s, &err);
	CHECK_EQ(err.code, EXIT_FAILED);
	CHECK_HAS(err.message, "cancelled; that could not be undone: QEMU refuses");
	fclose(out.stream);
}

/* What QEMU refused is not taken for told, nor for what is to be. */
TEST(supervise_limits_that_qemu_refuses)
{
	json_t *request = json_pack("{s:I, s:I}", "downtime_ns", (json_int_t)(2 * NS_PER_S),
				    "max_bandwidth_bytes_per_second", (json_int_t)9);
	struct supervision s;
	struct output out = {};
	struct error err = {};

	running(&s, &out);
	s.ops = &fake;
	s.policy.limits.downtime = NS_PER_S;
	CHECK_EQ(supervise_limit(&s, &err), 0);
	CHECK_EQ(s.limits.downtime_ns, NS_PER_S);
	fake_refuses = EXIT_VMM;
	CHECK_EQ(supervise_asked("set", request, &s, &err), -1);
	CHECK_EQ(s.policy.limits.downtime, NS_PER_S);
	CHECK_EQ(s.limits.max_bandwidth, 7);
	CHECK_EQ(supervise_asked("switchover", request, &s, &err), -1);
	CHECK(!s.forced);
	s.policy.limits.downtime = 3 * NS_PER_S;
	CHECK_EQ(supervise_limit(&s, &err), -1);
	fake_refuses = EXIT_OK;
	CHECK_EQ(s.limits.downtime_ns, NS_PER_S);
	CHECK_EQ(supervise_limit(&s, &err), 0);
	CHECK_EQ(s.limits.downtime_ns, 3 * NS_PER_S);
	json_decref(request);
	fclose(out.stream);
}

/* QEMU did not answer in time, and may do it yet: it is told what holds, and that soon. */
TEST(supervise_limits_that_failed_are_told_anew)
{
	json_t *request = json_pack("{s:I}", "max_bandwidth_bytes_per_second", (json_int_t)9);
	struct supervision s;
	struct output out = {};
	struct error err = {};
	uint64_t begin;

	running(&s, &out);
	s.ops = &fake;
	s.saved = json_object();
	s.limits.max_bandwidth = 0;
	s.policy.limits.downtime = NS_PER_S;
	CHECK_EQ(supervise_limit(&s, &err), 0);
	CHECK_EQ(supervise_limit(&s, &err), 0);
	CHECK_EQ(fake_told, 1);
	CHECK(!fake_saved);
	fake_refuses = EXIT_VMM;
	CHECK_EQ(supervise_asked("set", request, &s, &err), -1);
	CHECK_EQ(supervise_asked("switchover", NULL, &s, &err), -1);
	CHECK_EQ(fake_limits.downtime_ns, DOWNTIME_ANY);
	fake_refuses = EXIT_OK;
	s.interval = 20 * NS_PER_S;
	s.times.looked = begin = clock_ns(CLOCK_MONOTONIC);
	CHECK_EQ(supervise_news(&s, &err), 0);
	CHECK(clock_ns(CLOCK_MONOTONIC) - begin < 10 * NS_PER_S);
	CHECK_EQ(supervise_act(&s, &err), 0);
	CHECK_EQ(fake_told, 4);
	CHECK_EQ(fake_limits.downtime_ns, NS_PER_S);
	/* Nobody had set it: as it was before, and not as it was asked for in vain. */
	CHECK_EQ(fake_limits.max_bandwidth, 0);
	CHECK(fake_saved == s.saved);
	CHECK_EQ(supervise_act(&s, &err), 0);
	CHECK_EQ(fake_told, 4);
	json_decref(s.saved);
	json_decref(request);
	fclose(out.stream);
}

/* A device that never gets ready is not waited for beyond it. */
TEST(supervise_timeout_is_also_of_what_was_forced)
{
	struct supervision s;
	struct output out = {};
	struct error err = {};

	running(&s, &out);
	s.ops = &fake;
	CHECK_EQ(supervise_asked("switchover", NULL, &s, &err), 0);
	CHECK_EQ(supervise_act(&s, &err), 0);
	s.policy.limits.timeout = 1;
	CHECK_EQ(supervise_act(&s, &err), -1);
	CHECK_EQ(err.code, EXIT_TIMEOUT);
	/* That is what --on-timeout stop is: it has no other end. */
	s.policy.limits.on_timeout = POLICY_ON_TIMEOUT_STOP;
	CHECK_EQ(supervise_act(&s, &err), 0);
	fclose(out.stream);
}

TEST(supervise_device_that_nobody_counts)
{
	struct track_device device = { .name = "0000:01:00.0" };
	struct policy_pending pending;
	struct supervision s = {
		.devices = { .devices = &device, .n = 1 },
		.progress.all_bytes = VMM_UNKNOWN,
	};
	bool ready, reinit;

	supervise_pending(&s, &pending, &ready, &reinit);
	CHECK(pending.unknown && !strcmp(pending.unknown, device.name));
	s.progress.all_bytes = 5;
	supervise_pending(&s, &pending, &ready, &reinit);
	CHECK(!pending.unknown);
}

/* While QEMU waits for us nobody is told anything, also not the history. */
TEST(supervise_says_nothing_while_the_guest_is_stopped)
{
	struct supervision s;
	struct output out = {};
	char *text = NULL;
	size_t size;

	running(&s, &out);
	fclose(out.stream);
	out.json = true;
	out.stream = open_memstream(&text, &size);
	s.phase = MIGTRACK_PHASE_SWITCHOVER;
	s.held = true;
	supervise_out_phase(&s);
	fflush(out.stream);
	CHECK_EQ(size, 0);
	s.held = false;
	supervise_out_phase(&s);
	fclose(out.stream);
	CHECK_HAS(text, "\"phase\":\"switchover\"");
	free(text);
}

/* The guest runs there: that must not become a doubt. */
TEST(supervise_record_of_a_postcopy_stays_what_it_is)
{
	struct supervision s;
	struct output out = {};
	struct record *record = &s.record, read;
	struct error err = {};
	uint64_t session = 1ull << 60;

	running(&s, &out);
	mkdir(RECORD_DIR, 0755);
	*record = (struct record) { .session = session, .driver = &vmm_driver_qemu };
	snprintf(record->path, sizeof(record->path), RECORD_DIR "/%" PRIu64 ".json", session);
	s.ops = &fake;
	s.progress.postcopy = true;
	s.phase = MIGTRACK_PHASE_IN_DOUBT;
	supervise_end(&s);
	CHECK_EQ(record_read(&read, session, &err), 0);
	CHECK_STR(read.state, "postcopy");
	CHECK(read.paused);
	s.progress.postcopy = false;
	supervise_end(&s);
	CHECK_EQ(record_read(&read, session, &err), 0);
	CHECK_STR(read.state, "in-doubt");
	record_remove(record);
	/* One that only watched has none. */
	supervise_end(&s);
	fclose(out.stream);
}

/* Ctrl-Z would stop us, and leave a guest stopped that waits for us. */
TEST(supervise_is_not_stopped_by_a_key)
{
	static const int keys[] = { SIGTSTP, SIGTTIN, SIGTTOU };
	struct sigaction action;
	struct error err = {};
	size_t i;

	CHECK(signals_open_for_guest(&err) >= 0);
	for (i = 0; i < ARRAY_SIZE(keys); i++) {
		CHECK_EQ(sigaction(keys[i], NULL, &action), 0);
		CHECK(action.sa_handler == SIG_IGN);
	}
}

/* A QEMU that is only busy is waited for. */
TEST(supervise_qemu_does_not_answer_while_it_hands_over)
{
	struct supervision s;
	struct server server;
	struct output out = {};
	struct error err = {};

	running(&s, &out);
	s.vmm = connect_to(&server, SCRIPT(GREETING, OK, ""));
	s.times.continued = clock_ns(CLOCK_MONOTONIC);
	CHECK_EQ(supervise_news(&s, &err), 0);
	disconnect(s.vmm, &server);
	fclose(out.stream);
}

/* It was busy for long, and is then asked again to do what it does. */
static int goes_on(const char *state, struct error *err)
{
	struct supervision s;
	struct server server;
	struct output out = {};
	int ret;

	running(&s, &out);
	s.vmm = connect_to(&server, SCRIPT(GREETING, OK,
		FAIL("Migration not in expected state: device"), state));
	s.times.continued = 1;
	ret = supervise_go_on(&s, err);
	disconnect(s.vmm, &server);
	fclose(out.stream);
	return ret;
}

TEST(supervise_qemu_hands_over_slowly)
{
	struct error err = {};

	CHECK_EQ(goes_on(RETURN("{\"status\": \"device\"}"), &err), 0);
	CHECK_EQ(goes_on(RETURN("{\"status\": \"completed\"}"), &err), 0);
}

TEST(supervise_qemu_does_not_hand_over)
{
	struct error err = {};

	CHECK_EQ(goes_on(RETURN("{\"status\": \"pre-switchover\"}"), &err), -1);
	CHECK_EQ(err.code, EXIT_VMM);
	CHECK_HAS(err.message, "not in expected state");
}
