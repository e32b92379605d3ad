/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device as a writer; where the kernel can report its log. */
#ifndef WRITER_DMA_H
#define WRITER_DMA_H

#include "writer.h"
#include "migtrack.h"

extern const struct writer_ops writer_dma;

struct migtrack_source writer_dma_source(const struct writer *w);
size_t writer_dma_excess(const struct writer *w);
void writer_dma_destroy(struct writer *w);

#endif /* WRITER_DMA_H */
