// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "uffd/protocol.h"
#include "unit.h"

#define MIB	(1ull << 20)

static const struct uffd_region two[] = {
	{ .start = 0x7f0000000000, .size = 64 * MIB, .page_size = 4096, .offset = 0,
	  .modes = UFFD_MISSING },
	{ .start = 0x7f0010000000, .size = 64 * MIB, .page_size = 2 * MIB,
	  .offset = 64 * MIB, .modes = UFFD_MISSING },
};

TEST(uffd_regions_accepted)
{
	struct uffd_region r[2];
	struct error err;

	memcpy(r, two, sizeof(r));
	CHECK(!uffd_regions_check(r, 2, 128 * MIB, &err));
	CHECK_EQ(uffd_regions_pages(r, 2), 64 * 256 + 32);
	r[1].first = 64 * 256;
	CHECK(uffd_region_find(r, 2, r[0].start) == &r[0]);
	CHECK(uffd_region_find(r, 2, r[0].start + r[0].size - 1) == &r[0]);
	CHECK(!uffd_region_find(r, 2, r[0].start + r[0].size));
	CHECK(!uffd_region_find(r, 2, r[0].start - 1));
	CHECK(uffd_region_of_page(r, 2, 64 * 256 - 1) == &r[0]);
	CHECK(uffd_region_of_page(r, 2, 64 * 256) == &r[1]);
	CHECK(!uffd_region_of_page(r, 2, 64 * 256 + 32));
}

/* The second one, with something wrong. */
static void refused(struct uffd_region wrong, const char *what)
{
	struct uffd_region r[2] = { two[0], wrong };
	struct error err;

	CHECK(uffd_regions_check(r, 2, 128 * MIB, &err));
	CHECK_EQ(err.code, EXIT_PEER);
	CHECK_HAS(err.message, what);
}

TEST(uffd_regions_refused)
{
	struct uffd_region r = two[1];
	struct error err;

	CHECK(uffd_regions_check(&r, 0, 128 * MIB, &err));
	CHECK(uffd_regions_check(&r, UFFD_MAX_REGIONS + 1, 128 * MIB, &err));
	r.page_size = 0;
	refused(r, "page size");
	r.page_size = 12288;
	refused(r, "page size");
	r.page_size = 1ull << 63;
	refused(r, "page size");
	r = two[1];
	r.size = 0;
	refused(r, "whole pages");
	r.size = 4096;
	refused(r, "whole pages");
	r = two[1];
	r.start += 4096;
	refused(r, "whole pages");
	r = two[1];
	r.offset += 1;
	refused(r, "whole pages");
	r.offset = 64 * MIB + 4096;
	refused(r, "past the end");
	r.offset = UINT64_MAX - 4095;
	refused(r, "past the end");
	r = two[1];
	r.size = UINT64_MAX - 2 * MIB + 1;
	refused(r, "address space");
	r = two[1];
	r.start = UINT64_MAX - 2 * MIB + 1;
	refused(r, "address space");
	r = two[1];
	r.start = two[0].start + 62 * MIB;
	refused(r, "overlaps");
	r = two[1];
	r.offset = 0;
	refused(r, "the same memory");
	r = two[1];
	r.modes = 0;
	refused(r, "neither");
	r.modes = UFFD_MINOR;
	refused(r, "nothing to map");
}

TEST(uffd_features_named)
{
	struct error err;

	uffd_features_explain(UFFD_FEATURE_MINOR_SHMEM, &err);
	CHECK_EQ(err.code, EXIT_UNUSABLE);
	CHECK_HAS(err.message, "minor faults in tmpfs");
	CHECK_HAS(err.advice, "Linux 5.14");
	uffd_features_explain(1ull << 60, &err);
	CHECK_HAS(err.message, "0x1000000000000000");
	uffd_open_explain(ENOSYS, ENOENT, &err);
	CHECK_HAS(err.advice, "CONFIG_USERFAULTFD");
	uffd_open_explain(EPERM, EACCES, &err);
	CHECK_EQ(err.code, EXIT_PERMISSION);
	CHECK_HAS(err.advice, "/dev/userfaultfd");
	uffd_open_explain(EPERM, ENOENT, &err);
	CHECK(!strstr(err.advice, "/dev/userfaultfd"));
	CHECK_HAS(err.advice, "unprivileged_userfaultfd");
}

#define CLAIMED	1000u

static void *claim_all(void *data)
{
	static unsigned int won;
	unsigned int i;

	for (i = 0; i < CLAIMED; i++) {
		if (uffd_claim(data, i))
			__atomic_fetch_add(&won, 1, __ATOMIC_RELAXED);
	}
	return &won;
}

TEST(uffd_claims_each_page_once)
{
	struct uffd_claims claims;
	pthread_t threads[4];
	struct error err;
	void *won = NULL;
	int i;

	CHECK(!uffd_claims_open(&claims, CLAIMED, true, &err));
	for (i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, claim_all, &claims);
	for (i = 0; i < 4; i++)
		pthread_join(threads[i], &won);
	CHECK_EQ(*(unsigned int *)won, CLAIMED);
	CHECK_EQ(uffd_claims_left(&claims), CLAIMED);
	uffd_claims_close(&claims);
}

TEST(uffd_claims_survive)
{
	struct uffd_claims claims;
	struct error err;

	CHECK(!uffd_claims_open(&claims, CLAIMED, true, &err));
	if (!fork()) {
		uffd_claim(&claims, 1);
		uffd_claim_done(&claims, 1);
		uffd_claim(&claims, 2);
		uffd_claim_record(&claims, 2);
		_exit(0);
	}
	wait(NULL);
	uffd_claims_recover(&claims);
	CHECK(!uffd_claim(&claims, 1));
	CHECK(uffd_claim(&claims, 2));
	CHECK_EQ(claims.stats->recorded, 1);
	CHECK_EQ(claims.order[0], 2);
	CHECK_EQ(uffd_claims_left(&claims), CLAIMED - 1);
	uffd_claims_close(&claims);
}

TEST(uffd_claims_removed)
{
	struct uffd_claims claims;
	struct error err;
	unsigned int i;

	CHECK(!uffd_claims_open(&claims, CLAIMED, false, &err));
	uffd_claim_remove(&claims, 7);
	uffd_claim_remove(&claims, 7);
	CHECK_EQ(claims.stats->removed, 1);
	CHECK(!uffd_claim(&claims, 7) && uffd_claim_is_done(&claims, 7));
	/* One that somebody is fetching is done when that one says so. */
	CHECK(uffd_claim(&claims, 8));
	uffd_claim_remove(&claims, 8);
	CHECK(!uffd_claim_is_done(&claims, 8) && uffd_claim_is_removed(&claims, 8));
	CHECK(uffd_claims_busy(&claims));
	uffd_claim_done(&claims, 8);
	CHECK(!uffd_claims_busy(&claims));
	/* Without an order nothing is recorded; with one, no more than there is. */
	uffd_claim_record(&claims, 3);
	CHECK_EQ(claims.stats->recorded, 0);
	uffd_claims_close(&claims);
	CHECK(!uffd_claims_open(&claims, 4, true, &err));
	for (i = 0; i < 10; i++)
		uffd_claim_record(&claims, i % 4);
	CHECK_EQ(claims.order[3], 3);
	uffd_claims_close(&claims);
}

static const char message[] =
	"[{\"base_host_virt_addr\":139637976727552,\"size\":67108864,\"offset\":0,\"page_size\":4096,\"page_size_kib\":4096},"
	"{\"base_host_virt_addr\":139638244900864,\"size\":67108864,\"offset\":67108864,\"page_size\":4096}]";

TEST(uffd_offer_understood)
{
	static const char old[] = "[{\"base_host_virt_addr\":2097152,\"size\":2097152,\"offset\":0,\"page_size_kib\":2097152}]";
	static const char kib[] = "[{\"base_host_virt_addr\":2097152,\"size\":2097152,\"offset\":0,\"page_size_kib\":2048}]";
	struct uffd_offer offer;
	struct error err;

	CHECK(!uffd_offer_parse(&offer, message, strlen(message), 128 * MIB, &err));
	CHECK_EQ(offer.n, 2);
	CHECK_EQ(offer.regions[1].offset, 64 * MIB);
	CHECK_EQ(offer.regions[1].page_size, 4096);
	uffd_offer_free(&offer);
	CHECK(!uffd_offer_parse(&offer, old, strlen(old), 2 * MIB, &err));
	CHECK_EQ(offer.regions[0].page_size, 2 * MIB);
	uffd_offer_free(&offer);
	CHECK(!uffd_offer_parse(&offer, kib, strlen(kib), 2 * MIB, &err));
	CHECK_EQ(offer.regions[0].page_size, 2 * MIB);
	uffd_offer_free(&offer);
	CHECK(uffd_offer_parse(&offer, message, strlen(message), 256 * MIB, &err));
	CHECK_HAS(err.message, "and the snapshot");
	uffd_offer_free(&offer);
}

TEST(uffd_offer_random)
{
	struct uffd_offer offer;
	struct error err;
	int i, good = 0;

	srandom(1);
	for (i = 0; i < 20000; i++) {
		char *copy = strdup(message);

		copy[(size_t)random() % strlen(message)] = (char)random();
		if (!(i % 3))
			copy[(size_t)random() % strlen(message)] = (char)('0' + random() % 10);
		if (!uffd_offer_parse(&offer, copy, sizeof(message) - 1, 128 * MIB, &err)) {
			good++;
			CHECK(offer.n == 2 &&
			      offer.regions[0].size + offer.regions[1].size == 128 * MIB);
		}
		uffd_offer_free(&offer);
		free(copy);
	}
	CHECK(good > 0);
}
