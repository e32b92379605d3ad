// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/descriptors.h"
#include "uffd/protocol.h"

#define MAX_MESSAGE	(64u << 10)

static int refuse(const char *what, struct error *err)
{
	error_set(err, EXIT_PEER, "what the VMM sent can't be understood: %s", what);
	return error_advise(err, "it is to be an array of memory regions in JSON, and one userfaultfd, as Firecracker sends them");
}

static int number(const json_t *region, const char *key, uint64_t *value)
{
	const json_t *json = json_object_get(region, key);

	if (!json_is_integer(json) || json_integer_value(json) < 0)
		return -1;
	*value = (uint64_t)json_integer_value(json);
	return 0;
}

/* The older name says KiB, and what is sent under it has always been bytes. */
static int page_size(const json_t *region, uint64_t *size)
{
	if (!number(region, "page_size", size))
		return 0;
	if (number(region, "page_size_kib", size))
		return -1;
	if (*size < 4096)
		*size *= 1024;
	return 0;
}

/**
 * uffd_region_parse() - one region of what a VMM sent
 * @region: filled, but nothing is checked
 * @json: it
 * @modes: UFFD_*, what is to be handled
 *
 * Return: 0, or -1 if something is missing.
 */
int uffd_region_parse(struct uffd_region *region, const json_t *json, unsigned int modes)
{
	*region = (struct uffd_region) { .modes = modes };
	return number(json, "base_host_virt_addr", &region->start) ||
	       number(json, "size", &region->size) ||
	       number(json, "offset", &region->offset) ||
	       page_size(json, &region->page_size) ? -1 : 0;
}

static int sizes_check(const struct uffd_offer *offer, uint64_t supply,
		       struct error *err)
{
	uint64_t total = 0;
	size_t i;

	/* None is larger than all there is: the sum can't wrap. */
	for (i = 0; i < offer->n; i++)
		total += offer->regions[i].size;
	if (total == supply)
		return 0;
	error_set(err, EXIT_PEER, "the VMM has %llu bytes of memory, and the snapshot %llu",
		  (unsigned long long)total, (unsigned long long)supply);
	return error_advise(err, "start it with the guest's own state and memory size");
}

/**
 * uffd_offer_parse() - the regions of a message that may say anything
 * @offer: filled, but for its descriptor; to be freed, also after a failure
 * @text: the message
 * @length: bytes
 * @supply: bytes of memory that there are: the regions are all of it, each once
 * @err: why it is refused
 *
 * Return: 0 or -1.
 */
int uffd_offer_parse(struct uffd_offer *offer, const char *text, size_t length,
		     uint64_t supply, struct error *err)
{
	json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL), *entry;
	size_t i, n = json_array_size(json);
	int ret = 0;

	*offer = (struct uffd_offer) { .fd = -1 };
	if (!json_is_array(json))
		ret = refuse("it is no array", err);
	else if (!n || n > UFFD_MAX_REGIONS)
		ret = refuse("the number of regions is impossible", err);
	if (!ret) {
		offer->regions = calloc(n, sizeof(*offer->regions));
		if (!offer->regions)
			ret = error_set(err, EXIT_FAILED, "out of memory");
	}
	for (i = 0; !ret && i < n; i++) {
		entry = json_array_get(json, i);
		if (uffd_region_parse(&offer->regions[i], entry, UFFD_MISSING))
			ret = refuse("a region needs base_host_virt_addr, size, offset and page_size", err);
		offer->n++;
	}
	json_decref(json);
	if (ret || uffd_regions_check(offer->regions, offer->n, supply, err))
		return -1;
	return sizes_check(offer, supply, err);
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* One message; it may come in parts. */
static int message_receive(int socket, char *text, size_t *length, int *fds, size_t *n,
			   int timeout_ms, struct error *err)
{
	int64_t end = now_ms() + timeout_ms, left;
	struct pollfd pollfd = { .fd = socket, .events = POLLIN };
	json_t *json;
	ssize_t got;

	*length = *n = 0;
	do {
		left = end - now_ms();
		if (left <= 0 || poll(&pollfd, 1, (int)left) == 0)
			return error_set(err, EXIT_PEER,
					 "the VMM did not send its memory regions in time");
		got = descriptors_receive(socket, text + *length, MAX_MESSAGE - *length,
					  fds, n);
		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got < 0 && errno == E2BIG)
			return refuse("too many descriptors", err);
		if (got <= 0)
			return error_set(err, EXIT_PEER, "the VMM closed the connection");
		*length += (size_t)got;
		if (*length == MAX_MESSAGE)
			return refuse("it is too long", err);
		json = json_loadb(text, *length, 0, NULL);
	} while (got < 0 || !json);
	json_decref(json);
	return 0;
}

/**
 * uffd_offer_receive() - take a VMM's userfaultfd and regions
 * @offer: filled; to be freed, also after a failure
 * @socket: to it
 * @supply: bytes of memory that there are
 * @timeout_ms: it has to send them within this time
 * @err: why they are refused
 *
 * Return: 0 or -1.
 */
int uffd_offer_receive(struct uffd_offer *offer, int socket, uint64_t supply,
		       int timeout_ms, struct error *err)
{
	char *text = malloc(MAX_MESSAGE);
	size_t length, n = 0, i;
	int fds[DESCRIPTORS_MAX], ret;

	*offer = (struct uffd_offer) { .fd = -1 };
	if (!text)
		return error_set(err, EXIT_FAILED, "out of memory");
	ret = message_receive(socket, text, &length, fds, &n, timeout_ms, err);
	if (!ret)
		ret = uffd_offer_parse(offer, text, length, supply, err);
	if (!ret && n != 1)
		ret = refuse(n ? "more than one descriptor" : "no userfaultfd", err);
	if (!ret)
		ret = uffd_adopt(fds[0], err);
	for (i = 0; i < n; i++) {
		if (!ret && !i)
			offer->fd = fds[0];
		else
			close(fds[i]);
	}
	free(text);
	return ret;
}

void uffd_offer_free(struct uffd_offer *offer)
{
	if (offer->fd >= 0)
		close(offer->fd);
	free(offer->regions);
	*offer = (struct uffd_offer) { .fd = -1 };
}
