/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that is a firmware: writes to each of 4096 pages from 8 MiB on, in the order of
 * the tests of ctl/postcopy/, over and over, and sends a dot after each round. It needs no
 * kernel, and so hardly any time.
 */
#define BASE	0xf0000
#define FIRST	0x800000
#define PAGES	4096
#define STRIDE	1021

	.code16
	.globl	_start
_start:
	cli
	lgdtl	%cs:gdt_pointer - _start
	mov	%cr0, %eax
	or	$1, %eax
	mov	%eax, %cr0
	ljmpl	$8, $protected

	.code32
protected:
	mov	$16, %ax
	mov	%ax, %ds
round:
	xor	%ecx, %ecx
page:
	imul	$STRIDE, %ecx, %eax
	and	$(PAGES - 1), %eax
	shl	$12, %eax
	incl	FIRST(%eax)
	inc	%ecx
	cmp	$PAGES, %ecx
	jb	page
	mov	$0x3f8, %dx
	mov	$'.', %al
	out	%al, %dx
	jmp	round

	.balign	8
gdt:
	.quad	0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdt_pointer:
	.word	. - gdt - 1
	.long	gdt

	/* The reset vector. */
	.org	0xfff0
	.code16
	ljmp	$(BASE >> 4), $0
	.org	0x10000
