// SPDX-License-Identifier: GPL-2.0-only
/* What devices write by DMA: from their addresses to the bits of RAM sources. */

#include <linux/bitmap.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <net/genetlink.h>

#include "dma.h"
#include "netlink-gen.h"
#include "ram.h"
#include "session.h"
#include "source.h"

/* ---- maps ---- */

/**
 * migtrack_dma_map_get - take another reference
 * @map: the map
 *
 * Return: @map.
 */
struct migtrack_dma_map *migtrack_dma_map_get(struct migtrack_dma_map *map)
{
	refcount_inc(&map->refs);
	return map;
}
EXPORT_SYMBOL_GPL(migtrack_dma_map_get);

/**
 * migtrack_dma_map_put - drop a reference
 * @map: the map; may be NULL
 *
 * May sleep, and ends a session of which it has the last references.
 */
void migtrack_dma_map_put(struct migtrack_dma_map *map)
{
	unsigned int i;

	if (!map || !refcount_dec_and_test(&map->refs))
		return;
	for (i = 0; i < map->n; i++)
		if (map->ranges[i].source)
			migtrack_source_put(map->ranges[i].source);
	kfree(map);
}
EXPORT_SYMBOL_GPL(migtrack_dma_map_put);

/**
 * migtrack_dma_map_mm - an address space that has the memory of a map
 * @map: the map, of one range at the least
 *
 * Return: that of the VMM, which is there as long as @map; its memory may not be.
 */
struct mm_struct *migtrack_dma_map_mm(const struct migtrack_dma_map *map)
{
	return migtrack_ram_mm(map->ranges[0].source);
}
EXPORT_SYMBOL_GPL(migtrack_dma_map_mm);

/**
 * migtrack_dma_map_pages - how much memory is in a map?
 * @map: the map
 *
 * Return: pages.
 */
u64 migtrack_dma_map_pages(const struct migtrack_dma_map *map)
{
	unsigned int i;
	u64 n = 0;

	for (i = 0; i < map->n; i++)
		n += map->ranges[i].length >> PAGE_SHIFT;
	return n;
}
EXPORT_SYMBOL_GPL(migtrack_dma_map_pages);

/**
 * migtrack_dma_mark - a device wrote to pages
 * @map: where it finds them
 * @iova: what the first bit stands for; a multiple of the page size
 * @bits: the pages
 * @n: bits; what they stand for ends before the last byte
 *
 * Return: how many of them are in no source.
 */
unsigned long migtrack_dma_mark(const struct migtrack_dma_map *map, u64 iova,
				const unsigned long *bits, unsigned int n)
{
	unsigned long left = bitmap_weight(bits, n);
	u64 end = iova + ((u64)n << PAGE_SHIFT);
	unsigned int i;

	for (i = 0; i < map->n && left; i++) {
		const struct migtrack_dma_range *range = &map->ranges[i];
		u64 from = max(iova, range->iova);
		u64 to = min(end, range->iova + range->length);

		if (from >= to)
			continue;
		left -= migtrack_ram_mark(range->source,
					  (range->offset + (from - range->iova)) >> PAGE_SHIFT,
					  bits, (from - iova) >> PAGE_SHIFT,
					  (to - iova) >> PAGE_SHIFT);
	}
	return left;
}
EXPORT_SYMBOL_GPL(migtrack_dma_mark);

/**
 * migtrack_dma_mark_all - a device may have written to all of a map
 * @map: the map
 */
void migtrack_dma_mark_all(const struct migtrack_dma_map *map)
{
	unsigned int i;

	for (i = 0; i < map->n; i++)
		migtrack_ram_mark_range(map->ranges[i].source,
					map->ranges[i].offset >> PAGE_SHIFT,
					map->ranges[i].length >> PAGE_SHIFT);
}
EXPORT_SYMBOL_GPL(migtrack_dma_mark_all);

/* ---- what a request says ---- */

static int migtrack_dma_check_range(const struct migtrack_dma_range *range,
				    const struct nlattr *nla, struct netlink_ext_ack *extack)
{
	u64 end;

	if (!range->length || !PAGE_ALIGNED(range->iova) || !PAGE_ALIGNED(range->length) ||
	    !PAGE_ALIGNED(range->offset)) {
		NL_SET_ERR_MSG_ATTR(extack, nla,
				    "iova, length and offset are multiples of the page size, the length not 0");
		return -EINVAL;
	}
	if (check_add_overflow(range->iova, range->length, &end)) {
		NL_SET_ERR_MSG_ATTR(extack, nla, "a range reaches past the end of all addresses");
		return -EINVAL;
	}
	if (range->source->type != MIGTRACK_SOURCE_TYPE_RAM) {
		NL_SET_ERR_MSG_ATTR(extack, nla, "a dma-map is of memory, sources of type ram");
		return -EINVAL;
	}
	if (range->length > range->source->length ||
	    range->offset > range->source->length - range->length) {
		NL_SET_ERR_MSG_ATTR(extack, nla, "a range reaches past the end of its source");
		return -EINVAL;
	}
	return 0;
}

static int migtrack_dma_get_range(struct migtrack_dma_range *range,
				  struct migtrack_session *session,
				  const struct nlattr *nla, struct netlink_ext_ack *extack)
{
	struct nlattr *tb[MIGTRACK_A_DMA_RANGE_MAX + 1];
	struct migtrack_source *source;
	int err;

	err = nla_parse_nested(tb, MIGTRACK_A_DMA_RANGE_MAX, nla,
			       migtrack_dma_range_nl_policy, extack);
	if (err)
		return err;
	if (NL_REQ_ATTR_CHECK(extack, nla, tb, MIGTRACK_A_DMA_RANGE_IOVA) ||
	    NL_REQ_ATTR_CHECK(extack, nla, tb, MIGTRACK_A_DMA_RANGE_LENGTH) ||
	    NL_REQ_ATTR_CHECK(extack, nla, tb, MIGTRACK_A_DMA_RANGE_SOURCE_ID))
		return -EINVAL;

	source = migtrack_session_source(session,
					 nla_get_u32(tb[MIGTRACK_A_DMA_RANGE_SOURCE_ID]),
					 extack);
	if (IS_ERR(source))
		return PTR_ERR(source);
	refcount_inc(&source->refs);
	range->source = source;
	range->iova = nla_get_uint(tb[MIGTRACK_A_DMA_RANGE_IOVA]);
	range->length = nla_get_uint(tb[MIGTRACK_A_DMA_RANGE_LENGTH]);
	if (tb[MIGTRACK_A_DMA_RANGE_OFFSET])
		range->offset = nla_get_uint(tb[MIGTRACK_A_DMA_RANGE_OFFSET]);
	return migtrack_dma_check_range(range, nla, extack);
}

static int migtrack_dma_range_cmp(const void *a, const void *b)
{
	const struct migtrack_dma_range *x = a, *y = b;

	return x->iova < y->iova ? -1 : x->iova > y->iova;
}

static int migtrack_dma_map_order(struct migtrack_dma_map *map,
				  struct netlink_ext_ack *extack)
{
	unsigned int i;

	sort(map->ranges, map->n, sizeof(*map->ranges), migtrack_dma_range_cmp, NULL);
	for (i = 1; i < map->n; i++) {
		if (map->ranges[i].iova - map->ranges[i - 1].iova >= map->ranges[i - 1].length)
			continue;
		NL_SET_ERR_MSG(extack, "two ranges of the dma-map overlap");
		return -EINVAL;
	}
	return 0;
}

static int migtrack_dma_map_fill(struct migtrack_dma_map *map,
				 struct migtrack_session *session, struct genl_info *info)
{
	const struct nlattr *nla;
	unsigned int n = 0;
	int rem, err;

	nlmsg_for_each_attr(nla, info->nlhdr, GENL_HDRLEN, rem) {
		if (nla_type(nla) != MIGTRACK_A_SOURCE_DMA_MAP)
			continue;
		err = migtrack_dma_get_range(&map->ranges[n++], session, nla, info->extack);
		if (err)
			return err;
	}
	return migtrack_dma_map_order(map, info->extack);
}

static struct migtrack_dma_map *migtrack_dma_map_new(struct genl_info *info)
{
	struct migtrack_dma_map *map;
	const struct nlattr *nla;
	unsigned int n = 0;
	int rem;

	if (GENL_REQ_ATTR_CHECK(info, MIGTRACK_A_SOURCE_DMA_MAP))
		return ERR_PTR(-EINVAL);
	nlmsg_for_each_attr(nla, info->nlhdr, GENL_HDRLEN, rem)
		n += nla_type(nla) == MIGTRACK_A_SOURCE_DMA_MAP;
	if (n > MIGTRACK_MAX_DMA_RANGES) {
		NL_SET_ERR_MSG(info->extack, "too many ranges in the dma-map");
		return ERR_PTR(-E2BIG);
	}
	map = kzalloc(struct_size(map, ranges, n), GFP_KERNEL_ACCOUNT);
	if (!map)
		return ERR_PTR(-ENOMEM);
	refcount_set(&map->refs, 1);
	map->n = n;
	return map;
}

/* ---- commands ---- */

static struct migtrack_source *migtrack_dma_source(struct migtrack_session *session,
						   struct genl_info *info)
{
	struct migtrack_source *source;

	source = migtrack_session_source(session,
					 nla_get_u32(info->attrs[MIGTRACK_A_SOURCE_ID]),
					 info->extack);
	if (IS_ERR(source) || source->ops->log_start)
		return source;
	NL_SET_ERR_MSG(info->extack, "only a VFIO device has a DMA log");
	return ERR_PTR(-EINVAL);
}

/**
 * migtrack_dma_log_start - ask a source for its device's DMA log
 * @session: the session
 * @info: the request
 *
 * Return: 0; -EINVAL, -E2BIG, -ENODEV, -ENOENT, -ENOMEM, or what the source says.
 */
int migtrack_dma_log_start(struct migtrack_session *session, struct genl_info *info)
{
	struct migtrack_source *source;
	struct migtrack_dma_map *map;
	int err;

	if (GENL_REQ_ATTR_CHECK(info, MIGTRACK_A_SOURCE_ID))
		return -EINVAL;
	map = migtrack_dma_map_new(info);
	if (IS_ERR(map))
		return PTR_ERR(map);

	mutex_lock(&session->lock);
	err = migtrack_dma_map_fill(map, session, info);
	if (err)
		goto out;
	source = migtrack_dma_source(session, info);
	err = PTR_ERR_OR_ZERO(source);
	if (!err)
		err = source->ops->log_start(source, map, info->extack);
	/* Without memory the next sync publishes it. */
	if (!err)
		migtrack_session_changed(session, source);
out:
	mutex_unlock(&session->lock);
	migtrack_dma_map_put(map);
	return err;
}

/**
 * migtrack_dma_log_stop - do without the DMA log of a source's device
 * @session: the session
 * @info: the request
 *
 * Return: 0; -EINVAL, -ENODEV, or -ENOENT.
 */
int migtrack_dma_log_stop(struct migtrack_session *session, struct genl_info *info)
{
	struct migtrack_source *source;
	int err;

	if (GENL_REQ_ATTR_CHECK(info, MIGTRACK_A_SOURCE_ID))
		return -EINVAL;

	mutex_lock(&session->lock);
	source = migtrack_dma_source(session, info);
	err = PTR_ERR_OR_ZERO(source);
	if (!err)
		err = source->ops->log_stop(source, info->extack);
	if (!err)
		migtrack_session_changed(session, source);
	mutex_unlock(&session->lock);
	return err;
}
