// SPDX-License-Identifier: GPL-2.0-only
/* Source type ram: a range of a shared, file-backed guest memory. */

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <net/netlink.h>

#include "bits.h"
#include "compat.h"
#include "map.h"
#include "mutant.h"
#include "ram.h"
#include "trace.h"
#include "tracker.h"
#include "walk.h"

static struct migtrack_ram *to_ram(struct migtrack_source *source)
{
	return container_of(source, struct migtrack_ram, source);
}

/* ---- what a sync of the tracker found ---- */

/* Its owner takes bits out of the word at the same time. */
static unsigned long migtrack_fetch_or(unsigned long bits, unsigned long *word)
{
	unsigned long old;

	if (!migtrack_without(MIGTRACK_STEP_ATOMIC))
		return atomic_long_fetch_or(bits, (atomic_long_t *)word);

	old = READ_ONCE(*word);
	cpu_relax();
	WRITE_ONCE(*word, old | bits);
	return old;
}

/* Set @n bits of @dst from @pos on where @src, from 0 on, has them. */
static unsigned long migtrack_or_bits(unsigned long *dst, unsigned long pos,
				      const unsigned long *src, unsigned int n)
{
	unsigned int shift = pos % BITS_PER_LONG, i;
	unsigned long fresh = 0;

	dst += pos / BITS_PER_LONG;
	for (i = 0; i < BITS_TO_LONGS(n); i++, dst++) {
		unsigned long word = src[i], low = word << shift;
		unsigned long high = shift ? word >> (BITS_PER_LONG - shift) : 0;

		if (low)
			fresh += hweight_long(low & ~migtrack_fetch_or(low, dst));
		if (high)
			fresh += hweight_long(high & ~migtrack_fetch_or(high, dst + 1));
	}
	return fresh;
}

/**
 * migtrack_ram_report - hand a chunk's pages to all sources that track it
 * @tracker: the tracker
 * @asker: the source whose sync this is
 * @chunk_first: first page of the chunk
 * @bits: pages of the chunk that may have been written
 */
void migtrack_ram_report(struct migtrack_tracker *tracker,
			 struct migtrack_ram *asker, pgoff_t chunk_first,
			 const unsigned long *bits)
{
	pgoff_t chunk_end = chunk_first + MIGTRACK_CHUNK_PAGES;
	DECLARE_BITMAP(part, MIGTRACK_CHUNK_PAGES);
	struct migtrack_ram *ram;
	unsigned long fresh;

	lockdep_assert_held(&tracker->sync_lock);

	list_for_each_entry(ram, &tracker->sources, node) {
		pgoff_t from = max(chunk_first, ram->first);
		pgoff_t to = min(chunk_end, ram->first + ram->npages);

		if (from >= to)
			continue;

		bitmap_shift_right(part, bits, from - chunk_first,
				   MIGTRACK_CHUNK_PAGES);
		if (to - from < MIGTRACK_CHUNK_PAGES)
			bitmap_clear(part, to - from,
				     MIGTRACK_CHUNK_PAGES - (to - from));
		fresh = migtrack_or_bits(ram->source.map->addr, from - ram->first,
					 part, to - from);
		/* What others' syncs found again has been counted already. */
		ram->found += ram == asker ?
			      bitmap_weight(part, MIGTRACK_CHUNK_PAGES) : fresh;
	}
}

/**
 * migtrack_ram_first_chunk - the first chunk with a page of a source
 * @ram: the source
 *
 * Return: its number.
 */
unsigned long migtrack_ram_first_chunk(const struct migtrack_ram *ram)
{
	return ram->first >> MIGTRACK_CHUNK_SHIFT;
}

/**
 * migtrack_ram_last_chunk - the last chunk with a page of a source
 * @ram: the source
 *
 * Return: its number.
 */
unsigned long migtrack_ram_last_chunk(const struct migtrack_ram *ram)
{
	return (ram->first + ram->npages - 1) >> MIGTRACK_CHUNK_SHIFT;
}

/* The VMM has ended. Whoever finds it first, a sync or the watch, tells. */
static void migtrack_ram_end(struct migtrack_ram *ram)
{
	if (xchg(&ram->gone, true))
		return;
	migtrack_source_gone(&ram->source);
}

/**
 * migtrack_ram_mm_gone - an address space ended
 * @tracker: the tracker
 * @mm: the address space
 */
void migtrack_ram_mm_gone(struct migtrack_tracker *tracker, struct mm_struct *mm)
{
	struct migtrack_ram *ram;

	lockdep_assert_held(&tracker->sync_lock);

	list_for_each_entry(ram, &tracker->sources, node)
		if (ram->mm == mm)
			migtrack_ram_end(ram);
}

/**
 * migtrack_ram_is_target - is an address space that of a source's VMM?
 * @tracker: the tracker
 * @mm: the address space
 *
 * Return: true if it is, even if it maps nothing at the moment.
 */
bool migtrack_ram_is_target(struct migtrack_tracker *tracker, struct mm_struct *mm)
{
	struct migtrack_ram *ram;

	lockdep_assert_held(&tracker->sync_lock);

	list_for_each_entry(ram, &tracker->sources, node)
		if (ram->mm == mm)
			return true;
	return false;
}

/* ---- what devices write ---- */

/* Its owner takes bits at the same time, and others set theirs. */
static void migtrack_set_bits(unsigned long *map, unsigned long first, unsigned long n)
{
	unsigned long *word = map + BIT_WORD(first), end;

	for (first %= BITS_PER_LONG; n; first = 0, word++) {
		end = min(first + n, (unsigned long)BITS_PER_LONG);
		migtrack_fetch_or(GENMASK(end - 1, first), word);
		n -= end - first;
	}
}

/**
 * migtrack_ram_mark - pages of a source were written
 * @source: the source; does nothing if it was stopped
 * @page: of the source, that bit @from stands for
 * @bits: pages
 * @from: first bit to look at
 * @to: first bit not to look at
 *
 * The next sync counts them.
 *
 * Return: how many were set.
 */
unsigned long migtrack_ram_mark(struct migtrack_source *source, unsigned long page,
				const unsigned long *bits, unsigned int from,
				unsigned int to)
{
	struct migtrack_ram *ram = to_ram(source);
	unsigned long start = from, end, n = 0;

	spin_lock(&ram->mark_lock);
	if (ram->deaf)
		goto out;
	for_each_set_bitrange_from(start, end, bits, to) {
		migtrack_set_bits(source->map->addr, page + (start - from), end - start);
		n += end - start;
	}
out:
	spin_unlock(&ram->mark_lock);
	return n;
}

/**
 * migtrack_ram_mark_range - pages of a source may have been written
 * @source: the source; does nothing if it was stopped
 * @page: the first one, of the source
 * @n: how many
 */
void migtrack_ram_mark_range(struct migtrack_source *source, unsigned long page,
			     unsigned long n)
{
	const unsigned long step = 1UL << 20;
	struct migtrack_ram *ram = to_ram(source);
	unsigned long now;

	for (; n; page += now, n -= now) {
		now = min(n, step);
		spin_lock(&ram->mark_lock);
		if (!ram->deaf)
			migtrack_set_bits(source->map->addr, page, now);
		spin_unlock(&ram->mark_lock);
		cond_resched();
	}
}

/**
 * migtrack_ram_mm - the address space of a source's VMM
 * @source: the source
 *
 * Return: that; there as long as @source, its memory may not be.
 */
struct mm_struct *migtrack_ram_mm(struct migtrack_source *source)
{
	return to_ram(source)->mm;
}

/* ---- the source's ops ---- */

static u64 migtrack_ram_weight(struct migtrack_ram *ram)
{
	const unsigned long *bits = ram->source.map->addr;
	const unsigned long step = 1UL << 20;
	unsigned long pos;
	u64 n = 0;

	for (pos = 0; pos < ram->npages; pos += step) {
		n += bitmap_weight(bits + pos / BITS_PER_LONG,
				   min(step, ram->npages - pos));
		cond_resched();
	}
	return n;
}

/* A VMM that died before its notifier was registered. */
static bool migtrack_ram_is_gone(struct migtrack_ram *ram)
{
	return READ_ONCE(ram->gone) || !atomic_read(&ram->mm->mm_users);
}

static void migtrack_ram_set_gone(struct migtrack_source_stats *stats)
{
	stats->flags &= ~MIGTRACK_COUNTER_FLAGS_EXACT;
	stats->flags |= MIGTRACK_COUNTER_FLAGS_GONE | MIGTRACK_COUNTER_FLAGS_STALE;
	stats->dirty_pages = 0;
	stats->dirty_rate = 0;
}

static void migtrack_ram_stop(struct migtrack_source *source)
{
	struct migtrack_ram *ram = to_ram(source);

	lockdep_assert_held(&source->lock);

	if (ram->attached)
		migtrack_tracker_detach(ram->tracker, ram);
	ram->attached = false;
	if (ram->tracker)
		migtrack_tracker_put(ram->tracker);
	ram->tracker = NULL;
	spin_lock(&ram->mark_lock);
	ram->deaf = true;
	spin_unlock(&ram->mark_lock);
	if (ram->gone)
		migtrack_ram_set_gone(&source->stats);
}

/* It may have ended since a sync that is just being published collected its stats. */
static void migtrack_ram_latest(struct migtrack_source *source,
				struct migtrack_source_stats *stats)
{
	if (READ_ONCE(to_ram(source)->gone))
		migtrack_ram_set_gone(stats);
}

static int migtrack_ram_sync(struct migtrack_source *source,
			     enum migtrack_sync_kind kind, const bool *cancel)
{
	struct migtrack_ram *ram = to_ram(source);
	struct migtrack_sync_stats sync = { .cancel = cancel };
	struct migtrack_source_stats *stats = &source->stats;
	bool everything = kind == MIGTRACK_SYNC_KIND_SETUP || !ram->armed;
	u64 now;
	int err;

	lockdep_assert_held(&source->lock);

	if (migtrack_ram_is_gone(ram))
		goto gone;

	if (!ram->attached) {
		migtrack_tracker_attach(ram->tracker, ram);
		ram->attached = true;
	}

	err = migtrack_tracker_sync(ram->tracker, ram, &sync);
	if (err)
		return err;
	if (READ_ONCE(ram->gone))
		goto gone;

	if (!ram->armed && (sync.flags & MIGTRACK_COUNTER_FLAGS_HUGE)) {
		migtrack_tracker_detach(ram->tracker, ram);
		ram->attached = false;
		return -EOPNOTSUPP;
	}

	if (everything) {
		migtrack_bits_set(source->map->addr, 0, ram->npages);
		sync.found = ram->npages;
	}

	now = ktime_get_ns();
	stats->bytes.precopy = migtrack_ram_weight(ram) << PAGE_SHIFT;
	stats->flags = sync.flags | MIGTRACK_COUNTER_FLAGS_EXACT;
	stats->dirty_pages = sync.found;
	stats->dirty_rate = everything ? 0 :
		mul_u64_u64_div_u64(sync.found, NSEC_PER_SEC,
				    max(now - ram->synced_at, 1));
	stats->held_pages = sync.held;
	stats->whole_chunks = sync.whole;
	stats->protected_pages = sync.protected;
	stats->protect_calls = sync.calls;
	stats->processes = sync.processes;
	stats->memory = source->map->size + sync.memory;
	stats->time = now;
	ram->synced_at = now;
	ram->armed = true;
	return 0;

gone:
	migtrack_ram_end(ram);
	migtrack_ram_stop(source);
	return 0;
}

static void migtrack_ram_free(struct migtrack_source *source)
{
	struct migtrack_ram *ram = to_ram(source);

	if (ram->tracker)
		migtrack_tracker_put(ram->tracker);
	mmdrop(ram->mm);
	kfree(ram);
}

static const struct migtrack_source_ops migtrack_ram_ops = {
	.sync	= migtrack_ram_sync,
	.latest	= migtrack_ram_latest,
	.stop	= migtrack_ram_stop,
	.free	= migtrack_ram_free,
};

/* ---- making one ---- */

/* @size of the file, read once: it may change. */
static int migtrack_ram_check_file(struct file *file, u64 size,
				   const struct migtrack_ram_args *args,
				   struct netlink_ext_ack *extack)
{
	struct inode *inode = file_inode(file);

	if (S_ISDIR(inode->i_mode)) {
		NL_SET_ERR_MSG(extack, "mem-fd is a directory, not the guest's memory");
		return -EINVAL;
	}
	if (inode->i_sb->s_magic == HUGETLBFS_MAGIC) {
		NL_SET_ERR_MSG(extack, "mem-fd is on hugetlbfs; huge pages can't be tracked yet");
		return -EOPNOTSUPP;
	}
	if (!S_ISREG(inode->i_mode) || !shmem_mapping(file->f_mapping)) {
		NL_SET_ERR_MSG(extack, "mem-fd is neither a tmpfs file nor a memfd");
		return -EINVAL;
	}
	if ((file->f_mode & (FMODE_READ | FMODE_WRITE)) != (FMODE_READ | FMODE_WRITE)) {
		NL_SET_ERR_MSG(extack, "mem-fd is not open for reading and writing");
		return -EBADF;
	}
	if (!size) {
		NL_SET_ERR_MSG(extack, "mem-fd is an empty file");
		return -EINVAL;
	}
	if (!PAGE_ALIGNED(args->offset) || !PAGE_ALIGNED(args->length)) {
		NL_SET_ERR_MSG(extack, "offset or length is not a multiple of the page size");
		return -EINVAL;
	}
	if (args->offset >= size) {
		NL_SET_ERR_MSG(extack, "offset is past the end of the file");
		return -EINVAL;
	}
	if (args->length > PAGE_ALIGN(size) - args->offset) {
		NL_SET_ERR_MSG(extack, "offset and length reach past the end of the file");
		return -EINVAL;
	}
	return 0;
}

/*
 * The process must map the file. Asked of the file and not of the process, as
 * its mmap_lock may be held for long, and a doit must not wait.
 */
static int migtrack_ram_check_mapped(struct migtrack_ram *ram, struct file *file,
				     struct netlink_ext_ack *extack)
{
	struct address_space *mapping = file->f_mapping;
	bool shared = false, readonly = false, private = false;
	struct vm_area_struct *vma;

	i_mmap_lock_read(mapping);
	migtrack_for_each_vma(vma, mapping, ram->first, ram->first + ram->npages - 1) {
		vm_flags_t flags = READ_ONCE(vma->vm_flags);

		if (vma->vm_mm != ram->mm)
			continue;
		if ((flags & VM_SHARED) && (flags & VM_MAYWRITE))
			shared = true;
		else if (flags & VM_MAYSHARE)
			readonly = true;
		else
			private = true;
	}
	i_mmap_unlock_read(mapping);

	if (shared)
		return 0;
	if (readonly) {
		NL_SET_ERR_MSG(extack, "the process maps that file read-only");
		return -EINVAL;
	}
	if (private) {
		NL_SET_ERR_MSG(extack,
			       "the process maps that file privately; it must be shared (share=on)");
		return -EINVAL;
	}
	NL_SET_ERR_MSG(extack, "the process does not map that range of the file");
	return -ENXIO;
}

static int migtrack_ram_find_mm(struct migtrack_ram *ram,
				const struct migtrack_ram_args *args,
				struct sk_buff *skb,
				struct netlink_ext_ack *extack)
{
	struct user_namespace *ns;
	struct task_struct *task;
	struct mm_struct *mm;
	int err = 0;

	ram->source.pid = find_get_pid(args->pid);
	task = get_pid_task(ram->source.pid, PIDTYPE_TGID);
	if (!task) {
		NL_SET_ERR_MSG(extack, "no such process");
		return -ESRCH;
	}
	mm = get_task_mm(task);
	if (!mm) {
		NL_SET_ERR_MSG(extack, "the process is exiting or a kernel thread");
		err = -ESRCH;
		goto out;
	}
	ns = migtrack_user_ns(task, mm);
	if (netlink_ns_capable(skb, ns, CAP_SYS_PTRACE)) {
		mmgrab(mm);
		ram->mm = mm;
	} else {
		NL_SET_ERR_MSG(extack, "CAP_SYS_PTRACE over that process is required");
		err = -EPERM;
	}
	put_user_ns(ns);
	mmput_async(mm);
out:
	put_task_struct(task);
	return err;
}

static struct migtrack_tracker *migtrack_ram_tracker(struct migtrack_ram *ram,
						     struct file *file,
						     struct netlink_ext_ack *extack)
{
	struct migtrack_tracker *tracker = migtrack_tracker_get(file);

	if (tracker == ERR_PTR(-EFBIG)) {
		NL_SET_ERR_MSG(extack, "the file is too large for this machine's memory");
	} else if (IS_ERR(tracker)) {
		NL_SET_ERR_MSG(extack, "no memory for the tracker's bitmaps");
	} else if (ram->first + ram->npages > tracker->npages) {
		NL_SET_ERR_MSG(extack,
			       "others track that file since before it grew; end them first");
		migtrack_tracker_put(tracker);
		return ERR_PTR(-EFBIG);
	}
	return tracker;
}

/**
 * migtrack_ram_new - make a source for a range of guest memory
 * @args: what to track
 * @skb: the request, for the caller's capabilities
 * @extack: says why not
 *
 * Nothing is tracked before the first sync.
 *
 * Return: the source, or an ERR_PTR.
 */
struct migtrack_source *migtrack_ram_new(const struct migtrack_ram_args *args,
					 struct sk_buff *skb,
					 struct netlink_ext_ack *extack)
{
	struct migtrack_ram *ram;
	struct file *file;
	u64 size, length;
	int err;

	ram = kzalloc(sizeof(*ram), GFP_KERNEL_ACCOUNT);
	if (!ram)
		return ERR_PTR(-ENOMEM);
	migtrack_source_init(&ram->source, &migtrack_ram_ops,
			     MIGTRACK_SOURCE_TYPE_RAM);
	spin_lock_init(&ram->mark_lock);

	err = migtrack_ram_find_mm(ram, args, skb, extack);
	if (err)
		goto err_put_pid;

	file = fget(args->fd);
	if (!file) {
		NL_SET_ERR_MSG(extack, "mem-fd is not an open file");
		err = -EBADF;
		goto err_drop_mm;
	}
	size = i_size_read(file_inode(file));
	err = migtrack_ram_check_file(file, size, args, extack);
	if (err)
		goto err_put_file;

	length = args->length;
	if (!length)
		length = PAGE_ALIGN(size) - args->offset;
	ram->source.offset = args->offset;
	ram->source.length = length;
	ram->first = args->offset >> PAGE_SHIFT;
	ram->npages = length >> PAGE_SHIFT;

	err = migtrack_ram_check_mapped(ram, file, extack);
	if (err)
		goto err_put_file;

	/* Before the bitmap: it refuses files of absurd sizes. */
	ram->tracker = migtrack_ram_tracker(ram, file, extack);
	if (IS_ERR(ram->tracker)) {
		err = PTR_ERR(ram->tracker);
		goto err_put_file;
	}

	ram->source.map = migtrack_map_alloc(BITS_TO_LONGS(ram->npages) * sizeof(long));
	if (!ram->source.map) {
		NL_SET_ERR_MSG(extack, "no memory for the bitmap");
		err = -ENOMEM;
		goto err_put_tracker;
	}
	fput(file);
	return &ram->source;

err_put_tracker:
	migtrack_tracker_put(ram->tracker);
err_put_file:
	fput(file);
err_drop_mm:
	mmdrop(ram->mm);
err_put_pid:
	put_pid(ram->source.pid);
	kfree(ram);
	return ERR_PTR(err);
}
