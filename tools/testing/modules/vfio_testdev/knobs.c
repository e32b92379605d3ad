// SPDX-License-Identifier: GPL-2.0-only
/* What the device is told to do: sizes, and numbers that are not true. */

#include <linux/random.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "testdev.h"

#define TESTDEV_INITIAL	SZ_1M
#define TESTDEV_STOP	SZ_1M

void testdev_knobs_init(struct testdev *dev)
{
	spin_lock_init(&dev->knobs.lock);
	dev->knobs.sizes.initial = TESTDEV_INITIAL;
	dev->knobs.sizes.stop = TESTDEV_STOP;
}

struct testdev_sizes testdev_sizes(struct testdev *dev)
{
	struct testdev_sizes sizes;

	spin_lock(&dev->knobs.lock);
	sizes = dev->knobs.sizes;
	spin_unlock(&dev->knobs.lock);
	return sizes;
}

u64 testdev_seed(struct testdev *dev)
{
	u64 seed;

	spin_lock(&dev->knobs.lock);
	seed = dev->knobs.seed;
	spin_unlock(&dev->knobs.lock);
	return seed ?: get_random_u64();
}

/* What the knob says instead of what is real. */
u64 testdev_reported(struct testdev *dev, enum testdev_report report, u64 real)
{
	struct testdev_values *values = &dev->knobs.report[report];
	struct testdev_value value = {};

	spin_lock(&dev->knobs.lock);
	if (values->n) {
		value = values->value[values->next];
		values->next = (values->next + 1) % values->n;
	}
	spin_unlock(&dev->knobs.lock);

	switch (value.kind) {
	case TESTDEV_VALUE_RANDOM:
		return get_random_u64();
	case TESTDEV_VALUE_NUMBER:
		return value.number;
	default:
		return real;
	}
}

static int testdev_value_parse(struct testdev_value *value, const char *word)
{
	bool negative = *word == '-';
	int ret;

	if (!strcmp(word, "real")) {
		value->kind = TESTDEV_VALUE_REAL;
		return 0;
	}
	if (!strcmp(word, "random")) {
		value->kind = TESTDEV_VALUE_RANDOM;
		return 0;
	}
	value->kind = TESTDEV_VALUE_NUMBER;
	ret = kstrtou64(word + negative, 0, &value->number);
	if (ret)
		return ret;
	if (negative)
		value->number = -value->number;
	return 0;
}

/* "real", "random", numbers, of which negative ones wrap around: in turn. */
int testdev_values_parse(struct testdev_values *values, const char *buf)
{
	char *copy, *rest, *word;
	int ret = 0;

	copy = kstrdup(buf, GFP_KERNEL);
	if (!copy)
		return -ENOMEM;
	memset(values, 0, sizeof(*values));
	rest = copy;
	while (!ret && (word = strsep(&rest, " \t\n"))) {
		if (!*word)
			continue;
		if (values->n == TESTDEV_VALUES)
			ret = -E2BIG;
		else
			ret = testdev_value_parse(&values->value[values->n++], word);
	}
	if (!ret && !values->n)
		ret = -EINVAL;
	kfree(copy);
	return ret;
}

ssize_t testdev_values_print(const struct testdev_values *values, char *buf)
{
	ssize_t len = 0;
	unsigned int i;

	if (!values->n)
		return sysfs_emit(buf, "real\n");
	for (i = 0; i < values->n; i++) {
		const struct testdev_value *value = &values->value[i];
		const char *end = i + 1 < values->n ? " " : "\n";

		if (value->kind == TESTDEV_VALUE_NUMBER)
			len += sysfs_emit_at(buf, len, "%llu%s", value->number, end);
		else
			len += sysfs_emit_at(buf, len, "%s%s", value->kind == TESTDEV_VALUE_REAL ?
					     "real" : "random", end);
	}
	return len;
}
