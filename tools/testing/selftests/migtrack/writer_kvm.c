// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vCPUs: as they are, with KVM's own dirty log on, as a bitmap or as rings, with
 * a nested guest on each, and of a VMM that is not the one that is tracked.
 */

#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm_vm.h"
#include "oracle.h"
#include "writer.h"

#define WORD_BITS	(8 * sizeof(unsigned long))
#define RING_SIZE	1024		/* soon full */
#define CLEAR_PAGES	1024		/* of the bitmap at once, as QEMU does it */

/*
 * Somebody who uses KVM's dirty log while we track: it must not lose anything
 * either. His thread reads and clears it all the time.
 */
struct kvm_log {
	pthread_t thread;
	pthread_mutex_t lock;
	volatile bool stop;
	unsigned long *fresh;		/* what the log said last */
	unsigned long *pending;		/* what it said and was not taken yet */
	uint64_t (*copy)[WRITER_SLOTS];
};

struct kvm_writer {
	struct vm vm;
	struct kvm_log log;
	uint64_t *slot_of_exits;
};

static struct kvm_writer *kvm_prepare(struct writer *w)
{
	struct kvm_writer *k = calloc(1, sizeof(*k));
	unsigned int i;

	vm_prepare(&k->vm);
	w->private = k;
	w->control = &k->vm.control->stamp;
	for (i = 0; i < w->ops->slots; i++) {
		w->stampers[i] = &k->vm.control->vcpus[i].stamper;
		w->last[i] = k->vm.control->last[i];
	}
	if (w->slot || w->oracle->npages > GUEST_LIST)
		errx(1, "vCPUs have the first slots, and memory for a list");
	return k;
}

static void kvm_boot(struct writer *w, unsigned int nvcpus, unsigned int ring_size)
{
	struct kvm_writer *k = w->private;

	vm_boot(&k->vm, nvcpus, dup(w->oracle->mem_fd), w->oracle->size, ring_size);
	if (madvise(k->vm.memory, k->vm.size, MADV_DONTFORK))
		err(1, "MADV_DONTFORK");
}

static void kvm_run(struct writer *w, enum guest_command command)
{
	struct kvm_writer *k = w->private;
	unsigned int i;

	for (i = 0; i < k->vm.nvcpus; i++)
		vm_start(&k->vm, i, command);
}

static void vcpus_start(struct writer *w)
{
	kvm_prepare(w);
	kvm_boot(w, w->ops->slots, 0);
	kvm_run(w, GUEST_STAMP);
}

/* They halt; KVM's log can still be read. */
static void vcpus_stop(struct writer *w)
{
	struct kvm_writer *k = w->private;
	unsigned int i;

	for (i = 0; i < k->vm.nvcpus; i++)
		vm_wait(&k->vm, i);
}

const struct writer_ops writer_vcpus = {
	.name	= "vCPUs",
	.slots	= 3,
	.start	= vcpus_start,
	.stop	= vcpus_stop,
};

/* ---- of a second process ---- */

static void vcpus_process_main(struct writer *w)
{
	kvm_boot(w, w->ops->slots, 0);
	kvm_run(w, GUEST_STAMP);
	vcpus_stop(w);
}

static void vcpus_process_start(struct writer *w)
{
	kvm_prepare(w);
	writer_start_process(w, vcpus_process_main);
}

const struct writer_ops writer_vcpus_process = {
	.name	= "a second process with KVM",
	.slots	= 2,
	.start	= vcpus_process_start,
	.stop	= writer_stop_process,
};

/* ---- with nested guests ---- */

/* Slot 2: what KVM writes to the VMCBs, which are pages of the memory. */
static void vcpus_nested_start(struct writer *w)
{
	struct kvm_writer *k = kvm_prepare(w);

	k->slot_of_exits = calloc(w->oracle->npages, sizeof(uint64_t));
	w->stampers[STAMP_VMCB_SLOT] = w->stampers[0];
	w->last[STAMP_VMCB_SLOT] = k->slot_of_exits;
	kvm_boot(w, STAMP_VMCB_SLOT, 0);
	kvm_run(w, GUEST_NEST);
}

static void vcpus_nested_stop(struct writer *w)
{
	struct kvm_writer *k = w->private;
	struct guest_vcpu *vcpu;
	unsigned int i;

	vcpus_stop(w);
	for (i = 0; i < k->vm.nvcpus; i++) {
		vcpu = &k->vm.control->vcpus[i];
		if (vcpu->result != VMCB_EXIT_VMMCALL)
			errx(1, "the nested guest of vCPU %u ended with %#lx", i,
			     vcpu->result);
		k->slot_of_exits[i] = k->vm.control->last_exit[i];
	}
}

const struct writer_ops writer_vcpus_nested = {
	.name	= "nested guests",
	.slots	= 3,
	/* KVM holds what it reads of the nested guest. */
	.pins	= true,
	.start	= vcpus_nested_start,
	.stop	= vcpus_nested_stop,
};

/* ---- with KVM's dirty log ---- */

/* The log has been cleared before anybody reads a page that is in it. */
static void log_collect(struct kvm_writer *k, size_t npages)
{
	struct kvm_log *log = &k->log;
	size_t first, i;

	memset(log->fresh, 0, npages / 8);
	if (k->vm.ring_size) {
		vm_read_dirty_ring(&k->vm, log->fresh);
	} else {
		vm_get_dirty_log(&k->vm, log->fresh);
		for (first = 0; first < npages; first += CLEAR_PAGES)
			vm_clear_dirty_log(&k->vm, log->fresh + first / WORD_BITS,
					   first, CLEAR_PAGES);
	}
	for (i = 0; i < npages / WORD_BITS; i++)
		log->pending[i] |= log->fresh[i];
}

static void *log_thread(void *data)
{
	struct writer *w = data;
	struct kvm_writer *k = w->private;

	while (!k->log.stop) {
		pthread_mutex_lock(&k->log.lock);
		log_collect(k, w->oracle->npages);
		pthread_mutex_unlock(&k->log.lock);
		usleep(rand() % 2000);
	}
	return NULL;
}

/* The oracle's rule, for KVM's log. */
static size_t log_check(struct writer *w)
{
	struct oracle *o = w->oracle;
	struct kvm_writer *k = w->private;
	struct kvm_log *log = &k->log;
	size_t page, missed = 0;
	unsigned int i;

	pthread_mutex_lock(&log->lock);
	log_collect(k, o->npages);
	for (page = 0; page < o->npages; page++) {
		bool taken = log->pending[page / WORD_BITS] >> page % WORD_BITS & 1;

		for (i = 0; i < w->ops->slots; i++) {
			uint64_t now = __atomic_load_n(
				(uint64_t *)(o->view + stamp_place(page, w->slot + i)),
				__ATOMIC_SEQ_CST);

			if (taken)
				log->copy[page][i] = now;
			else if (now != log->copy[page][i] &&
				 stamp_is_older(now, o->iteration))
				missed++;
		}
	}
	memset(log->pending, 0, o->npages / 8);
	pthread_mutex_unlock(&log->lock);
	if (missed)
		warnx("KVM's dirty log missed %zu stamps", missed);
	return missed;
}

static void log_start(struct writer *w, unsigned int ring_size)
{
	struct kvm_writer *k = kvm_prepare(w);
	struct kvm_log *log = &k->log;

	log->fresh = calloc(w->oracle->npages / WORD_BITS, sizeof(long));
	log->pending = calloc(w->oracle->npages / WORD_BITS, sizeof(long));
	log->copy = calloc(w->oracle->npages, sizeof(*log->copy));
	pthread_mutex_init(&log->lock, NULL);
	kvm_boot(w, w->ops->slots, ring_size);
	if (!ring_size)
		vm_manual_dirty_log(&k->vm);
	vm_dirty_log(&k->vm, true);
	kvm_run(w, GUEST_STAMP);
	errno = pthread_create(&log->thread, NULL, log_thread, w);
	if (errno)
		err(1, "pthread_create");
}

static void log_stop(struct writer *w)
{
	struct kvm_writer *k = w->private;

	/* A vCPU whose ring is full needs the thread to halt. */
	vcpus_stop(w);
	k->log.stop = true;
	pthread_join(k->log.thread, NULL);
}

static void bitmap_start(struct writer *w)
{
	log_start(w, 0);
}

const struct writer_ops writer_vcpus_bitmap = {
	.name	= "vCPUs with KVM's dirty bitmap",
	.slots	= 3,
	.start	= bitmap_start,
	.stop	= log_stop,
	.check	= log_check,
};

static void ring_start(struct writer *w)
{
	log_start(w, RING_SIZE);
}

const struct writer_ops writer_vcpus_ring = {
	.name	= "vCPUs with KVM's dirty rings",
	.slots	= 3,
	.start	= ring_start,
	.stop	= log_stop,
	.check	= log_check,
};
