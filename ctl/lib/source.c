// SPDX-License-Identifier: LGPL-2.1-or-later
/* Commands on sources. */
#include <errno.h>
#include <string.h>

#include "internal.h"

#define SOURCE(member, attribute) \
	FIELD(struct migtrack_source, member, MIGTRACK_A_SOURCE_##attribute)

static const struct field source_fields[] = {
	SOURCE(session_id, SESSION_ID),
	SOURCE(id, ID),
	SOURCE(type, TYPE),
	SOURCE(pid, PID),
	SOURCE(offset, OFFSET),
	SOURCE(length, LENGTH),
	SOURCE(page_size, PAGE_SIZE),
	SOURCE(bytes.precopy, PRECOPY),
	SOURCE(bytes.postcopy, POSTCOPY),
	SOURCE(bytes.stopcopy, STOPCOPY),
	SOURCE(bytes.total, TOTAL),
	SOURCE(flags, FLAGS),
	SOURCE(dirty_pages, DIRTY_PAGES),
	SOURCE(dirty_rate, DIRTY_RATE),
	SOURCE(held_pages, HELD_PAGES),
	SOURCE(whole_chunks, WHOLE_CHUNKS),
	SOURCE(protected_pages, PROTECTED_PAGES),
	SOURCE(protect_calls, PROTECT_CALLS),
	SOURCE(processes, PROCESSES),
	SOURCE(memory, MEMORY),
	SOURCE(event_seq, EVENT_SEQ),
	SOURCE(time_ns, TIME),
	SOURCE(max_age_ns, MAX_AGE),
	SOURCE(clamps, CLAMPS),
	SOURCE(name, NAME),
	SOURCE(device_state, DEVICE_STATE),
	SOURCE(device_features, DEVICE_FEATURES),
	SOURCE(precopy_initial, PRECOPY_INITIAL),
	SOURCE(precopy_dirty, PRECOPY_DIRTY),
	SOURCE(stopcopy_size, STOPCOPY_SIZE),
	SOURCE(error, ERROR),
	SOURCE(dma_log, DMA_LOG),
	SOURCE(dma_log_error, DMA_LOG_ERROR),
	SOURCE(dma_untracked, DMA_UNTRACKED),
};

static void source_init(void *object)
{
	struct migtrack_source *source = object;

	source->device_state = UINT32_MAX;
	source->precopy_initial = UINT64_MAX;
	source->precopy_dirty = UINT64_MAX;
	source->stopcopy_size = UINT64_MAX;
}

const struct layout migtrack_source_layout = {
	.size = sizeof(struct migtrack_source),
	.fields = source_fields,
	.n = sizeof(source_fields) / sizeof(source_fields[0]),
	.init = source_init,
};

#define MAP(member, attribute) \
	FIELD(struct migtrack_source_map, member, MIGTRACK_A_SOURCE_##attribute)

static const struct field map_fields[] = {
	MAP(session_id, SESSION_ID),
	MAP(id, ID),
	MAP(length, LENGTH),
	MAP(map_offset, MAP_OFFSET),
	MAP(map_length, MAP_LENGTH),
	MAP(page_size, PAGE_SIZE),
};

static const struct layout map_layout = {
	.size = sizeof(struct migtrack_source_map),
	.fields = map_fields,
	.n = sizeof(map_fields) / sizeof(map_fields[0]),
};

/**
 * migtrack_source_add_ram() - track shared, file-backed memory of a process
 * @mt: the handle
 * @session_fd: the session's descriptor
 * @pid: the process, which has to map the file
 * @mem_fd: the file, open for reading and writing
 * @offset: where the range starts in the file
 * @length: its bytes, 0 for all up to the file's end
 * @map: filled on success: what migtrack_bitmap_map() needs
 *
 * Return: 0 or a negative errno; migtrack_message() says why.
 */
int migtrack_source_add_ram(struct migtrack *mt, int session_fd, pid_t pid,
			    int mem_fd, uint64_t offset, uint64_t length,
			    struct migtrack_source_map *map)
{
	struct request req;

	request_init(mt, &req, MIGTRACK_CMD_SOURCE_ADD, 0);
	request_put_u32(&req, MIGTRACK_A_SOURCE_SESSION_FD,
			(uint32_t)session_fd);
	request_put_u32(&req, MIGTRACK_A_SOURCE_TYPE,
			MIGTRACK_SOURCE_TYPE_RAM);
	request_put_u32(&req, MIGTRACK_A_SOURCE_PID, (uint32_t)pid);
	request_put_u32(&req, MIGTRACK_A_SOURCE_MEM_FD, (uint32_t)mem_fd);
	if (offset)
		request_put_uint(&req, MIGTRACK_A_SOURCE_OFFSET, offset);
	if (length)
		request_put_uint(&req, MIGTRACK_A_SOURCE_LENGTH, length);
	return request_do(mt, &req, &map_layout, map);
}

/**
 * migtrack_source_add_reported() - add a source whose numbers the caller reports
 * @mt: the handle
 * @session_fd: the session's descriptor
 * @max_age_ns: without a report for so long it is stale; 0 for the default
 * @id: number of the source, set on success
 *
 * Return: 0 or a negative errno.
 */
int migtrack_source_add_reported(struct migtrack *mt, int session_fd,
				 uint64_t max_age_ns, uint32_t *id)
{
	struct migtrack_source_map map;
	struct request req;
	int ret;

	request_init(mt, &req, MIGTRACK_CMD_SOURCE_ADD, 0);
	request_put_u32(&req, MIGTRACK_A_SOURCE_SESSION_FD,
			(uint32_t)session_fd);
	request_put_u32(&req, MIGTRACK_A_SOURCE_TYPE,
			MIGTRACK_SOURCE_TYPE_REPORTED);
	if (max_age_ns)
		request_put_uint(&req, MIGTRACK_A_SOURCE_MAX_AGE, max_age_ns);
	ret = request_do(mt, &req, &map_layout, &map);
	if (!ret)
		*id = map.id;
	return ret;
}

/**
 * migtrack_source_add_vfio() - add a VFIO device
 * @mt: the handle
 * @session_fd: the session's descriptor
 * @device_fd: the device's
 * @data_fd: of its migration data, -1 if that is not there yet
 * @name: what to call it, NULL for no name
 * @id: number of the source, set on success
 *
 * Return: 0 or a negative errno; migtrack_message() says why.
 */
int migtrack_source_add_vfio(struct migtrack *mt, int session_fd, int device_fd,
			     int data_fd, const char *name, uint32_t *id)
{
	struct migtrack_source_map map;
	struct request req;
	int ret;

	if (name && strlen(name) >= MIGTRACK_NAME_SIZE)
		return -EINVAL;
	request_init(mt, &req, MIGTRACK_CMD_SOURCE_ADD, 0);
	request_put_u32(&req, MIGTRACK_A_SOURCE_SESSION_FD,
			(uint32_t)session_fd);
	request_put_u32(&req, MIGTRACK_A_SOURCE_TYPE,
			MIGTRACK_SOURCE_TYPE_VFIO);
	request_put_u32(&req, MIGTRACK_A_SOURCE_DEVICE_FD,
			(uint32_t)device_fd);
	if (data_fd >= 0)
		request_put_u32(&req, MIGTRACK_A_SOURCE_DATA_FD,
				(uint32_t)data_fd);
	if (name)
		request_put_string(&req, MIGTRACK_A_SOURCE_NAME, name);
	ret = request_do(mt, &req, &map_layout, &map);
	if (!ret)
		*id = map.id;
	return ret;
}

/* About one source of a session that is the caller's. */
static void request_source(struct migtrack *mt, struct request *req, uint8_t cmd,
			   int session_fd, uint32_t id)
{
	request_init(mt, req, cmd, 0);
	request_put_u32(req, MIGTRACK_A_SOURCE_SESSION_FD, (uint32_t)session_fd);
	request_put_u32(req, MIGTRACK_A_SOURCE_ID, id);
}

/**
 * migtrack_source_set_data() - tell the migration data of a VFIO device
 * @mt: the handle
 * @session_fd: the session's descriptor
 * @id: number of the source, of type vfio
 * @data_fd: the descriptor that a state change returned to the VMM
 *
 * Return: 0 or a negative errno.
 */
int migtrack_source_set_data(struct migtrack *mt, int session_fd, uint32_t id,
			     int data_fd)
{
	struct request req;

	request_source(mt, &req, MIGTRACK_CMD_SOURCE_SET, session_fd, id);
	request_put_u32(&req, MIGTRACK_A_SOURCE_DATA_FD, (uint32_t)data_fd);
	return request_do(mt, &req, NULL, NULL);
}

/**
 * migtrack_dma_log_start() - track what a VFIO device writes by DMA
 * @mt: the handle
 * @session_fd: the session's descriptor
 * @id: number of the source, of type vfio
 * @ranges: where the device finds the memory of the session's sources
 * @n: how many, up to MIGTRACK_MAX_DMA_RANGES
 *
 * Return: 0 or a negative errno; migtrack_message() says why. What the device
 * says is in the source's dma_log, later.
 */
int migtrack_dma_log_start(struct migtrack *mt, int session_fd, uint32_t id,
			   const struct migtrack_dma_range *ranges, size_t n)
{
	struct request req;
	struct nlattr *nest;
	size_t i;

	if (n > MIGTRACK_MAX_DMA_RANGES)
		return -E2BIG;
	request_source(mt, &req, MIGTRACK_CMD_DMA_LOG_START, session_fd, id);
	for (i = 0; i < n; i++) {
		nest = request_nest(&req, MIGTRACK_A_SOURCE_DMA_MAP);
		request_put_uint(&req, MIGTRACK_A_DMA_RANGE_IOVA,
				 ranges[i].iova);
		request_put_uint(&req, MIGTRACK_A_DMA_RANGE_LENGTH,
				 ranges[i].length);
		request_put_u32(&req, MIGTRACK_A_DMA_RANGE_SOURCE_ID,
				ranges[i].source_id);
		request_put_uint(&req, MIGTRACK_A_DMA_RANGE_OFFSET,
				 ranges[i].offset);
		request_nest_end(&req, nest);
	}
	return request_do(mt, &req, NULL, NULL);
}

/**
 * migtrack_dma_log_stop() - do without a VFIO device's DMA log
 * @mt: the handle
 * @session_fd: the session's descriptor
 * @id: number of the source
 *
 * Return: 0 or a negative errno.
 */
int migtrack_dma_log_stop(struct migtrack *mt, int session_fd, uint32_t id)
{
	struct request req;

	request_source(mt, &req, MIGTRACK_CMD_DMA_LOG_STOP, session_fd, id);
	return request_do(mt, &req, NULL, NULL);
}

/**
 * migtrack_source_report() - publish what is left of a source
 * @mt: the handle
 * @session_fd: the session's descriptor
 * @id: number of the source, of type reported
 * @report: what is left; with the flag stale or gone only the flags count
 *
 * Return: 0 or a negative errno.
 */
int migtrack_source_report(struct migtrack *mt, int session_fd, uint32_t id,
			   const struct migtrack_report *report)
{
	const uint32_t unsized = MIGTRACK_COUNTER_FLAGS_STALE |
				 MIGTRACK_COUNTER_FLAGS_GONE;
	struct request req;

	request_source(mt, &req, MIGTRACK_CMD_SOURCE_REPORT, session_fd, id);
	request_put_u32(&req, MIGTRACK_A_SOURCE_FLAGS, report->flags);
	if (!(report->flags & unsized)) {
		request_put_uint(&req, MIGTRACK_A_SOURCE_PRECOPY,
				 report->bytes.precopy);
		request_put_uint(&req, MIGTRACK_A_SOURCE_POSTCOPY,
				 report->bytes.postcopy);
		request_put_uint(&req, MIGTRACK_A_SOURCE_STOPCOPY,
				 report->bytes.stopcopy);
		request_put_uint(&req, MIGTRACK_A_SOURCE_DIRTY_RATE,
				 report->dirty_rate);
	}
	return request_do(mt, &req, NULL, NULL);
}

/**
 * migtrack_source_del() - take a source out of a session
 * @mt: the handle
 * @session_fd: the session's descriptor
 * @id: number of the source
 *
 * Return: 0 or a negative errno.
 */
int migtrack_source_del(struct migtrack *mt, int session_fd, uint32_t id)
{
	struct request req;

	request_source(mt, &req, MIGTRACK_CMD_SOURCE_DEL, session_fd, id);
	return request_do(mt, &req, NULL, NULL);
}

/**
 * migtrack_source_get() - what the last sync found in a source
 * @mt: the handle
 * @session_id: number of the session
 * @id: number of the source
 * @source: filled on success
 *
 * Return: 0, -ENOENT if there is no such source, or another negative errno.
 */
int migtrack_source_get(struct migtrack *mt, uint64_t session_id, uint32_t id,
			struct migtrack_source *source)
{
	struct request req;

	request_init(mt, &req, MIGTRACK_CMD_SOURCE_GET, 0);
	request_put_uint(&req, MIGTRACK_A_SOURCE_SESSION_ID, session_id);
	request_put_u32(&req, MIGTRACK_A_SOURCE_ID, id);
	return request_do(mt, &req, &migtrack_source_layout, source);
}

struct source_visit {
	migtrack_source_fn *fn;
	void *data;
};

static int source_visit(const void *object, void *data)
{
	const struct source_visit *visit = data;

	return visit->fn(object, visit->data);
}

/**
 * migtrack_source_dump() - all sources of a session, without their pids
 * @mt: the handle
 * @session_id: number of the session
 * @fn: called with each; nonzero ends the dump
 * @data: its argument
 *
 * As consistent as migtrack_session_dump(). @fn may use @mt.
 *
 * Return: 0, what @fn returned, or a negative errno.
 */
int migtrack_source_dump(struct migtrack *mt, uint64_t session_id,
			 migtrack_source_fn *fn, void *data)
{
	struct source_visit visit = { .fn = fn, .data = data };
	struct request req;

	request_init(mt, &req, MIGTRACK_CMD_SOURCE_GET, 0);
	request_put_uint(&req, MIGTRACK_A_SOURCE_SESSION_ID, session_id);
	return request_dump(mt, &req, &migtrack_source_layout, source_visit,
			    &visit);
}
