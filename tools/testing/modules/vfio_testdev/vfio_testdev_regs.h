/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a guest sees of the device: PCI ids and the registers of BAR 0, for the
 * driver, guests and tests. Registers have 32 bits. Those up to TESTDEV_SCRATCH_END
 * move with the device.
 */
#ifndef VFIO_TESTDEV_REGS_H
#define VFIO_TESTDEV_REGS_H

/* Nobody's. */
#define TESTDEV_VENDOR_ID	0x6d74
#define TESTDEV_DEVICE_ID	0x7664

#define TESTDEV_BAR_SIZE	0x1000

#define TESTDEV_REG_ID		0x00	/* ro: TESTDEV_ID */
#define TESTDEV_ID		0x6d747664
#define TESTDEV_REG_VERSION	0x04	/* ro */
#define TESTDEV_VERSION		1
#define TESTDEV_REG_LOADS	0x08	/* ro: how often its state came from a stream */
#define TESTDEV_REG_WRITES	0x0c	/* ro: how many writes the scratch area has had */

#define TESTDEV_REG_DMA_CONTROL	0x10
#define TESTDEV_DMA_ENABLE	0x1	/* it also needs PCI_COMMAND_MASTER */
#define TESTDEV_DMA_PIN		0x2	/* by pinned pages, not vfio_dma_rw() */
#define TESTDEV_DMA_RANDOM	0x4	/* pages in no order, not one after the other */
#define TESTDEV_DMA_MASK	0x7
#define TESTDEV_REG_DMA_RATE	0x14	/* writes a second */
#define TESTDEV_REG_DMA_IOVA	0x18	/* 64 bits, whole pages */
#define TESTDEV_REG_DMA_LENGTH	0x20	/* 64 bits, whole pages */
#define TESTDEV_REG_DMA_BYTES	0x28	/* of a write, from the page's start; 16 to 4096 */
#define TESTDEV_REG_DMA_LIMIT	0x2c	/* stop after so many writes, 0: never */
#define TESTDEV_REG_DMA_WRITTEN	0x30	/* ro, 64 bits: writes that were done */
#define TESTDEV_REG_DMA_ERRORS	0x38	/* ro: writes that could not be done */

#define TESTDEV_SCRATCH		0x400	/* read what was written */
#define TESTDEV_SCRATCH_END	0x800

/*
 * A write by DMA: the first 64-bit word is its number, counted from 1, the second
 * the page's IOVA, each further one is TESTDEV_DMA_WORD(number, index).
 */
#define TESTDEV_DMA_WORD(n, i)	(((n) + (i)) * 0x9e3779b97f4a7c15ULL ^ (n))

#endif
