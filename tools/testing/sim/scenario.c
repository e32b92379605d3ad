// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>
#include <string.h>

#include "common/units.h"
#include "scenario.h"

const char *const versus_names[] = {
	[BETTER] = "better", [EQUAL] = "equal", [TRADE] = "trade", [WORSE] = "worse",
};

const char *const model_names[MODELS] = { "policy", "qemu", "kubevirt", "fixed" };

const char *const outcome_names[] = {
	[DONE] = "done", [STAYS] = "stays", [OVER] = "over",
};

/* The words of a line. */
struct words {
	const char *path;
	unsigned int line;
	char *next;
	bool bad;
};

static char *word(struct words *words)
{
	return strtok_r(NULL, " \t\n", &words->next);
}

static void complain(struct words *words, const char *what, const char *which)
{
	if (!words->bad)
		fprintf(stderr, "%s:%u: %s%s%s\n", words->path, words->line, what,
			which ? " " : "", which ? which : "");
	words->bad = true;
}

static uint64_t whole(struct words *words)
{
	char *text = word(words);
	uint64_t value = 0;

	if (!text || parse_size(text, &value))
		complain(words, "not a size:", text);
	return value;
}

static double size(struct words *words)
{
	return (double)whole(words);
}

static double seconds(struct words *words)
{
	char *text = word(words);
	uint64_t value = 0;

	if (!text || parse_time(text, &value))
		complain(words, "not a time:", text);
	return (double)value / NS_PER_S;
}

static size_t one_of(struct words *words, const char *const *names, size_t n)
{
	char *text = word(words);
	size_t i;

	for (i = 0; text && i < n; i++) {
		if (!strcmp(text, names[i]))
			return i;
	}
	complain(words, "unknown:", text);
	return 0;
}

static struct step *step_add(struct words *words, struct step *steps, size_t *n)
{
	if (*n == STEPS_MAX) {
		complain(words, "too many steps", NULL);
		return steps;
	}
	steps[*n] = (struct step){};
	return &steps[(*n)++];
}

static void take_link(struct scenario *scenario, struct words *words)
{
	struct step *step = step_add(words, scenario->world.links,
				     &scenario->world.n_links);
	char *text;

	step->value = size(words);
	text = word(words);
	if (text && !strcmp(text, "from"))
		step->from = seconds(words);
	else if (text)
		complain(words, "unknown:", text);
}

/* From when the rate is that was named last. */
static void take_then(struct writer *writer, struct words *words)
{
	if (writer->n_rates)
		writer->rates[writer->n_rates - 1].from = seconds(words);
	else
		complain(words, "then, and no rate before it", NULL);
}

static void take_writer(struct scenario *scenario, struct words *words)
{
	struct world *world = &scenario->world;
	struct writer *writer = &world->writers[world->n_writers];
	char *text;

	if (world->n_writers++ == WORLD_MAX - 1)
		complain(words, "too many writers", NULL);
	while (!words->bad && (text = word(words))) {
		if (!strcmp(text, "set"))
			writer->set = size(words);
		else if (!strcmp(text, "rate"))
			step_add(words, writer->rates, &writer->n_rates)->value =
				size(words);
		else if (!strcmp(text, "then"))
			take_then(writer, words);
		else if (!strcmp(text, "sweep"))
			writer->sweep = true;
		else if (!strcmp(text, "grow"))
			writer->grow = size(words);
		else if (!strcmp(text, "from"))
			writer->from = seconds(words);
		else if (!strcmp(text, "to"))
			writer->to = seconds(words);
		else if (!strcmp(text, "period"))
			writer->period = seconds(words);
		else if (!strcmp(text, "on"))
			writer->on = seconds(words);
		else
			complain(words, "unknown:", text);
	}
}

static void take_device(struct scenario *scenario, struct words *words)
{
	struct world *world = &scenario->world;
	struct device *device = &world->devices[world->n_devices];
	char *text = word(words);

	if (!text || world->n_devices++ == WORLD_MAX - 1) {
		complain(words, "too many devices, or no name", NULL);
		return;
	}
	snprintf(device->name, sizeof(device->name), "%s", text);
	while (!words->bad && (text = word(words))) {
		if (!strcmp(text, "initial"))
			device->initial = size(words);
		else if (!strcmp(text, "set"))
			device->set = size(words);
		else if (!strcmp(text, "rate"))
			device->rate = size(words);
		else if (!strcmp(text, "stop"))
			device->stop = size(words);
		else if (!strcmp(text, "reports"))
			device->report = whole(words);
		else if (!strcmp(text, "from"))
			device->report_from = seconds(words);
		else if (!strcmp(text, "to"))
			device->report_to = seconds(words);
		else if (!strcmp(text, "reinit"))
			device->reinit = size(words);
		else if (!strcmp(text, "at-stop"))
			device->at_stop = size(words);
		else if (!strcmp(text, "at"))
			device->reinit_at = seconds(words);
		else
			complain(words, "unknown:", text);
	}
}

static void take_allow(struct scenario *scenario, struct words *words)
{
	static const char *const names[] = { "throttle", "postcopy", "stop", "give-up" };
	char *text = words->next;

	while (!words->bad && text && strspn(text, " \t\n") != strlen(text)) {
		scenario->allowed.actions |= 1u << one_of(words, names, 4);
		text = words->next;
	}
	scenario->allowed.postcopy = scenario->allowed.actions & POLICY_ALLOW_POSTCOPY;
}

static void take_versus(struct scenario *scenario, struct words *words)
{
	struct expected *expected =
		&scenario->versus[one_of(words, model_names, MODELS)];

	expected->set = true;
	expected->versus = (enum versus)one_of(words, versus_names, 4);
	snprintf(expected->why, sizeof(expected->why), "%s",
		 words->next ? words->next : "");
	expected->why[strcspn(expected->why, "\n")] = '\0';
	if (expected->versus >= TRADE && !expected->why[0])
		complain(words, "without a reason", NULL);
	words->next = NULL;
}

static void take(struct scenario *scenario, const char *what, struct words *words)
{
	struct allowed *allowed = &scenario->allowed;

	if (!strcmp(what, "memory"))
		scenario->world.memory = size(words);
	else if (!strcmp(what, "bandwidth"))
		take_link(scenario, words);
	else if (!strcmp(what, "fixed"))
		scenario->world.fixed = seconds(words);
	else if (!strcmp(what, "writer"))
		take_writer(scenario, words);
	else if (!strcmp(what, "device"))
		take_device(scenario, words);
	else if (!strcmp(what, "downtime"))
		allowed->downtime = seconds(words);
	else if (!strcmp(what, "max-downtime"))
		allowed->max_downtime = seconds(words);
	else if (!strcmp(what, "timeout"))
		allowed->timeout = seconds(words);
	else if (!strcmp(what, "switchover-bandwidth"))
		allowed->bandwidth = size(words);
	else if (!strcmp(what, "allow"))
		take_allow(scenario, words);
	else if (!strcmp(what, "versus"))
		take_versus(scenario, words);
	else if (!strcmp(what, "expect"))
		scenario->expect = (enum outcome)one_of(words, outcome_names, 3);
	else
		complain(words, "unknown:", what);
	if (!strcmp(what, "expect"))
		scenario->expect_set = true;
}

static void name_of(char name[64], const char *path)
{
	const char *base = strrchr(path, '/');

	snprintf(name, 64, "%s", base ? base + 1 : path);
	name[strcspn(name, ".")] = '\0';
}

int scenario_read(struct scenario *scenario, const char *path)
{
	struct words words = { .path = path };
	char line[512], *first;
	FILE *file;

	*scenario = (struct scenario) { .allowed.downtime = 0.3 };
	name_of(scenario->name, path);
	file = fopen(path, "r");
	if (!file) {
		perror(path);
		return -1;
	}
	while (!words.bad && fgets(line, sizeof(line), file)) {
		words.line++;
		first = strtok_r(line, " \t\n", &words.next);
		if (!first || first[0] == '#')
			continue;
		take(scenario, first, &words);
		if (!words.bad && words.next && word(&words))
			complain(&words, "too many words", NULL);
	}
	fclose(file);
	if (!words.bad && (!scenario->world.n_links || !scenario->world.memory))
		complain(&words, "no memory or no bandwidth", NULL);
	return words.bad ? -1 : 0;
}
