/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MIGTRACK_DMA_H
#define _MIGTRACK_DMA_H

#include <linux/refcount.h>
#include <linux/types.h>

struct genl_info;
struct migtrack_session;
struct migtrack_source;
struct mm_struct;

/**
 * struct migtrack_dma_range - memory as a device finds it
 * @iova: where, in bytes
 * @length: bytes
 * @source: of type ram, referenced
 * @offset: where it begins in what @source tracks, in bytes
 */
struct migtrack_dma_range {
	u64 iova;
	u64 length;
	struct migtrack_source *source;
	u64 offset;
};

/**
 * struct migtrack_dma_map - the memory that a device can write to
 *
 * Does not change. A source in it that is stopped has no memory any more: what is
 * written there is in none.
 *
 * @refs: references
 * @n: how many
 * @ranges: by their iova; they do not overlap, and none reaches the last byte
 */
struct migtrack_dma_map {
	refcount_t refs;
	unsigned int n;
	struct migtrack_dma_range ranges[] __counted_by(n);
};

/* For modules. */
struct migtrack_dma_map *migtrack_dma_map_get(struct migtrack_dma_map *map);
void migtrack_dma_map_put(struct migtrack_dma_map *map);
struct mm_struct *migtrack_dma_map_mm(const struct migtrack_dma_map *map);
u64 migtrack_dma_map_pages(const struct migtrack_dma_map *map);
unsigned long migtrack_dma_mark(const struct migtrack_dma_map *map, u64 iova,
				const unsigned long *bits, unsigned int n);
void migtrack_dma_mark_all(const struct migtrack_dma_map *map);

/* For netlink. */
int migtrack_dma_log_start(struct migtrack_session *session, struct genl_info *info);
int migtrack_dma_log_stop(struct migtrack_session *session, struct genl_info *info);

#endif /* _MIGTRACK_DMA_H */
