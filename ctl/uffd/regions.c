// SPDX-License-Identifier: GPL-2.0-or-later
#include <inttypes.h>

#include "uffd/uffd.h"

#define BASE_PAGE	4096u
#define MAX_PAGE	(1ull << 30)
#define MAX_ADDRESS	(1ull << 56)

static int refuse(size_t index, const char *what, struct error *err)
{
	error_set(err, EXIT_PEER, "memory region %zu %s", index, what);
	return error_advise(err, "the VMM that sent it is broken, or has another guest than the snapshot");
}

static bool is_page_size(uint64_t size)
{
	return size >= BASE_PAGE && size <= MAX_PAGE && !(size & (size - 1));
}

static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

static int region_check(const struct uffd_region *regions, size_t index,
			uint64_t supply, struct error *err)
{
	const struct uffd_region *r = &regions[index], *other;

	if (!is_page_size(r->page_size))
		return refuse(index, "has an impossible page size", err);
	if (!r->size || r->size % r->page_size || r->start % r->page_size ||
	    r->offset % BASE_PAGE)
		return refuse(index, "is not made of whole pages", err);
	if (r->start > MAX_ADDRESS || r->size > MAX_ADDRESS - r->start)
		return refuse(index, "is outside of any address space", err);
	if (r->offset > supply || r->size > supply - r->offset)
		return refuse(index, "reaches past the end of the guest's memory", err);
	if (!r->modes || ((r->modes & UFFD_WRITE) && r->modes != UFFD_WRITE))
		return refuse(index, "is to be loaded and saved at once, or neither", err);
	if ((r->modes & UFFD_MINOR) && !r->alias)
		return refuse(index, "is to be mapped, and there is nothing to map", err);
	for (other = regions; other < r; other++) {
		if (overlap(r->start, r->size, other->start, other->size))
			return refuse(index, "overlaps with one before it", err);
		if (overlap(r->offset, r->size, other->offset, other->size))
			return refuse(index, "has the same memory as one before it", err);
	}
	return 0;
}

/**
 * uffd_regions_check() - refuse regions that can't be
 * @regions: as somebody sent them
 * @n: how many
 * @supply: bytes that there are to be had
 * @err: what is wrong with which one, EXIT_PEER
 *
 * Return: 0 or -1.
 */
int uffd_regions_check(const struct uffd_region *regions, size_t n,
		       uint64_t supply, struct error *err)
{
	size_t i;

	if (!n || n > UFFD_MAX_REGIONS)
		return error_set(err, EXIT_PEER, "%zu memory regions: there must be 1 to %u",
				 n, UFFD_MAX_REGIONS);
	for (i = 0; i < n; i++) {
		if (region_check(regions, i, supply, err))
			return -1;
	}
	return 0;
}

uint64_t uffd_regions_pages(const struct uffd_region *regions, size_t n)
{
	uint64_t pages = 0;
	size_t i;

	for (i = 0; i < n; i++)
		pages += regions[i].size / regions[i].page_size;
	return pages;
}

/* The region of an address, or NULL. */
const struct uffd_region *uffd_region_find(const struct uffd_region *regions,
					   size_t n, uint64_t address)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (address - regions[i].start < regions[i].size)
			return &regions[i];
	}
	return NULL;
}

/* The region of a page of the claims, or NULL. */
const struct uffd_region *uffd_region_of_page(const struct uffd_region *regions,
					      size_t n, uint64_t page)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (page - regions[i].first < regions[i].size / regions[i].page_size)
			return &regions[i];
	}
	return NULL;
}
