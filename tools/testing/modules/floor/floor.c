// SPDX-License-Identifier: GPL-2.0-only
/*
 * What finding dirty pages costs at the least: one plain pass over the page
 * tables of a range, which counts the entries that can be written. The bench
 * compares with it. Write a struct floor_range to /dev/floor: the count is
 * returned.
 */

#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pgtable.h>
#include <linux/uaccess.h>

struct floor_range {
	u64 start;
	u64 end;
};

/* Entries of one page table, which addr..end does not leave. */
static unsigned long floor_table(struct mm_struct *mm, unsigned long addr,
				 unsigned long end)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	unsigned long n = 0;
	p4d_t *p4d;
	pud_t *pud;
	pmd_t pmd;
	pte_t *pte;

	if (pgd_none(*pgd) || pgd_bad(*pgd))
		return 0;
	p4d = p4d_offset(pgd, addr);
	if (p4d_none(*p4d) || p4d_bad(*p4d))
		return 0;
	pud = pud_offset(p4d, addr);
	if (pud_none(*pud) || pud_leaf(*pud) || pud_bad(*pud))
		return 0;
	pmd = pmdp_get_lockless(pmd_offset(pud, addr));
	if (pmd_none(pmd) || !pmd_present(pmd) || pmd_leaf(pmd) || pmd_bad(pmd))
		return 0;

	for (pte = pte_offset_kernel(&pmd, addr); addr < end; addr += PAGE_SIZE, pte++) {
		pte_t entry = ptep_get(pte);

		n += pte_present(entry) && pte_write(entry);
	}
	return n;
}

static ssize_t floor_write(struct file *file, const char __user *buf, size_t len,
			   loff_t *pos)
{
	struct mm_struct *mm = current->mm;
	struct floor_range range;
	unsigned long addr, next, n = 0;

	if (len != sizeof(range))
		return -EINVAL;
	if (copy_from_user(&range, buf, sizeof(range)))
		return -EFAULT;
	if (range.end > TASK_SIZE || range.start > range.end ||
	    !PAGE_ALIGNED(range.start | range.end))
		return -EINVAL;

	mmap_read_lock(mm);
	for (addr = range.start; addr < range.end; addr = next) {
		next = pmd_addr_end(addr, range.end);
		rcu_read_lock();
		n += floor_table(mm, addr, next);
		rcu_read_unlock();
		cond_resched();
	}
	mmap_read_unlock(mm);
	return n;
}

static const struct file_operations floor_fops = {
	.owner	= THIS_MODULE,
	.write	= floor_write,
};

static struct miscdevice floor_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "floor",
	.fops	= &floor_fops,
	.mode	= 0600,
};

module_misc_device(floor_device);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("One pass over page tables, to compare with");
