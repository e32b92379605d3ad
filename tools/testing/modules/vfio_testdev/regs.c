// SPDX-License-Identifier: GPL-2.0-only
/* BAR 0: the registers that a guest sees, and that move with the device. */

#include "testdev.h"

#define REG(offset)	((offset) / sizeof(u32))

static bool testdev_reg_is_scratch(unsigned int reg)
{
	return reg >= TESTDEV_SCRATCH && reg < TESTDEV_SCRATCH_END;
}

static bool testdev_reg_is_writable(unsigned int reg)
{
	return testdev_reg_is_scratch(reg) ||
	       (reg >= TESTDEV_REG_DMA_CONTROL && reg < TESTDEV_REG_DMA_WRITTEN);
}

/* A value as the register takes it, wherever it comes from. */
static u32 testdev_reg_clean(unsigned int reg, u32 value)
{
	switch (reg) {
	case TESTDEV_REG_DMA_CONTROL:
		return value & TESTDEV_DMA_MASK;
	case TESTDEV_REG_DMA_IOVA:
	case TESTDEV_REG_DMA_LENGTH:
		return value & PAGE_MASK;
	case TESTDEV_REG_DMA_BYTES:
		return round_down(clamp_t(u32, value, 2 * sizeof(u64), PAGE_SIZE), sizeof(u64));
	default:
		return value;
	}
}

/* What the DMA writer has counted meanwhile. */
static void testdev_regs_refresh(struct testdev *dev)
{
	lockdep_assert_held(&dev->lock);
	mutex_lock(&dev->dma.lock);
	dev->regs[REG(TESTDEV_REG_DMA_WRITTEN)] = lower_32_bits(dev->dma.written);
	dev->regs[REG(TESTDEV_REG_DMA_WRITTEN) + 1] = upper_32_bits(dev->dma.written);
	dev->regs[REG(TESTDEV_REG_DMA_ERRORS)] = dev->dma.errors;
	mutex_unlock(&dev->dma.lock);
}

/* The other way round. */
static void testdev_regs_set_counts(struct testdev *dev)
{
	lockdep_assert_held(&dev->lock);
	/* It may be at it just now, by the registers that it had. */
	testdev_dma_quiesce(dev);
	mutex_lock(&dev->dma.lock);
	dev->dma.written = dev->regs[REG(TESTDEV_REG_DMA_WRITTEN)] |
			   (u64)dev->regs[REG(TESTDEV_REG_DMA_WRITTEN) + 1] << 32;
	dev->dma.errors = dev->regs[REG(TESTDEV_REG_DMA_ERRORS)];
	mutex_unlock(&dev->dma.lock);
	testdev_dma_update(dev);
}

void testdev_regs_reset(struct testdev *dev)
{
	lockdep_assert_held(&dev->lock);
	memset(dev->regs, 0, sizeof(dev->regs));
	dev->regs[REG(TESTDEV_REG_ID)] = TESTDEV_ID;
	dev->regs[REG(TESTDEV_REG_VERSION)] = TESTDEV_VERSION;
	dev->regs[REG(TESTDEV_REG_DMA_BYTES)] = PAGE_SIZE;
	testdev_regs_set_counts(dev);
}

void testdev_regs_read(struct testdev *dev, unsigned int offset, u8 *buf, size_t len)
{
	size_t i;

	lockdep_assert_held(&dev->lock);
	if (dev->state == VFIO_DEVICE_STATE_ERROR) {
		memset(buf, 0xff, len);
		return;
	}
	testdev_regs_refresh(dev);
	for (i = 0; i < len; i++, offset++)
		buf[i] = offset < sizeof(dev->regs) ? ((u8 *)dev->regs)[offset] : 0;
}

void testdev_regs_set(struct testdev *dev, unsigned int reg, u32 value)
{
	lockdep_assert_held(&dev->lock);
	if (!testdev_reg_is_writable(reg))
		return;
	dev->regs[REG(reg)] = testdev_reg_clean(reg, value);
	if (testdev_reg_is_scratch(reg))
		dev->regs[REG(TESTDEV_REG_WRITES)]++;
	else
		testdev_dma_update(dev);
}

/* By the guest. Once stopped, the device does not change. */
void testdev_regs_write(struct testdev *dev, unsigned int offset, const u8 *buf, size_t len)
{
	unsigned int in;
	size_t n;
	u32 value;

	lockdep_assert_held(&dev->lock);
	if (!testdev_state_runs(dev->state))
		return;
	for (; len && offset < sizeof(dev->regs); offset += n, buf += n, len -= n) {
		in = offset % sizeof(value);
		n = min(len, sizeof(value) - in);
		value = dev->regs[REG(offset)];
		memcpy((u8 *)&value + in, buf, n);
		testdev_regs_set(dev, offset - in, value);
	}
}

void testdev_regs_save(struct testdev *dev, u32 *regs)
{
	lockdep_assert_held(&dev->lock);
	testdev_regs_refresh(dev);
	memcpy(regs, dev->regs, sizeof(dev->regs));
}

void testdev_regs_load(struct testdev *dev, const u32 *regs)
{
	unsigned int i;

	lockdep_assert_held(&dev->lock);
	for (i = 0; i < TESTDEV_REGS; i++)
		dev->regs[i] = testdev_reg_clean(i * sizeof(u32), regs[i]);
	dev->regs[REG(TESTDEV_REG_ID)] = TESTDEV_ID;
	dev->regs[REG(TESTDEV_REG_VERSION)] = TESTDEV_VERSION;
	dev->regs[REG(TESTDEV_REG_LOADS)]++;
	testdev_regs_set_counts(dev);
}
