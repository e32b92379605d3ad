// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A QEMU guest in terms of which another QEMU can be the same: no path, no
 * address, nothing that depends on the host.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/migration.h"
#include "vmm/qemu.h"

/* Moves @value into @object; a NULL one is left out. */
static void put(json_t *object, const char *key, json_t *value)
{
	if (value)
		json_object_set_new(object, key, value);
}

static json_t *without_suffix(const char *text, const char *suffix)
{
	size_t length = strlen(text), end = strlen(suffix);

	if (length > end && !strcmp(text + length - end, suffix))
		length -= end;
	return json_stringn(text, length);
}

/* QEMU's alias (q35) is resolved in the type's name (pc-q35-11.1-machine). */
static int describe_machine(struct qemu *qemu, json_t *vm, struct error *err)
{
	json_t *type;

	if (qemu_query(qemu, "qom-get",
		       json_pack("{s:s, s:s}", "path", "/machine", "property",
				 "type"), JSON_STRING, &type, err))
		return -1;
	put(vm, "machine", without_suffix(json_string_value(type), "-machine"));
	json_decref(type);
	return 0;
}

/* {"cpuid-register": "ECX", "cpuid-input-eax": 7, ...} as {"7.0.ECX": bits} */
static json_t *features_flatten(json_t *words)
{
	json_t *features = json_object(), *word;
	char name[64];
	size_t i;

	json_array_foreach(words, i, word) {
		json_int_t eax = 0, ecx = 0, bits = 0;
		const char *reg = "";

		if (json_unpack(word, "{s:s, s:I, s?I, s:I}", "cpuid-register",
				&reg, "cpuid-input-eax", &eax,
				"cpuid-input-ecx", &ecx, "features", &bits))
			continue;
		snprintf(name, sizeof(name), "%llx.%llx.%s",
			 (unsigned long long)eax, (unsigned long long)ecx, reg);
		put(features, name, json_integer(bits));
	}
	return features;
}

/*
 * What the CPU model comes to: "host", or a model with flags, says little. x86
 * only; other CPUs have no such property.
 */
static int describe_features(struct qemu *qemu, const char *path, json_t *cpu,
			     struct error *err)
{
	json_t *list, *words;
	int ret;

	if (qom_list(qemu, path, &list, err))
		return -1;
	ret = qom_get(qemu, list, path, "feature-words", &words, err);
	json_decref(list);
	if (ret)
		return -1;
	if (words)
		put(cpu, "features", features_flatten(words));
	json_decref(words);
	return 0;
}

static int describe_topology(struct qemu *qemu, json_t *cpu, struct error *err)
{
	json_t *list, *smp;
	int ret;

	if (qom_list(qemu, "/machine", &list, err))
		return -1;
	ret = qom_get(qemu, list, "/machine", "smp", &smp, err);
	json_decref(list);
	if (ret)
		return -1;
	if (json_is_object(smp)) {
		put(cpu, "max", json_incref(json_object_get(smp, "maxcpus")));
		/* How many there were at the start does not matter. */
		json_object_del(smp, "maxcpus");
		json_object_del(smp, "cpus");
		put(cpu, "topology", json_incref(smp));
	}
	json_decref(smp);
	return 0;
}

static int describe_cpu(struct qemu *qemu, json_t *vm, struct error *err)
{
	json_t *cpus, *cpu, *model;
	const char *path;
	int ret = -1;

	if (qemu_query(qemu, "query-cpus-fast", NULL, JSON_ARRAY, &cpus, err))
		return -1;
	cpu = json_object();
	put(vm, "cpu", cpu);
	put(cpu, "present", json_integer((json_int_t)json_array_size(cpus)));
	path = json_string_value(json_object_get(json_array_get(cpus, 0),
						 "qom-path"));
	if (!path) {
		ret = qemu_odd(err, "query-cpus-fast");
		goto out;
	}
	if (qemu_query(qemu, "qom-get", json_pack("{s:s, s:s}", "path", path,
						  "property", "type"),
		       JSON_STRING, &model, err))
		goto out;
	put(cpu, "model", model);
	if (describe_topology(qemu, cpu, err) ||
	    describe_features(qemu, path, cpu, err))
		goto out;
	ret = 0;
out:
	json_decref(cpus);
	return ret;
}

int qemu_vcpus(struct vmm *vmm, pid_t **threads, size_t *n, struct error *err)
{
	json_t *cpus, *cpu;
	size_t i;

	if (qemu_query(to_qemu(vmm), "query-cpus-fast", NULL, JSON_ARRAY, &cpus, err))
		return -1;
	*n = 0;
	*threads = calloc(json_array_size(cpus) + 1, sizeof(**threads));
	json_array_foreach(cpus, i, cpu) {
		if (*threads)
			(*threads)[(*n)++] = (pid_t)json_integer_value(
				json_object_get(cpu, "thread-id"));
	}
	json_decref(cpus);
	return *n ? 0 : qemu_odd(err, "query-cpus-fast");
}

static int describe_uuid(struct qemu *qemu, json_t *vm, struct error *err)
{
	json_t *reply;

	if (qemu_query(qemu, "query-uuid", NULL, JSON_OBJECT, &reply, err))
		return -1;
	put(vm, "uuid", json_incref(json_object_get(reply, "UUID")));
	json_decref(reply);
	return 0;
}

static int by_id(const void *a, const void *b)
{
	return strcmp(((const struct vmm_memory *)a)->id,
		      ((const struct vmm_memory *)b)->id);
}

static int describe_memory(struct qemu *qemu, json_t *vm, struct error *err)
{
	struct vmm_memory *memory;
	json_t *list;
	size_t i, n;

	if (qemu_backends(qemu, &memory, &n, err))
		return -1;
	qsort(memory, n, sizeof(*memory), by_id);
	list = json_array();
	for (i = 0; i < n; i++) {
		struct vmm_memory *m = &memory[i];

		json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:b, s:b}",
			"id", m->id, "kind", m->kind, "size",
			(json_int_t)m->size, "share", m->share, "file",
			m->path[0] != '\0'));
	}
	put(vm, "memory", list);
	vmm_memory_free(memory, n);
	return 0;
}

static void trim_end(char *text)
{
	size_t length = strlen(text);

	while (length && text[length - 1] == ' ')
		text[--length] = '\0';
}

static void cut_word(char *text)
{
	char *space;

	trim_end(text);
	space = strrchr(text, ' ');
	if (space)
		*space = '\0';
	trim_end(text);
}

/*
 * "   pc.bios    4 KiB  0x4000000 0x40000 0x40000 0x7f5385e00000  ro": name,
 * page size, offset, used, most (for a block that can grow), and in newer ones
 * more. Only the name and the most are the same in two QEMUs.
 */
static json_t *block_parse(char *line)
{
	char *numbers = strstr(line, " 0x");
	unsigned long long total;

	if (!numbers || sscanf(numbers, " %*x %*x %llx", &total) != 1)
		return NULL;
	*numbers = '\0';
	/* The unit of the page size, and its number. */
	cut_word(line);
	cut_word(line);
	return json_pack("{s:s, s:I}", "name", line + strspn(line, " "), "size",
			 (json_int_t)total);
}

static const char *block_name(const json_t *block)
{
	return json_string_value(json_object_get(block, "name"));
}

/* QEMU's own order is by size and age. */
static void block_insert(json_t *list, json_t *block)
{
	size_t i;

	for (i = 0; i < json_array_size(list); i++) {
		if (strcmp(block_name(block),
			   block_name(json_array_get(list, i))) < 0)
			break;
	}
	json_array_insert_new(list, i, block);
}

static int describe_blocks(struct qemu *qemu, json_t *vm, struct error *err)
{
	json_t *reply, *list = json_array(), *block;
	char *text, *line, *rest;

	put(vm, "blocks", list);
	if (qemu_query(qemu, "x-query-ramblock", NULL, JSON_OBJECT, &reply,
		       err))
		return -1;
	line = (char *)json_string_value(json_object_get(reply,
						"human-readable-text"));
	text = line ? strdup(line) : NULL;
	json_decref(reply);
	for (line = text ? strtok_r(text, "\r\n", &rest) : NULL; line;
	     line = strtok_r(NULL, "\r\n", &rest)) {
		block = block_parse(line);
		if (block)
			block_insert(list, block);
	}
	free(text);
	return json_array_size(list) ? 0 : qemu_odd(err, "x-query-ramblock");
}

/**
 * qemu_memory_blocks() - the VM's memory blocks, in one quick query
 * @vmm: the QEMU
 * @blocks: as the member "blocks" of the description; the caller owns it
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int qemu_memory_blocks(struct vmm *vmm, json_t **blocks, struct error *err)
{
	json_t *vm = json_object();
	int ret = describe_blocks(to_qemu(vmm), vm, err);

	*blocks = ret ? NULL : json_incref(json_object_get(vm, "blocks"));
	json_decref(vm);
	return ret;
}

/**
 * qemu_describe() - what two QEMUs must have in common
 * @vmm: the QEMU
 * @description: for vmm_compare(); the caller owns it
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int qemu_describe(struct vmm *vmm, json_t **description, struct error *err)
{
	struct qemu *qemu = to_qemu(vmm);
	json_t *vm;

	vm = json_pack("{s:s, s:s}", "vmm", vmm->ops->name, "version",
		       vmm->version);
	if (describe_machine(qemu, vm, err) || describe_cpu(qemu, vm, err) ||
	    describe_uuid(qemu, vm, err) || describe_memory(qemu, vm, err) ||
	    describe_blocks(qemu, vm, err)) {
		json_decref(vm);
		return -1;
	}
	*description = vm;
	return 0;
}
