// SPDX-License-Identifier: GPL-2.0-only
/* The knobs, as files in /sys/bus/mdev/devices/UUID/testdev. */

#include <linux/sysfs.h>

#include "stream.h"

/* Not those that only the kernel itself may see. */
#define TESTDEV_ERRNO_MAX	511

static struct testdev *testdev_of(struct device *device)
{
	return dev_get_drvdata(device);
}

static unsigned long testdev_var(struct device_attribute *attr)
{
	return (unsigned long)container_of(attr, struct dev_ext_attribute, attr)->var;
}

#define TESTDEV_ATTR(_name, _mode, _show, _store, _var)					\
	static struct dev_ext_attribute testdev_attr_##_name = {			\
		__ATTR(_name, _mode, _show, _store), (void *)(unsigned long)(_var)	\
	}

/* Sizes */

static u64 *testdev_size(struct testdev *dev, struct device_attribute *attr)
{
	return (u64 *)((u8 *)&dev->knobs.sizes + testdev_var(attr));
}

static ssize_t size_show(struct device *device, struct device_attribute *attr, char *buf)
{
	struct testdev *dev = testdev_of(device);
	u64 value;

	spin_lock(&dev->knobs.lock);
	value = *testdev_size(dev, attr);
	spin_unlock(&dev->knobs.lock);
	return sysfs_emit(buf, "%llu\n", value);
}

static ssize_t size_set(struct device *device, struct device_attribute *attr, const char *buf,
			size_t len, u64 max)
{
	struct testdev *dev = testdev_of(device);
	u64 value;
	int ret;

	ret = kstrtou64(buf, 0, &value);
	if (ret)
		return ret;
	if (value > max)
		return -ERANGE;
	spin_lock(&dev->knobs.lock);
	*testdev_size(dev, attr) = value;
	spin_unlock(&dev->knobs.lock);
	return len;
}

static ssize_t size_store(struct device *device, struct device_attribute *attr, const char *buf,
			  size_t len)
{
	return size_set(device, attr, buf, len, TESTDEV_SIZE_MAX);
}

static ssize_t rate_store(struct device *device, struct device_attribute *attr, const char *buf,
			  size_t len)
{
	return size_set(device, attr, buf, len, TESTDEV_RATE_MAX);
}

TESTDEV_ATTR(initial_bytes, 0644, size_show, size_store, offsetof(struct testdev_sizes, initial));
TESTDEV_ATTR(stop_bytes, 0644, size_show, size_store, offsetof(struct testdev_sizes, stop));
TESTDEV_ATTR(dirty_max, 0644, size_show, size_store, offsetof(struct testdev_sizes, dirty_max));
TESTDEV_ATTR(dirty_rate, 0644, size_show, rate_store, offsetof(struct testdev_sizes, dirty_rate));

static ssize_t seed_show(struct device *device, struct device_attribute *attr, char *buf)
{
	struct testdev *dev = testdev_of(device);
	u64 seed;

	spin_lock(&dev->knobs.lock);
	seed = dev->knobs.seed;
	spin_unlock(&dev->knobs.lock);
	return sysfs_emit(buf, "%llu\n", seed);
}

static ssize_t seed_store(struct device *device, struct device_attribute *attr, const char *buf,
			  size_t len)
{
	struct testdev *dev = testdev_of(device);
	u64 seed;
	int ret;

	ret = kstrtou64(buf, 0, &seed);
	if (ret)
		return ret;
	spin_lock(&dev->knobs.lock);
	dev->knobs.seed = seed;
	spin_unlock(&dev->knobs.lock);
	return len;
}

TESTDEV_ATTR(seed, 0644, seed_show, seed_store, 0);

static ssize_t reinit_store(struct device *device, struct device_attribute *attr, const char *buf,
			    size_t len)
{
	struct testdev *dev = testdev_of(device);
	u64 bytes;
	int ret;

	ret = kstrtou64(buf, 0, &bytes);
	if (ret)
		return ret;
	if (bytes > TESTDEV_SIZE_MAX)
		return -ERANGE;
	mutex_lock(&dev->lock);
	ret = testdev_stream_reinit(dev, bytes);
	mutex_unlock(&dev->lock);
	return ret ?: len;
}

TESTDEV_ATTR(reinit, 0200, NULL, reinit_store, 0);

/* What is reported */

static ssize_t report_show(struct device *device, struct device_attribute *attr, char *buf)
{
	struct testdev *dev = testdev_of(device);
	struct testdev_values values;

	spin_lock(&dev->knobs.lock);
	values = dev->knobs.report[testdev_var(attr)];
	spin_unlock(&dev->knobs.lock);
	return testdev_values_print(&values, buf);
}

static ssize_t report_store(struct device *device, struct device_attribute *attr, const char *buf,
			    size_t len)
{
	struct testdev *dev = testdev_of(device);
	struct testdev_values values;
	int ret;

	ret = testdev_values_parse(&values, buf);
	if (ret)
		return ret;
	spin_lock(&dev->knobs.lock);
	dev->knobs.report[testdev_var(attr)] = values;
	spin_unlock(&dev->knobs.lock);
	return len;
}

TESTDEV_ATTR(report_data_size, 0644, report_show, report_store, TESTDEV_REPORT_DATA_SIZE);
TESTDEV_ATTR(report_initial, 0644, report_show, report_store, TESTDEV_REPORT_INITIAL);
TESTDEV_ATTR(report_dirty, 0644, report_show, report_store, TESTDEV_REPORT_DIRTY);
TESTDEV_ATTR(report_state, 0644, report_show, report_store, TESTDEV_REPORT_STATE);

/* How calls behave */

static struct testdev_call_knob testdev_call_knob(struct device *device,
						  struct device_attribute *attr)
{
	struct testdev *dev = testdev_of(device);
	struct testdev_call_knob knob;

	spin_lock(&dev->knobs.lock);
	knob = dev->knobs.call[testdev_var(attr)];
	spin_unlock(&dev->knobs.lock);
	return knob;
}

static ssize_t errno_show(struct device *device, struct device_attribute *attr, char *buf)
{
	struct testdev_call_knob knob = testdev_call_knob(device, attr);

	return sysfs_emit(buf, "%u %u\n", knob.errno, knob.times);
}

static ssize_t errno_store(struct device *device, struct device_attribute *attr, const char *buf,
			   size_t len)
{
	struct testdev *dev = testdev_of(device);
	struct testdev_call_knob *knob = &dev->knobs.call[testdev_var(attr)];
	unsigned int errno, times = 0;

	if (sscanf(buf, "%u %u", &errno, &times) < 1)
		return -EINVAL;
	if (errno > TESTDEV_ERRNO_MAX)
		return -ERANGE;
	spin_lock(&dev->knobs.lock);
	knob->errno = errno;
	knob->times = times;
	spin_unlock(&dev->knobs.lock);
	return len;
}

static ssize_t delay_show(struct device *device, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", testdev_call_knob(device, attr).delay_ms);
}

static ssize_t delay_store(struct device *device, struct device_attribute *attr, const char *buf,
			   size_t len)
{
	struct testdev *dev = testdev_of(device);
	unsigned int ms;
	int ret;

	ret = kstrtouint(buf, 0, &ms);
	if (ret)
		return ret;
	spin_lock(&dev->knobs.lock);
	dev->knobs.call[testdev_var(attr)].delay_ms = ms;
	spin_unlock(&dev->knobs.lock);
	testdev_wake(dev);
	return len;
}

static ssize_t count_show(struct device *device, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", testdev_call_knob(device, attr).count);
}

TESTDEV_ATTR(errno_get_data_size, 0644, errno_show, errno_store, TESTDEV_GET_DATA_SIZE);
TESTDEV_ATTR(errno_precopy_info, 0644, errno_show, errno_store, TESTDEV_PRECOPY_INFO);
TESTDEV_ATTR(errno_read, 0644, errno_show, errno_store, TESTDEV_READ);
TESTDEV_ATTR(errno_write, 0644, errno_show, errno_store, TESTDEV_WRITE);
TESTDEV_ATTR(errno_set_state, 0644, errno_show, errno_store, TESTDEV_SET_STATE);
TESTDEV_ATTR(errno_get_state, 0644, errno_show, errno_store, TESTDEV_GET_STATE);
TESTDEV_ATTR(errno_reset, 0644, errno_show, errno_store, TESTDEV_RESET);
TESTDEV_ATTR(errno_log_start, 0644, errno_show, errno_store, TESTDEV_LOG_START);
TESTDEV_ATTR(errno_log_stop, 0644, errno_show, errno_store, TESTDEV_LOG_STOP);
TESTDEV_ATTR(errno_log_report, 0644, errno_show, errno_store, TESTDEV_LOG_REPORT);

TESTDEV_ATTR(delay_get_data_size, 0644, delay_show, delay_store, TESTDEV_GET_DATA_SIZE);
TESTDEV_ATTR(delay_precopy_info, 0644, delay_show, delay_store, TESTDEV_PRECOPY_INFO);
TESTDEV_ATTR(delay_read, 0644, delay_show, delay_store, TESTDEV_READ);
TESTDEV_ATTR(delay_write, 0644, delay_show, delay_store, TESTDEV_WRITE);
TESTDEV_ATTR(delay_set_state, 0644, delay_show, delay_store, TESTDEV_SET_STATE);
TESTDEV_ATTR(delay_get_state, 0644, delay_show, delay_store, TESTDEV_GET_STATE);
TESTDEV_ATTR(delay_reset, 0644, delay_show, delay_store, TESTDEV_RESET);
TESTDEV_ATTR(delay_log_start, 0644, delay_show, delay_store, TESTDEV_LOG_START);
TESTDEV_ATTR(delay_log_stop, 0644, delay_show, delay_store, TESTDEV_LOG_STOP);
TESTDEV_ATTR(delay_log_report, 0644, delay_show, delay_store, TESTDEV_LOG_REPORT);

TESTDEV_ATTR(count_get_data_size, 0444, count_show, NULL, TESTDEV_GET_DATA_SIZE);
TESTDEV_ATTR(count_precopy_info, 0444, count_show, NULL, TESTDEV_PRECOPY_INFO);
TESTDEV_ATTR(count_read, 0444, count_show, NULL, TESTDEV_READ);
TESTDEV_ATTR(count_write, 0444, count_show, NULL, TESTDEV_WRITE);
TESTDEV_ATTR(count_set_state, 0444, count_show, NULL, TESTDEV_SET_STATE);
TESTDEV_ATTR(count_get_state, 0444, count_show, NULL, TESTDEV_GET_STATE);
TESTDEV_ATTR(count_reset, 0444, count_show, NULL, TESTDEV_RESET);
TESTDEV_ATTR(count_log_start, 0444, count_show, NULL, TESTDEV_LOG_START);
TESTDEV_ATTR(count_log_stop, 0444, count_show, NULL, TESTDEV_LOG_STOP);
TESTDEV_ATTR(count_log_report, 0444, count_show, NULL, TESTDEV_LOG_REPORT);

static ssize_t error_state_show(struct device *device, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", READ_ONCE(testdev_of(device)->knobs.error_state));
}

static ssize_t error_state_store(struct device *device, struct device_attribute *attr,
				 const char *buf, size_t len)
{
	struct testdev *dev = testdev_of(device);
	bool value;
	int ret;

	ret = kstrtobool(buf, &value);
	if (ret)
		return ret;
	spin_lock(&dev->knobs.lock);
	dev->knobs.error_state = value;
	spin_unlock(&dev->knobs.lock);
	return len;
}

TESTDEV_ATTR(error_state, 0644, error_state_show, error_state_store, 0);

/* The device itself */

static ssize_t state_show(struct device *device, struct device_attribute *attr, char *buf)
{
	struct testdev *dev = testdev_of(device);
	enum vfio_device_mig_state state;

	mutex_lock(&dev->lock);
	state = dev->state;
	mutex_unlock(&dev->lock);
	return sysfs_emit(buf, "%s\n", testdev_state_name(state));
}

TESTDEV_ATTR(state, 0444, state_show, NULL, 0);

static ssize_t log_show(struct device *device, struct device_attribute *attr, char *buf)
{
	return testdev_log_print(testdev_of(device), buf);
}

TESTDEV_ATTR(log, 0444, log_show, NULL, 0);

/* Registers, as a guest sets them; in ERROR they can't be read. */
static ssize_t reg_show(struct device *device, struct device_attribute *attr, char *buf)
{
	struct testdev *dev = testdev_of(device);
	u32 value;

	mutex_lock(&dev->lock);
	testdev_regs_read(dev, testdev_var(attr), (u8 *)&value, sizeof(value));
	mutex_unlock(&dev->lock);
	return sysfs_emit(buf, "%u\n", value);
}

static ssize_t reg64_show(struct device *device, struct device_attribute *attr, char *buf)
{
	struct testdev *dev = testdev_of(device);
	u64 value;

	mutex_lock(&dev->lock);
	testdev_regs_read(dev, testdev_var(attr), (u8 *)&value, sizeof(value));
	mutex_unlock(&dev->lock);
	return sysfs_emit(buf, "%llu\n", value);
}

/* Once stopped, the device does not change. */
static ssize_t reg_set(struct device *device, struct device_attribute *attr, u64 value,
		       size_t width, size_t len)
{
	struct testdev *dev = testdev_of(device);
	ssize_t ret = len;

	mutex_lock(&dev->lock);
	if (testdev_state_runs(dev->state))
		testdev_regs_write(dev, testdev_var(attr), (u8 *)&value, width);
	else
		ret = -EBUSY;
	mutex_unlock(&dev->lock);
	return ret;
}

static ssize_t reg_store(struct device *device, struct device_attribute *attr, const char *buf,
			 size_t len)
{
	u32 value;
	int ret;

	ret = kstrtou32(buf, 0, &value);
	if (ret)
		return ret;
	return reg_set(device, attr, value, sizeof(value), len);
}

static ssize_t reg64_store(struct device *device, struct device_attribute *attr, const char *buf,
			   size_t len)
{
	u64 value;
	int ret;

	ret = kstrtou64(buf, 0, &value);
	if (ret)
		return ret;
	return reg_set(device, attr, value, sizeof(value), len);
}

TESTDEV_ATTR(dma_control, 0644, reg_show, reg_store, TESTDEV_REG_DMA_CONTROL);
TESTDEV_ATTR(dma_rate, 0644, reg_show, reg_store, TESTDEV_REG_DMA_RATE);
TESTDEV_ATTR(dma_iova, 0644, reg64_show, reg64_store, TESTDEV_REG_DMA_IOVA);
TESTDEV_ATTR(dma_length, 0644, reg64_show, reg64_store, TESTDEV_REG_DMA_LENGTH);
TESTDEV_ATTR(dma_bytes, 0644, reg_show, reg_store, TESTDEV_REG_DMA_BYTES);
TESTDEV_ATTR(dma_limit, 0644, reg_show, reg_store, TESTDEV_REG_DMA_LIMIT);
TESTDEV_ATTR(dma_written, 0444, reg64_show, NULL, TESTDEV_REG_DMA_WRITTEN);
TESTDEV_ATTR(dma_errors, 0444, reg_show, NULL, TESTDEV_REG_DMA_ERRORS);
TESTDEV_ATTR(loads, 0444, reg_show, NULL, TESTDEV_REG_LOADS);

#define TESTDEV_ENTRY(_name)	(&testdev_attr_##_name.attr.attr)

static struct attribute *testdev_attrs[] = {
	TESTDEV_ENTRY(initial_bytes),
	TESTDEV_ENTRY(stop_bytes),
	TESTDEV_ENTRY(dirty_rate),
	TESTDEV_ENTRY(dirty_max),
	TESTDEV_ENTRY(seed),
	TESTDEV_ENTRY(reinit),
	TESTDEV_ENTRY(report_data_size),
	TESTDEV_ENTRY(report_initial),
	TESTDEV_ENTRY(report_dirty),
	TESTDEV_ENTRY(report_state),
	TESTDEV_ENTRY(errno_get_data_size),
	TESTDEV_ENTRY(errno_precopy_info),
	TESTDEV_ENTRY(errno_read),
	TESTDEV_ENTRY(errno_write),
	TESTDEV_ENTRY(errno_set_state),
	TESTDEV_ENTRY(errno_get_state),
	TESTDEV_ENTRY(errno_reset),
	TESTDEV_ENTRY(errno_log_start),
	TESTDEV_ENTRY(errno_log_stop),
	TESTDEV_ENTRY(errno_log_report),
	TESTDEV_ENTRY(delay_get_data_size),
	TESTDEV_ENTRY(delay_precopy_info),
	TESTDEV_ENTRY(delay_read),
	TESTDEV_ENTRY(delay_write),
	TESTDEV_ENTRY(delay_set_state),
	TESTDEV_ENTRY(delay_get_state),
	TESTDEV_ENTRY(delay_reset),
	TESTDEV_ENTRY(delay_log_start),
	TESTDEV_ENTRY(delay_log_stop),
	TESTDEV_ENTRY(delay_log_report),
	TESTDEV_ENTRY(count_get_data_size),
	TESTDEV_ENTRY(count_precopy_info),
	TESTDEV_ENTRY(count_read),
	TESTDEV_ENTRY(count_write),
	TESTDEV_ENTRY(count_set_state),
	TESTDEV_ENTRY(count_get_state),
	TESTDEV_ENTRY(count_reset),
	TESTDEV_ENTRY(count_log_start),
	TESTDEV_ENTRY(count_log_stop),
	TESTDEV_ENTRY(count_log_report),
	TESTDEV_ENTRY(error_state),
	TESTDEV_ENTRY(state),
	TESTDEV_ENTRY(loads),
	TESTDEV_ENTRY(log),
	TESTDEV_ENTRY(dma_control),
	TESTDEV_ENTRY(dma_rate),
	TESTDEV_ENTRY(dma_iova),
	TESTDEV_ENTRY(dma_length),
	TESTDEV_ENTRY(dma_bytes),
	TESTDEV_ENTRY(dma_limit),
	TESTDEV_ENTRY(dma_written),
	TESTDEV_ENTRY(dma_errors),
	NULL
};

static const struct attribute_group testdev_group = {
	.name	= "testdev",
	.attrs	= testdev_attrs,
};

const struct attribute_group *testdev_groups[] = {
	&testdev_group,
	NULL
};
