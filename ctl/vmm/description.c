// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Whether one VM can go on where another stopped, by what their VMMs say of
 * them. Pure. The source's description comes over the network: nothing in it is
 * taken for granted.
 */
#include <stdio.h>
#include <string.h>

#include "common/units.h"
#include "vmm/migration.h"

/* What is quoted of a description, whose texts may be of any length. */
#define QUOTED	"%.80s"

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static json_int_t number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static bool flag_of(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

static int malformed(const char *who, struct error *err)
{
	error_set(err, EXIT_VMM, "the description of the %s VM is not complete",
		  who);
	return error_advise(err, "use the same version of migctl on both sides");
}

static int check_form(const json_t *vm, const char *who, struct error *err)
{
	if (!text_of(vm, "machine")[0] ||
	    !text_of(json_object_get(vm, "cpu"), "model")[0] ||
	    !json_is_array(json_object_get(vm, "memory")) ||
	    !json_is_array(json_object_get(vm, "blocks")))
		return malformed(who, err);
	return 0;
}

static int compare_text(const json_t *source, const json_t *destination,
			const char *key, const char *what, struct error *err)
{
	const char *here = text_of(source, key);
	const char *there = text_of(destination, key);

	if (!strcmp(here, there))
		return 0;
	return error_set(err, EXIT_VMM,
			 "the destination has %s " QUOTED ", the source " QUOTED,
			 what, there, here);
}

static int compare_number(const json_t *source, const json_t *destination,
			  const char *key, const char *what, struct error *err)
{
	json_int_t here = number_of(source, key);
	json_int_t there = number_of(destination, key);

	if (here == there)
		return 0;
	return error_set(err, EXIT_VMM,
			 "the destination has %lld %s, the source %lld",
			 (long long)there, what, (long long)here);
}

static int compare_topology(json_t *source, json_t *destination,
			    struct error *err)
{
	const char *key;
	json_t *value;
	char what[64];

	json_object_foreach(source, key, value) {
		snprintf(what, sizeof(what), "%.32s (CPU topology)", key);
		if (compare_number(source, destination, key, what, err))
			return -1;
	}
	return 0;
}

/* A word that only one of them knows has no bit set in the other. */
static int compare_features(json_t *source, json_t *destination,
			    struct error *err)
{
	json_t *value, *all;
	const char *key;
	int ret = 0;

	/* Only some architectures tell. */
	if (!json_is_object(source) || !json_is_object(destination))
		return 0;
	all = json_copy(source);
	json_object_update_missing(all, destination);
	json_object_foreach(all, key, value) {
		unsigned long long here = (unsigned long long)
					  number_of(source, key);
		unsigned long long there = (unsigned long long)
					   number_of(destination, key);

		if (here == there)
			continue;
		ret = error_set(err, EXIT_VMM,
				"the CPUs have the same model, but other features: CPUID %.32s is %#llx at the destination, %#llx at the source",
				key, there, here);
		break;
	}
	json_decref(all);
	return ret;
}

static int compare_cpu(const json_t *source, const json_t *destination,
		       struct error *err)
{
	if (compare_text(source, destination, "model", "CPU model", err))
		return error_advise(err, "start the destination with the source's -cpu");
	if (compare_number(source, destination, "present", "CPUs", err) ||
	    compare_number(source, destination, "max", "CPUs at most", err) ||
	    compare_topology(json_object_get(source, "topology"),
			     json_object_get(destination, "topology"), err))
		return error_advise(err,
				    "start the destination with the source's -smp, and add the CPUs that were plugged in since (-device)");
	if (compare_features(json_object_get(source, "features"),
			     json_object_get(destination, "features"), err))
		return error_advise(err,
				    "start both with a CPU model that both hosts offer in full, not -cpu host or max, and the same flags");
	return 0;
}

static const json_t *entry_find(const json_t *list, const char *key,
				const char *name)
{
	json_t *entry;
	size_t i;

	json_array_foreach((json_t *)list, i, entry) {
		if (!strcmp(text_of(entry, key), name))
			return entry;
	}
	return NULL;
}

/* One that @other has not, in words; 0 if there is none. */
static int entry_missing(const json_t *list, const json_t *other,
			 const char *key, const char *what, const char *who,
			 const char *whose, struct error *err)
{
	char size[UNIT_TEXT_SIZE];
	json_t *entry;
	size_t i;

	json_array_foreach((json_t *)list, i, entry) {
		const char *name = text_of(entry, key);

		if (entry_find(other, key, name))
			continue;
		return error_set(err, EXIT_VMM,
				 "the %s has no %s " QUOTED ", the %s one of %s",
				 who, what, name, whose,
				 format_bytes(size, (uint64_t)
					      number_of(entry, "size")));
	}
	return 0;
}

static int compare_size(const json_t *source, const json_t *destination,
			const char *what, const char *name, struct error *err)
{
	char here[UNIT_TEXT_SIZE], there[UNIT_TEXT_SIZE];
	json_int_t ours = number_of(source, "size");
	json_int_t theirs = number_of(destination, "size");

	if (ours == theirs)
		return 0;
	format_bytes(here, (uint64_t)ours);
	format_bytes(there, (uint64_t)theirs);
	/* Rounded, they may look the same. */
	if (!strcmp(here, there)) {
		snprintf(here, sizeof(here), "%lld bytes", (long long)ours);
		snprintf(there, sizeof(there), "%lld bytes", (long long)theirs);
	}
	return error_set(err, EXIT_VMM,
			 "%s " QUOTED " has %s at the destination, %s at the source",
			 what, name, there, here);
}

/* Both have the same names: compare what is behind them. */
static int compare_entries(const json_t *source, const json_t *destination,
			   const char *key, const char *what,
			   struct error *err)
{
	const json_t *other;
	json_t *entry;
	size_t i;

	if (entry_missing(source, destination, key, what, "destination",
			  "source", err) ||
	    entry_missing(destination, source, key, what, "source",
			  "destination", err))
		return -1;
	json_array_foreach((json_t *)source, i, entry) {
		other = entry_find(destination, key, text_of(entry, key));
		if (compare_size(entry, other, what, text_of(entry, key), err))
			return -1;
	}
	return 0;
}

static const char *manner(const json_t *backend)
{
	return flag_of(backend, "share") ? "shared" : "private";
}

/* That each can be moved was checked where it is; here, that they are alike. */
static int compare_backend(const json_t *source, const json_t *destination,
			   struct error *err)
{
	const char *id = text_of(source, "id");

	if (strcmp(text_of(source, "kind"), text_of(destination, "kind")))
		return error_set(err, EXIT_VMM,
				 "memory back end " QUOTED " is a " QUOTED " at the destination, a " QUOTED " at the source",
				 id, text_of(destination, "kind"),
				 text_of(source, "kind"));
	if (flag_of(source, "share") != flag_of(destination, "share") ||
	    flag_of(source, "file") != flag_of(destination, "file"))
		return error_set(err, EXIT_VMM,
				 "memory back end " QUOTED " is %s and %s file at the destination, %s and %s file at the source",
				 id, manner(destination),
				 flag_of(destination, "file") ? "a" : "no",
				 manner(source),
				 flag_of(source, "file") ? "a" : "no");
	return 0;
}

static int compare_backends(const json_t *source, const json_t *destination,
			    struct error *err)
{
	json_t *entry;
	size_t i;

	if (compare_entries(source, destination, "id", "memory back end", err))
		return -1;
	json_array_foreach((json_t *)source, i, entry) {
		if (compare_backend(entry, entry_find(destination, "id",
						      text_of(entry, "id")),
				    err))
			return -1;
	}
	return 0;
}

/**
 * vmm_compare() - whether these VMs can take each other's state
 * @source: what vmm_migration_ops.describe says of the one that is to move
 * @destination: and of the one that is to become it
 * @err: the first difference, and what to change
 *
 * Return: 0 or -1.
 */
int vmm_compare(const json_t *source, const json_t *destination,
		struct error *err)
{
	if (check_form(source, "source", err) ||
	    check_form(destination, "destination", err))
		return -1;
	if (compare_text(source, destination, "vmm", "the VMM", err))
		return error_advise(err, "only a VMM of the same kind understands the state");
	if (compare_text(source, destination, "machine", "machine", err))
		return error_advise(err,
				    "start the destination with -machine " QUOTED,
				    text_of(source, "machine"));
	if (compare_cpu(json_object_get(source, "cpu"),
			json_object_get(destination, "cpu"), err))
		return -1;
	if (compare_text(source, destination, "uuid", "UUID", err))
		return error_advise(err,
				    "start the destination with -uuid " QUOTED,
				    text_of(source, "uuid"));
	if (compare_backends(json_object_get(source, "memory"),
			     json_object_get(destination, "memory"), err))
		return error_advise(err,
				    "start the destination with the source's -m and -object memory-backend-..., and add the memory that was plugged in since");
	if (compare_entries(json_object_get(source, "blocks"),
			    json_object_get(destination, "blocks"), "name",
			    "memory block", err))
		return error_advise(err,
				    "start the destination with the source's devices and firmware: video, ROMs, -kernel, and memory are blocks");
	return 0;
}

static int block_changed(const json_t *block, const char *how, struct error *err)
{
	const char *name = text_of(block, "name");
	char size[UNIT_TEXT_SIZE];

	format_bytes(size, (uint64_t)number_of(block, "size"));
	/* It is given one when it is plugged in. */
	if (!*name)
		name = "without a name";
	error_set(err, EXIT_VMM,
		  "memory block " QUOTED " (%s) %s while the guest was moved",
		  name, size, how);
	return error_advise(err, "the guest runs on here: start again");
}

/**
 * vmm_blocks_changed() - whether the memory of a VM is what it was
 * @then: the member "blocks" of its description
 * @now: the same, as it is now
 * @err: which block is not, and how
 *
 * Return: 0 or -1.
 */
int vmm_blocks_changed(const json_t *then, const json_t *now, struct error *err)
{
	const json_t *old;
	json_t *block;
	size_t i;

	/* Memory that is unplugged loses its name first: as such it would seem to be new. */
	json_array_foreach((json_t *)then, i, block) {
		if (!entry_find(now, "name", text_of(block, "name")))
			return block_changed(block, "was removed", err);
	}
	json_array_foreach((json_t *)now, i, block) {
		old = entry_find(then, "name", text_of(block, "name"));
		if (!old)
			return block_changed(block, "was added", err);
		if (number_of(old, "size") != number_of(block, "size"))
			return block_changed(block, "was resized", err);
	}
	return 0;
}
