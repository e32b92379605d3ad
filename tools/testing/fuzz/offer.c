// SPDX-License-Identifier: GPL-2.0-or-later
/* What a VMM says of its memory with its userfaultfd: first how much there is, in MiB. */
#include "fuzz.h"
#include "uffd/protocol.h"

static void check_regions(const struct uffd_offer *offer, uint64_t supply)
{
	uint64_t total = 0;
	size_t i;

	FUZZ_ASSERT(offer->n && offer->n <= UFFD_MAX_REGIONS);
	for (i = 0; i < offer->n; i++) {
		const struct uffd_region *r = &offer->regions[i];

		FUZZ_ASSERT(r->page_size && r->size && r->size % r->page_size == 0);
		FUZZ_ASSERT(r->offset <= supply && r->size <= supply - r->offset);
		FUZZ_ASSERT(r->start + r->size > r->start);
		/* Who faults there is found. */
		FUZZ_ASSERT(uffd_region_find(offer->regions, offer->n, r->start) == r);
		total += r->size;
	}
	FUZZ_ASSERT(total == supply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct uffd_offer offer;
	struct error err;
	uint64_t supply;

	if (!size)
		return 0;
	supply = (uint64_t)data[0] << 20;
	if (uffd_offer_parse(&offer, (const char *)data + 1, size - 1, supply, &err))
		FUZZ_ASSERT(err.message[0]);
	else
		check_regions(&offer, supply);
	FUZZ_ASSERT(offer.fd == -1);
	uffd_offer_free(&offer);
	return 0;
}
