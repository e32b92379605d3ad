// SPDX-License-Identifier: GPL-2.0-only
/* PCI config space: a function without interrupts or capabilities, with one BAR. */

#include <linux/pci.h>
#include <linux/unaligned.h>

#include "testdev.h"

/* Bits that a guest may change. */
static const u8 testdev_config_writable[TESTDEV_CONFIG_SIZE] = {
	[PCI_COMMAND]		= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
				  PCI_COMMAND_PARITY,
	[PCI_COMMAND + 1]	= (PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE) >> 8,
	[PCI_CACHE_LINE_SIZE]	= 0xff,
	[PCI_LATENCY_TIMER]	= 0xff,
	[PCI_BASE_ADDRESS_0 + 1] = 0xff & (~(TESTDEV_BAR_SIZE - 1) >> 8),
	[PCI_BASE_ADDRESS_0 + 2] = 0xff,
	[PCI_BASE_ADDRESS_0 + 3] = 0xff,
	[PCI_INTERRUPT_LINE]	= 0xff,
};

void testdev_config_reset(struct testdev *dev)
{
	lockdep_assert_held(&dev->lock);
	memset(dev->config, 0, sizeof(dev->config));
	put_unaligned_le16(TESTDEV_VENDOR_ID, dev->config + PCI_VENDOR_ID);
	put_unaligned_le16(TESTDEV_DEVICE_ID, dev->config + PCI_DEVICE_ID);
	put_unaligned_le16(TESTDEV_VENDOR_ID, dev->config + PCI_SUBSYSTEM_VENDOR_ID);
	put_unaligned_le16(TESTDEV_DEVICE_ID, dev->config + PCI_SUBSYSTEM_ID);
	put_unaligned_le16(PCI_CLASS_SYSTEM_OTHER, dev->config + PCI_CLASS_DEVICE);
	dev->config[PCI_REVISION_ID] = TESTDEV_VERSION;
	dev->config[PCI_HEADER_TYPE] = PCI_HEADER_TYPE_NORMAL;
}

void testdev_config_read(struct testdev *dev, unsigned int offset, u8 *buf, size_t len)
{
	lockdep_assert_held(&dev->lock);
	memcpy(buf, dev->config + offset, len);
}

void testdev_config_write(struct testdev *dev, unsigned int offset, const u8 *buf, size_t len)
{
	size_t i;

	lockdep_assert_held(&dev->lock);
	for (i = 0; i < len; i++) {
		u8 mask = testdev_config_writable[offset + i];

		dev->config[offset + i] = (dev->config[offset + i] & ~mask) | (buf[i] & mask);
	}
	testdev_dma_update(dev);
}
