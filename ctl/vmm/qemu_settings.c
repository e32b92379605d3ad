// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * QEMU's migration capabilities and parameters: what our kind of migration
 * needs, and how they are put back. Only what differs is set, and only what
 * this QEMU knows.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/migration.h"
#include "vmm/qemu.h"

enum side { SOURCE, DESTINATION, N_SIDES };

/**
 * struct setting - a capability or parameter that a migration changes
 * @name: in QEMU
 * @required: there is no migration without it
 * @value: JSON for the source and the destination, NULL to leave it alone
 */
struct setting {
	const char *name;
	bool required;
	const char *value[N_SIDES];
};

static const struct setting capabilities[] = {
	/* We move the memory. */
	{ "x-ignore-shared", true, { "true", "true" } },
	/* The last copy is made while QEMU waits there. */
	{ "pause-before-switchover", true, { "true", NULL } },
	/* So that the source completes only once the destination has loaded. */
	{ "return-path", true, { "true", "true" } },
	/*
	 * The destination takes the disk images (and their locks) when the guest
	 * is run, not when it has been loaded: until then the source may resume.
	 */
	{ "late-block-activate", false, { NULL, "true" } },
	/* What would need other channels, another stream, or slow the guest. */
	{ "auto-converge", false, { "false", NULL } },
	{ "background-snapshot", false, { "false", "false" } },
	{ "block", false, { "false", "false" } },
	{ "compress", false, { "false", "false" } },
	{ "dirty-limit", false, { "false", NULL } },
	{ "mapped-ram", false, { "false", "false" } },
	{ "multifd", false, { "false", "false" } },
	{ "postcopy-blocktime", false, { "false", "false" } },
	{ "postcopy-preempt", false, { "false", "false" } },
	{ "postcopy-ram", false, { "false", "false" } },
	{ "rdma-pin-all", false, { "false", "false" } },
	{ "release-ram", false, { "false", NULL } },
	{ "switchover-ack", false, { "false", "false" } },
	{ "x-colo", false, { "false", "false" } },
	{ "xbzrle", false, { "false", "false" } },
	{ "zero-copy-send", false, { "false", "false" } },
};

static const struct setting parameters[] = {
	/* When to switch over is decided by us: QEMU is always ready (ms). */
	{ "downtime-limit", true, { "2000000", NULL } },
	{ "avail-switchover-bandwidth", false, { "0", NULL } },
	{ "max-bandwidth", true, { "0", NULL } },
	{ "mode", false, { "\"normal\"", "\"normal\"" } },
	/* migctl's channel is the one that is protected. */
	{ "tls-creds", false, { "\"\"", "\"\"" } },
};

#define N(array)	(sizeof(array) / sizeof((array)[0]))

/* QEMU's list of capabilities as an object of names and booleans. */
static int capabilities_read(struct qemu *qemu, json_t **current,
			     struct error *err)
{
	json_t *list, *entry, *object;
	size_t i;

	if (qemu_query(qemu, "query-migrate-capabilities", NULL, JSON_ARRAY,
		       &list, err))
		return -1;
	object = json_object();
	json_array_foreach(list, i, entry) {
		json_t *name = json_object_get(entry, "capability");
		json_t *state = json_object_get(entry, "state");

		if (json_is_string(name) && json_is_boolean(state))
			json_object_set(object, json_string_value(name), state);
	}
	json_decref(list);
	*current = object;
	return 0;
}

static int parameters_read(struct qemu *qemu, json_t **current,
			   struct error *err)
{
	return qemu_query(qemu, "query-migrate-parameters", NULL, JSON_OBJECT,
			  current, err);
}

/* What @wanted has and @current has otherwise. */
static json_t *differences(json_t *current, json_t *wanted)
{
	json_t *result = json_object(), *value, *now;
	const char *name;

	json_object_foreach(wanted, name, value) {
		now = json_object_get(current, name);
		if (now && !json_equal(now, value))
			json_object_set(result, name, value);
	}
	return result;
}

static int capabilities_send(struct qemu *qemu, json_t *values,
			     struct error *err)
{
	json_t *list = json_array(), *value;
	const char *name;

	json_object_foreach(values, name, value)
		json_array_append_new(list, json_pack("{s:s, s:O}",
						      "capability", name,
						      "state", value));
	/* In one command: some are allowed only together with others. */
	return qmp_execute(qemu->qmp, "migrate-set-capabilities",
			   json_pack("{s:o}", "capabilities", list), NULL, err);
}

static int parameters_send(struct qemu *qemu, json_t *values,
			   struct error *err)
{
	return qmp_execute(qemu->qmp, "migrate-set-parameters",
			   json_incref(values), NULL, err);
}

/**
 * struct kind - capabilities, or parameters
 * @name: the key in what qemu_save() returns
 * @settings: what a migration changes
 * @n: how many
 * @read: all that QEMU has, as one object
 * @send: set some
 */
static const struct kind {
	const char *name;
	const struct setting *settings;
	size_t n;
	int (*read)(struct qemu *qemu, json_t **current, struct error *err);
	int (*send)(struct qemu *qemu, json_t *values, struct error *err);
} kinds[] = {
	{ "capabilities", capabilities, N(capabilities), capabilities_read,
	  capabilities_send },
	{ "parameters", parameters, N(parameters), parameters_read,
	  parameters_send },
};

/* Make QEMU's settings those of @wanted, as far as it knows them. */
static int kind_apply(struct qemu *qemu, const struct kind *kind,
		      json_t *wanted, struct error *err)
{
	json_t *current, *changes;
	int ret = 0;

	if (kind->read(qemu, &current, err))
		return -1;
	changes = differences(current, wanted);
	if (json_object_size(changes))
		ret = kind->send(qemu, changes, err);
	json_decref(changes);
	json_decref(current);
	return ret;
}

static json_t *kind_wanted(const struct kind *kind, enum side side)
{
	json_t *wanted = json_object();
	size_t i;

	for (i = 0; i < kind->n; i++) {
		const char *value = kind->settings[i].value[side];

		if (value)
			json_object_set_new(wanted, kind->settings[i].name,
					    json_loads(value, JSON_DECODE_ANY,
						       NULL));
	}
	return wanted;
}

/* @alone: the other side is a file, which answers nothing */
static int qemu_prepare(struct qemu *qemu, enum side side, bool alone,
			struct error *err)
{
	json_t *wanted;
	size_t i;
	int ret = 0;

	for (i = 0; i < N(kinds) && !ret; i++) {
		wanted = kind_wanted(&kinds[i], side);
		if (alone && json_object_get(wanted, "return-path"))
			json_object_set_new(wanted, "return-path", json_false());
		ret = kind_apply(qemu, &kinds[i], wanted, err);
		json_decref(wanted);
	}
	return ret;
}

int qemu_prepare_source(struct vmm *vmm, struct error *err)
{
	return qemu_prepare(to_qemu(vmm), SOURCE, false, err);
}

int qemu_prepare_save(struct vmm *vmm, struct error *err)
{
	return qemu_prepare(to_qemu(vmm), SOURCE, true, err);
}

/*
 * After -S a cont from somebody else would have QEMU start the guest as soon as
 * it is loaded; a stop while it waits for the migration takes that back.
 */
static int prepare_waiting(struct vmm *vmm, bool alone, struct error *err)
{
	struct qemu *qemu = to_qemu(vmm);

	if (qmp_execute(qemu->qmp, "stop", NULL, NULL, err))
		return -1;
	return qemu_prepare(qemu, DESTINATION, alone, err);
}

int qemu_prepare_destination(struct vmm *vmm, struct error *err)
{
	return prepare_waiting(vmm, false, err);
}

int qemu_prepare_load(struct vmm *vmm, struct error *err)
{
	return prepare_waiting(vmm, true, err);
}

/* The settings of one kind that a migration may change. */
static int kind_save(struct qemu *qemu, const struct kind *kind, json_t *saved,
		     struct error *err)
{
	json_t *current, *mine, *value;
	size_t i;
	int ret = 0;

	if (kind->read(qemu, &current, err))
		return -1;
	mine = json_object();
	for (i = 0; i < kind->n && !ret; i++) {
		value = json_object_get(current, kind->settings[i].name);
		if (value)
			json_object_set(mine, kind->settings[i].name, value);
		else if (kind->settings[i].required)
			ret = error_set(err, EXIT_VMM,
					"this QEMU (%s) has no migration setting %s",
					qemu->vmm.version,
					kind->settings[i].name);
	}
	if (ret)
		error_advise(err, "use QEMU 7.2 or newer");
	json_object_set_new(saved, kind->name, mine);
	json_decref(current);
	return ret;
}

/**
 * qemu_settings_read() - all that QEMU has
 * @qemu: the QEMU
 * @all: two objects, "capabilities" and "parameters"; the caller owns it
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int qemu_settings_read(struct qemu *qemu, json_t **all, struct error *err)
{
	json_t *result = json_object(), *current;
	size_t i;

	for (i = 0; i < N(kinds); i++) {
		if (kinds[i].read(qemu, &current, err)) {
			json_decref(result);
			return -1;
		}
		json_object_set_new(result, kinds[i].name, current);
	}
	*all = result;
	return 0;
}

int qemu_settings_apply(struct qemu *qemu, json_t *wanted, struct error *err)
{
	size_t i;
	int ret = 0;

	for (i = 0; i < N(kinds) && !ret; i++)
		ret = kind_apply(qemu, &kinds[i],
				 json_object_get(wanted, kinds[i].name), err);
	return ret;
}

/* Has the guard see what this process finds out after the fork. */
int qemu_undo_make(struct qemu *qemu, bool ran, struct error *err)
{
	void *page = qemu->undo;

	if (!page)
		page = mmap(NULL, sizeof(*qemu->undo), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return error_set(err, EXIT_FAILED, "mmap: %s", strerror(errno));
	qemu->undo = page;
	*qemu->undo = (struct qemu_undo) { .ran = ran };
	return 0;
}

/**
 * qemu_save() - read what a migration will change
 * @vmm: the QEMU
 * @saved: for qemu_restore(); the caller owns it
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int qemu_save(struct vmm *vmm, json_t **saved, struct error *err)
{
	struct qemu *qemu = to_qemu(vmm);
	struct vmm_status status;
	json_t *all;
	size_t i;

	if (qemu_status(vmm, &status, err))
		return -1;
	all = json_object();
	for (i = 0; i < N(kinds); i++) {
		if (kind_save(qemu, &kinds[i], all, err))
			goto err_free;
	}
	if (qemu_undo_make(qemu, qemu_alive(&status), err))
		goto err_free;
	*saved = all;
	return 0;

err_free:
	json_decref(all);
	return -1;
}

/**
 * qemu_restore() - put back what qemu_save() read
 * @vmm: the QEMU, with no migration under way
 * @saved: from qemu_save()
 * @err: the first failure; the rest is put back nevertheless
 *
 * Return: 0 or -1.
 */
int qemu_restore(struct vmm *vmm, json_t *saved, struct error *err)
{
	struct error later;
	size_t i = N(kinds);
	int ret = 0;

	/* Backwards: a capability may need a parameter's old value. */
	while (i--) {
		json_t *mine = json_object_get(saved, kinds[i].name);

		if (kind_apply(to_qemu(vmm), &kinds[i], mine,
			       ret ? &later : err))
			ret = -1;
	}
	return ret;
}
