// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The kernel's vhost-net: we are the guest's driver of its receive queue. What
 * is sent into the tap comes out in the buffers, and the used ring, which is in
 * the memory as well, says so.
 */

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "oracle.h"
#include "writer.h"

#define QUEUE		32
#define FRAME		64		/* with the stamp at its end */
#define BUFFER		(sizeof(struct virtio_net_hdr_v1) + FRAME)
#define MEMORY_GPA	0ULL
#define RINGS_GPA	(1ULL << 40)
#define RINGS_SIZE	(4 * GUEST_PAGE)
#define MAX_FRAMES	10000	/* in an iteration */
/* In the memory, between the stamps of a page. */
#define USED_PLACE	(5ULL * GUEST_PAGE + 7 * STAMP_SECTOR)

struct vhost_writer {
	int vhost, tap, packet, kick;
	struct sockaddr_ll to;
	char *rings;			/* not in the memory that is tracked */
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;	/* by the view: we only read it */
	uint16_t sent;
	uint16_t used_before;		/* a sync: the index that it must report */
};

_Static_assert(BUFFER <= STAMP_SECTOR, "a frame fits between two stamps");
_Static_assert(sizeof(struct vring_used) + QUEUE * sizeof(struct vring_used_elem) <=
	       STAMP_OFFSET, "so does the used ring");

/* In a network of its own, where nobody else sends into the tap. */
static void tap_open(struct vhost_writer *v)
{
	struct ifreq ifr = { .ifr_name = "tap0",
			     .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int header = sizeof(struct virtio_net_hdr_v1), fd;

	if (unshare(CLONE_NEWNET))
		err(1, "CLONE_NEWNET");
	fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY);
	if (fd >= 0 && write(fd, "1", 1) != 1)
		err(1, "disable_ipv6");
	close(fd);

	v->tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (v->tap < 0 || ioctl(v->tap, TUNSETIFF, &ifr) ||
	    ioctl(v->tap, TUNSETVNETHDRSZ, &header))
		err(1, "the tap");
	v->packet = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (v->packet < 0)
		err(1, "AF_PACKET");
	ifr.ifr_flags = IFF_UP | IFF_NOARP;
	if (ioctl(v->packet, SIOCSIFFLAGS, &ifr) || ioctl(v->packet, SIOCGIFINDEX, &ifr))
		err(1, "bringing the tap up");
	v->to.sll_family = AF_PACKET;
	v->to.sll_ifindex = ifr.ifr_ifindex;
	v->to.sll_halen = ETH_ALEN;
}

static void vhost_memory(struct writer *w)
{
	struct vhost_writer *v = w->private;
	struct {
		struct vhost_memory header;
		struct vhost_memory_region regions[2];
	} memory = {
		.header.nregions = 2,
		.regions[0] = {
			.guest_phys_addr = MEMORY_GPA,
			.memory_size = w->oracle->size,
			.userspace_addr = (uintptr_t)w->memory,
		},
		.regions[1] = {
			.guest_phys_addr = RINGS_GPA,
			.memory_size = RINGS_SIZE,
			.userspace_addr = (uintptr_t)v->rings,
		},
	};

	if (ioctl(v->vhost, VHOST_SET_MEM_TABLE, &memory))
		err(1, "VHOST_SET_MEM_TABLE");
}

static void vhost_ring(struct writer *w)
{
	struct vhost_writer *v = w->private;
	struct vhost_vring_state size = { .num = QUEUE }, base = { .num = 0 };
	struct vhost_vring_addr addr = {
		.desc_user_addr = (uintptr_t)v->desc,
		.avail_user_addr = (uintptr_t)v->avail,
		.used_user_addr = (uintptr_t)w->memory + USED_PLACE,
	};
	struct vhost_vring_file kick = { .fd = v->kick }, backend = { .fd = v->tap };

	if (ioctl(v->vhost, VHOST_SET_VRING_NUM, &size) ||
	    ioctl(v->vhost, VHOST_SET_VRING_BASE, &base) ||
	    ioctl(v->vhost, VHOST_SET_VRING_ADDR, &addr) ||
	    ioctl(v->vhost, VHOST_SET_VRING_KICK, &kick) ||
	    ioctl(v->vhost, VHOST_NET_SET_BACKEND, &backend))
		err(1, "setting up vhost-net's queue");
}

static void vhost_open(struct writer *w)
{
	uint64_t features = 1ULL << VIRTIO_F_VERSION_1;
	struct vhost_writer *v = calloc(1, sizeof(*v));

	w->private = v;
	if (system("modprobe -a tun vhost_net"))
		errx(1, "no module tun or vhost_net");
	tap_open(v);
	v->rings = mmap(NULL, RINGS_SIZE, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	v->kick = eventfd(0, EFD_CLOEXEC);
	v->vhost = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);
	if (v->rings == MAP_FAILED || v->kick < 0 || v->vhost < 0)
		err(1, "vhost-net");
	v->desc = (void *)v->rings;
	v->avail = (void *)(v->rings + GUEST_PAGE);
	v->used = (void *)(w->oracle->view + USED_PLACE);
	if (ioctl(v->vhost, VHOST_SET_OWNER) ||
	    ioctl(v->vhost, VHOST_SET_FEATURES, &features))
		err(1, "vhost-net");
	vhost_memory(w);
	vhost_ring(w);
}

static uint16_t vhost_used(const struct vhost_writer *v)
{
	return __atomic_load_n(&v->used->idx, __ATOMIC_ACQUIRE);
}

/* Offer a buffer in a random page, and send what is to come into it. */
static void vhost_send(struct writer *w, uint64_t iteration)
{
	struct vhost_writer *v = w->private;
	struct stamper *stamper = w->stampers[0];
	uint64_t page = stamp_random_page(&stamper->random, w->oracle->npages);
	uint64_t stamp = stamp_make(iteration, ++stamper->count);
	unsigned int i = v->sent % QUEUE;
	char frame[FRAME] = { 0 };
	uint64_t one = 1;

	w->last[0][page] = stamp;

	v->desc[i].addr = MEMORY_GPA + stamp_place(page, w->slot) + sizeof(stamp) - BUFFER;
	v->desc[i].len = BUFFER;
	v->desc[i].flags = VRING_DESC_F_WRITE;
	v->avail->ring[i] = i;
	__atomic_store_n(&v->avail->idx, ++v->sent, __ATOMIC_SEQ_CST);
	if (!(__atomic_load_n(&v->used->flags, __ATOMIC_SEQ_CST) & VRING_USED_F_NO_NOTIFY) &&
	    write(v->kick, &one, sizeof(one)) != sizeof(one))
		err(1, "kicking vhost-net");

	memset(frame, 0xff, ETH_ALEN);
	frame[12] = 0x88;		/* an ethertype for experiments */
	frame[13] = 0xb5;
	memcpy(frame + FRAME - sizeof(stamp), &stamp, sizeof(stamp));
	while (sendto(v->packet, frame, FRAME, 0, (void *)&v->to, sizeof(v->to)) != FRAME)
		if (errno != ENOBUFS && errno != EAGAIN)
			err(1, "sending into the tap");
}

/*
 * Some frames are under way at any time; all of them have come before an older
 * iteration is done with.
 */
static void vhost_run(struct writer *w, unsigned int slot)
{
	struct vhost_writer *v = w->private;
	unsigned int frames = 0;
	uint64_t iteration = 0;

	(void)slot;
	while (!w->control->stop) {
		if (w->control->iteration != iteration) {
			uint64_t next = w->control->iteration;

			while (vhost_used(v) != v->sent)
				sched_yield();
			iteration = next;
			__atomic_store_n(&w->stampers[0]->seen, iteration,
					 __ATOMIC_SEQ_CST);
			frames = 0;
		}
		/* The used index of a long sync must still tell before from after. */
		if (frames == MAX_FRAMES) {
			sched_yield();
			continue;
		}
		frames++;
		while ((uint16_t)(v->sent - vhost_used(v)) >= QUEUE / 2)
			sched_yield();
		vhost_send(w, iteration);
	}
	while (vhost_used(v) != v->sent)
		sched_yield();
}

static void vhost_start(struct writer *w)
{
	vhost_open(w);
	writer_start_threads(w);
}

static void vhost_next(struct writer *w)
{
	struct vhost_writer *v = w->private;

	v->used_before = vhost_used(v);
}

/* The used ring's index must be as new as it was before the sync. */
static size_t vhost_check(struct writer *w)
{
	const struct vring_used *copy = (void *)(w->oracle->copy + USED_PLACE);
	struct vhost_writer *v = w->private;

	if ((int16_t)(copy->idx - v->used_before) >= 0)
		return 0;
	if (!w->oracle->drop)
		fprintf(stderr, "# used index: %u at the sync's begin, %u now, %u when its page was reported last, %s\n",
			v->used_before, vhost_used(v), copy->idx,
			harvest_took(&w->oracle->harvest, USED_PLACE / GUEST_PAGE) ?
			"just now" : "not just now");
	return 1;
}

const struct writer_ops writer_vhost_net = {
	.name	= "vhost-net",
	.slots	= 1,
	.pins	= true,
	.start	= vhost_start,
	.stop	= writer_stop_threads,
	.run	= vhost_run,
	.next	= vhost_next,
	.check	= vhost_check,
};
