// SPDX-License-Identifier: GPL-2.0-only
/* Memory that the kernel and the owner of a session share. */

#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "map.h"

/**
 * migtrack_map_alloc - allocate memory to be shared with a session's owner
 * @size: bytes, rounded up to whole pages
 *
 * Charged to the caller's memory cgroup.
 *
 * Return: the map with one reference, or NULL.
 */
struct migtrack_map *migtrack_map_alloc(size_t size)
{
	struct migtrack_map *map = kzalloc(sizeof(*map), GFP_KERNEL_ACCOUNT);

	if (!map)
		return NULL;

	map->size = PAGE_ALIGN(size);
	map->addr = __vmalloc(map->size, MIGTRACK_GFP_LARGE);
	if (!map->addr) {
		kfree(map);
		return NULL;
	}
	kref_init(&map->kref);
	return map;
}

static void migtrack_map_free(struct kref *kref)
{
	struct migtrack_map *map = container_of(kref, struct migtrack_map, kref);

	vfree(map->addr);
	kfree(map);
}

/**
 * migtrack_map_put - drop a reference
 * @map: the map; may be NULL
 *
 * Any context but hard interrupts.
 */
void migtrack_map_put(struct migtrack_map *map)
{
	if (map)
		kref_put(&map->kref, migtrack_map_free);
}

static pgoff_t migtrack_map_pgoff(pgoff_t pgoff)
{
	return pgoff & ((MIGTRACK_SLOT_SIZE >> PAGE_SHIFT) - 1);
}

static void migtrack_map_vm_open(struct vm_area_struct *vma)
{
	struct migtrack_map *map = vma->vm_private_data;

	kref_get(&map->kref);
}

static void migtrack_map_vm_close(struct vm_area_struct *vma)
{
	migtrack_map_put(vma->vm_private_data);
}

static vm_fault_t migtrack_map_vm_fault(struct vm_fault *vmf)
{
	struct migtrack_map *map = vmf->vma->vm_private_data;
	size_t offset = migtrack_map_pgoff(vmf->pgoff) << PAGE_SHIFT;

	if (offset >= map->size)
		return VM_FAULT_SIGBUS;

	vmf->page = vmalloc_to_page(map->addr + offset);
	get_page(vmf->page);
	return 0;
}

static const struct vm_operations_struct migtrack_map_vm_ops = {
	.open	= migtrack_map_vm_open,
	.close	= migtrack_map_vm_close,
	.fault	= migtrack_map_vm_fault,
};

/**
 * migtrack_map_mmap - let a VMA show a map
 * @map: what to show
 * @vma: the VMA; its page offset counts from the start of the map's slot
 *
 * The VMA takes a reference. Called with the mmap_lock for writing.
 *
 * Return: 0, or -EINVAL if the VMA is private or larger than the map.
 */
int migtrack_map_mmap(struct migtrack_map *map, struct vm_area_struct *vma)
{
	size_t end = (migtrack_map_pgoff(vma->vm_pgoff) + vma_pages(vma)) << PAGE_SHIFT;

	if (!(vma->vm_flags & VM_SHARED) || end > map->size)
		return -EINVAL;

	kref_get(&map->kref);
	vma->vm_private_data = map;
	vma->vm_ops = &migtrack_map_vm_ops;
	vm_flags_set(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP);
	return 0;
}
