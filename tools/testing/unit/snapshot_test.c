// SPDX-License-Identifier: GPL-2.0-or-later
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "snapshot/supply.h"
#include "snapshot/writer.h"
#include "unit.h"

#define PAGES	300u
#define PAGE	SNAPSHOT_PAGE_SIZE

static json_t *manifest(void)
{
	return json_pack("{s:s, s:i, s:I, s:b, s:i, s:{}, s:[{s:s, s:I, s:s}, {s:s, s:I, s:s}], s:{s:I, s:s}}",
			 "format", "migtrack-snapshot", "version", 1, "created_ns",
			 (json_int_t)12345, "ran", 1, "page_size", 4096, "vm",
			 "blocks", "id", "ram0", "size", (json_int_t)8192, "digest",
			 "0123456789abcdef", "id", "ram1", "size", (json_int_t)4096,
			 "digest", "ffffffffffffffff", "state", "size", (json_int_t)77,
			 "digest", "0000000000000001");
}

TEST(snapshot_manifest_round_trip)
{
	json_t *before = manifest(), *after;
	struct snapshot s;
	struct error err;

	CHECK(!snapshot_from_json(&s, before, &err));
	CHECK_EQ(s.n, 2);
	CHECK_STR(s.blocks[1].id, "ram1");
	CHECK_EQ(s.blocks[0].size, 8192);
	CHECK(s.blocks[0].digest == 0x0123456789abcdefull);
	CHECK(s.blocks[1].digest == UINT64_MAX);
	CHECK_EQ(s.state_size, 77);
	CHECK(s.ran && s.created_ns == 12345);
	after = snapshot_to_json(&s);
	CHECK(json_equal(before, after));
	json_decref(before);
	json_decref(after);
	snapshot_close(&s);
}

static json_t *block(json_t *json, size_t i)
{
	return json_array_get(json_object_get(json, "blocks"), i);
}

/* Takes a manifest that something is wrong with. */
static void refused(json_t *json, const char *what)
{
	struct snapshot s;
	struct error err;

	CHECK(snapshot_from_json(&s, json, &err));
	CHECK_EQ(err.code, EXIT_SNAPSHOT);
	CHECK_HAS(err.message, what);
	snapshot_close(&s);
	json_decref(json);
}

static json_t *with(const char *key, json_t *value)
{
	json_t *json = manifest();

	json_object_set_new(json, key, value);
	return json;
}

static json_t *with_block(const char *key, json_t *value)
{
	json_t *json = manifest();

	json_object_set_new(block(json, 0), key, value);
	return json;
}

TEST(snapshot_manifest_refused)
{
	json_t *many = json_array();
	int i;

	refused(json_array(), "nothing of the kind");
	refused(json_null(), "nothing of the kind");
	refused(with("format", json_string("other")), "nothing of the kind");
	refused(with("version", json_integer(2)), "version 2");
	refused(with("version", json_string("1")), "version 0");
	refused(with("page_size", json_integer(65536)), "another size");
	refused(with("blocks", json_array()), "number of memory blocks");
	refused(with("blocks", json_string("x")), "number of memory blocks");
	for (i = 0; i < 1000; i++)
		json_array_append_new(many, json_object());
	refused(with("blocks", many), "number of memory blocks");
	refused(with("vm", json_null()), "does not describe");
	refused(with("state", json_null()), "no device state");
	refused(with_block("id", json_string("")), "no name");
	refused(with_block("id", json_string("ram1")), "same name");
	refused(with_block("size", json_integer(0)), "impossible");
	refused(with_block("size", json_integer(-4096)), "impossible");
	refused(with_block("size", json_integer(4097)), "impossible");
	refused(with_block("size", json_integer(INT64_MAX)), "impossible");
	refused(with_block("size", json_integer(1ll << 62)), "impossible");
	refused(with_block("size", json_real(8192)), "impossible");
	refused(with_block("digest", json_string("0123456789ABCDEF")), "no digest");
	refused(with_block("digest", json_string("0x23456789abcdef")), "no digest");
	refused(with_block("digest", json_string("0123456789abcdef0")), "no digest");
	refused(with_block("digest", json_integer(1)), "no digest");
}

TEST(snapshot_manifest_random)
{
	struct snapshot s;
	struct error err;
	json_t *good = manifest(), *json;
	char *text = json_dumps(good, 0);
	size_t length = strlen(text);
	int i;

	srandom(1);
	for (i = 0; i < 20000; i++) {
		char *copy = strdup(text);

		copy[(size_t)random() % length] = (char)random();
		copy[(size_t)random() % length] = (char)random();
		json = json_loadb(copy, length, JSON_REJECT_DUPLICATES, NULL);
		if (!snapshot_from_json(&s, json, &err))
			CHECK(s.n == 2 && s.blocks[0].size <= SNAPSHOT_MAX_SIZE);
		snapshot_close(&s);
		json_decref(json);
		free(copy);
	}
	json_decref(good);
	free(text);
}

TEST(snapshot_digest)
{
	static uint64_t page[PAGE / 8];

	CHECK(snapshot_digest(page) == 0);
	page[511] = 1;
	CHECK(snapshot_digest(page) != 0);
}

/**
 * struct saving - memory that is saved to a directory
 * @path: of the directory that it is in
 * @to: of the snapshot
 */
struct saving {
	char path[64];
	char to[80];
	struct snapshot_dir dir;
	struct snapshot snapshot;
	struct writer writer;
	struct writer_source source;
	unsigned long bitmap[PAGES / 64 + 1];
};

static void saving_open(struct saving *s)
{
	struct error err = {};

	*s = (struct saving){};
	snprintf(s->path, sizeof(s->path), "/tmp/snapshot-XXXXXX");
	CHECK(mkdtemp(s->path));
	snprintf(s->to, sizeof(s->to), "%s/snap", s->path);
	CHECK(!snapshot_dir_create(&s->dir, s->to, &err));
	CHECK(!snapshot_alloc(&s->snapshot, 1, &err));
	snprintf(s->snapshot.blocks[0].id, 8, "ram0");
	s->snapshot.blocks[0].size = PAGES * PAGE;
	CHECK(!snapshot_dir_files(&s->dir, &s->snapshot, &err));
	s->source.fd = memfd_create("ram", MFD_CLOEXEC);
	s->source.offset = PAGE;
	s->source.bitmap = s->bitmap;
	CHECK(!ftruncate(s->source.fd, (PAGES + 1) * PAGE));
	CHECK(!writer_open(&s->writer, &s->snapshot, &s->source, &err));
}

static void page_put(struct saving *s, unsigned int page, char value)
{
	char data[PAGE];

	memset(data, value, sizeof(data));
	CHECK(pwrite(s->source.fd, data, PAGE, (page + 1) * PAGE) == PAGE);
	s->bitmap[page / 64] |= 1ul << page % 64;
}

static void copy_all(struct saving *s)
{
	struct error err = {};
	int left;

	writer_count(&s->writer);
	while ((left = writer_copy(&s->writer, 64 * PAGE, &err)) > 0)
		;
	CHECK(!left);
	CHECK(!writer_pending(&s->writer));
}

static void saving_commit(struct saving *s)
{
	struct error err = {};

	s->snapshot.vm = json_object();
	s->snapshot.state_size = 1;
	s->snapshot.state_digest = snapshot_digest_all("x", 1);
	CHECK(write(s->snapshot.state_fd, "x", 1) == 1);
	CHECK(!snapshot_dir_commit(&s->dir, &s->snapshot, &err));
}

static void saving_close(struct saving *s)
{
	char command[128];

	snapshot_dir_discard(&s->dir);
	writer_close(&s->writer);
	snapshot_close(&s->snapshot);
	close(s->source.fd);
	snprintf(command, sizeof(command), "rm -r %s", s->path);
	CHECK(!system(command));
}

static char page_get(const struct snapshot *snapshot, unsigned int page)
{
	char data[PAGE] __attribute__((aligned(8)));
	struct error err;

	if (snapshot_read(&snapshot->blocks[0], page, 1, data, &err))
		return '?';
	return data[PAGE - 1];
}

TEST(snapshot_save_and_fill)
{
	int fd = memfd_create("restored", MFD_CLOEXEC);
	struct snapshot snapshot;
	struct error err = {};
	struct snapshot_reading reading = {};
	struct saving s;
	struct stat st;
	char byte;

	saving_open(&s);
	page_put(&s, 0, 'a');
	page_put(&s, 65, 'b');
	page_put(&s, 299, 'c');
	CHECK(!writer_first_pass(&s.writer, &err));
	CHECK_EQ(writer_pending(&s.writer), 3 * PAGE);
	copy_all(&s);
	/* Written anew, made zeros, and zeros where there was nothing. */
	page_put(&s, 0, 'A');
	page_put(&s, 65, 0);
	page_put(&s, 66, 0);
	copy_all(&s);
	CHECK_EQ(s.writer.zero_pages, 2);
	CHECK(!fstat(s.snapshot.blocks[0].fd, &st));
	CHECK(st.st_blocks * 512 < 10 * PAGE);
	saving_commit(&s);

	CHECK(!snapshot_open(&snapshot, s.to, NULL, &err));
	CHECK(!snapshot_digests(&snapshot, s.to, &err));
	CHECK_EQ(page_get(&snapshot, 0), 'A');
	CHECK_EQ(page_get(&snapshot, 65), 0);
	CHECK_EQ(page_get(&snapshot, 299), 'c');
	CHECK(!ftruncate(fd, (PAGES + 2) * PAGE));
	/* What is there before does not stay. */
	CHECK(pwrite(fd, "old", 3, 70 * PAGE) == 3);
	CHECK(!snapshot_fill(&snapshot.blocks[0], fd, 2 * PAGE, &reading, &err));
	CHECK(pread(fd, &byte, 1, (299 + 2) * PAGE) == 1 && byte == 'c');
	CHECK(pread(fd, &byte, 1, 70 * PAGE) == 1 && byte == 0);
	CHECK(!fstat(fd, &st));
	CHECK_EQ(st.st_blocks * 512, 2 * PAGE);
	snapshot_close(&snapshot);
	close(fd);
	saving_close(&s);
}

struct looks {
	unsigned int n, left;
};

static int look(void *data, struct error *err)
{
	struct looks *looks = data;

	looks->n++;
	return looks->left-- ? 0 : error_set(err, EXIT_CANCELLED, "cancelled");
}

TEST(snapshot_verify_reads_all)
{
	struct snapshot_block *block;
	struct snapshot snapshot;
	struct error err = {};
	struct looks looks = { .left = ~0u };
	struct snapshot_reading reading = { look, &looks, 0 };
	struct saving s;
	char path[96];
	int fd;

	saving_open(&s);
	page_put(&s, 0, 'a');
	page_put(&s, 299, 'c');
	copy_all(&s);
	saving_commit(&s);
	CHECK(!snapshot_open(&snapshot, s.to, NULL, &err));
	CHECK(!snapshot_digests(&snapshot, s.to, &err));
	block = &snapshot.blocks[0];
	CHECK(!snapshot_verify(block, &reading, &err));
	CHECK_EQ(reading.bytes, 2 * PAGE);
	CHECK_EQ(looks.n, 2);
	looks.left = 1;
	CHECK(snapshot_verify(block, &reading, &err));
	CHECK_EQ(err.code, EXIT_CANCELLED);
	CHECK_EQ(reading.bytes, 3 * PAGE);
	looks.left = ~0u;

	snprintf(path, sizeof(path), "%s/memory0", s.to);
	fd = open(path, O_WRONLY);
	CHECK(pwrite(fd, "x", 1, 299 * PAGE) == 1);
	CHECK(snapshot_verify(block, &reading, &err));
	CHECK_EQ(err.code, EXIT_DIFFERS);
	CHECK_HAS(err.message, "its digest differs");
	CHECK(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE));
	CHECK(snapshot_verify(block, &reading, &err));
	CHECK_HAS(err.message, "is a hole");
	snapshot_close(&snapshot);
	close(fd);
	saving_close(&s);
}

TEST(snapshot_dir_is_made_once)
{
	struct snapshot_dir other;
	struct error err = {};
	char partial[96];
	struct saving s;

	saving_open(&s);
	snprintf(partial, sizeof(partial), "%s.partial", s.to);
	CHECK(snapshot_dir_create(&other, s.to, &err));
	CHECK_HAS(err.message, "being made");
	snapshot_dir_discard(&other);
	CHECK(!access(partial, F_OK));
	/* Who was killed holds no lock. */
	close(s.dir.fd);
	close(s.dir.parent_fd);
	s.dir = SNAPSHOT_DIR_NONE;
	CHECK(!snapshot_dir_create(&s.dir, s.to, &err));
	CHECK(!faccessat(s.dir.fd, ".", F_OK, 0));
	CHECK(faccessat(s.dir.fd, "memory0", F_OK, 0));
	snapshot_dir_discard(&s.dir);
	CHECK(access(partial, F_OK));
	CHECK(!mkdir(s.to, 0700));
	CHECK(snapshot_dir_create(&s.dir, s.to, &err));
	CHECK_HAS(err.message, "exists");
	snapshot_dir_discard(&s.dir);
	CHECK(!access(s.to, F_OK));
	CHECK(snapshot_dir_create(&s.dir, "/tmp/..", &err));
	CHECK_EQ(err.code, EXIT_USAGE);
	saving_close(&s);
}

/* What happens just before we get the lock: NULL for nothing. */
static void (*before_lock)(struct saving *s);
static struct saving *before_lock_of;

int flock(int fd, int operation)
{
	if (before_lock)
		before_lock(before_lock_of);
	return (int)syscall(SYS_flock, fd, operation);
}

static void gone(struct saving *s)
{
	snapshot_dir_discard(&s->dir);
}

/* Another one has opened the directory before that got its name, and locks it then. */
static void taken_over(void (*end)(struct saving *s), struct saving *s)
{
	struct snapshot_dir other;
	struct error err = {};

	before_lock_of = s;
	before_lock = end;
	CHECK(snapshot_dir_create(&other, s->to, &err));
	before_lock = NULL;
	CHECK_EQ(err.code, EXIT_USAGE);
	CHECK_HAS(err.message, "exists already");
	snapshot_dir_discard(&other);
}

TEST(snapshot_dir_is_not_emptied_once_it_has_its_name)
{
	struct snapshot snapshot;
	struct error err = {};
	struct saving s;

	saving_open(&s);
	page_put(&s, 7, 'a');
	copy_all(&s);
	taken_over(saving_commit, &s);
	CHECK(!snapshot_open(&snapshot, s.to, NULL, &err));
	CHECK(!snapshot_digests(&snapshot, s.to, &err));
	CHECK_EQ(page_get(&snapshot, 7), 'a');
	snapshot_close(&snapshot);
	saving_close(&s);

	saving_open(&s);
	taken_over(gone, &s);
	CHECK(access(s.to, F_OK));
	saving_close(&s);
}

#define HUGE	(1ull << 40)

/* As large as it says, on a disk that has nothing of it. */
static void huge_make(const struct saving *s)
{
	char path[128];
	json_t *json;
	int fd;

	snprintf(path, sizeof(path), "%s/memory0", s->to);
	CHECK(!truncate(path, (off_t)HUGE));
	snprintf(path, sizeof(path), "%s/digests0", s->to);
	fd = open(path, O_RDWR);
	CHECK(!ftruncate(fd, 0));
	CHECK(!ftruncate(fd, (off_t)(HUGE / PAGE * 8)));
	close(fd);
	snprintf(path, sizeof(path), "%s/manifest.json", s->to);
	json = json_load_file(path, 0, NULL);
	json_object_set_new(block(json, 0), "size", json_integer((json_int_t)HUGE));
	CHECK(!json_dump_file(json, path, 0));
	json_decref(json);
}

static long resident_kib(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss;
}

TEST(snapshot_that_is_huge_takes_what_it_has)
{
	struct snapshot snapshot;
	struct error err = {};
	struct saving s;
	long before;

	saving_open(&s);
	saving_commit(&s);
	huge_make(&s);
	before = resident_kib();
	/* Its sizes can be compared before anything of that size is made. */
	CHECK(!snapshot_open(&snapshot, s.to, NULL, &err));
	CHECK_EQ(snapshot.blocks[0].size, HUGE);
	CHECK(!snapshot.blocks[0].digests);
	CHECK(snapshot_digests(&snapshot, s.to, &err));
	CHECK_EQ(err.code, EXIT_SNAPSHOT);
	CHECK_HAS(err.message, "its digest differs");
	CHECK(resident_kib() - before < 256 << 10);
	snapshot_close(&snapshot);
	saving_close(&s);
}

TEST(snapshot_digests_are_compared)
{
	struct snapshot snapshot;
	struct error err = {};
	struct saving s;
	char path[96];

	saving_open(&s);
	page_put(&s, 299, 'c');
	copy_all(&s);
	saving_commit(&s);
	snprintf(path, sizeof(path), "%s/digests0", s.to);
	CHECK(!truncate(path, 0) && !truncate(path, PAGES * 8));
	CHECK(!snapshot_open(&snapshot, s.to, NULL, &err));
	CHECK(snapshot_digests(&snapshot, s.to, &err));
	CHECK_EQ(err.code, EXIT_SNAPSHOT);
	CHECK_HAS(err.message, "digests0: it is not what was saved");
	/* Shorter than when it was opened. */
	free(snapshot.blocks[0].digests);
	CHECK(!truncate(path, 8));
	CHECK(snapshot_digests(&snapshot, s.to, &err));
	CHECK_EQ(err.code, EXIT_SNAPSHOT);
	snapshot_close(&snapshot);
	saving_close(&s);
}

TEST(snapshot_working_set)
{
	uint64_t pages[] = { 299, 0, 17 }, *read;
	struct error err = {};
	struct supply supply;
	struct saving s;
	size_t n;

	saving_open(&s);
	page_put(&s, 1, 'x');
	copy_all(&s);
	saving_commit(&s);
	CHECK(!supply_open(&supply, s.to, &err));
	CHECK_EQ(supply.size, PAGES * PAGE);
	CHECK(!supply_working_set(&supply, &read, &n, &err));
	CHECK(!read && !n);
	CHECK(!supply_working_set_write(&supply, pages, 3, &err));
	CHECK(!supply_working_set(&supply, &read, &n, &err));
	CHECK_EQ(n, 3);
	CHECK(read && !memcmp(read, pages, sizeof(pages)));
	free(read);
	pages[2] = PAGES;
	CHECK(!supply_working_set_write(&supply, pages, 3, &err));
	CHECK(supply_working_set(&supply, &read, &n, &err));
	CHECK_EQ(err.code, EXIT_SNAPSHOT);
	supply_close(&supply);
	saving_close(&s);
}

TEST(snapshot_supply_runs)
{
	char buffer[4 * PAGE] __attribute__((aligned(8)));
	struct error err = {};
	struct supply supply;
	struct saving s;
	bool zero;

	saving_open(&s);
	page_put(&s, 1, 'x');
	page_put(&s, 2, 'y');
	copy_all(&s);
	saving_commit(&s);
	CHECK(!supply_open(&supply, s.to, &err));
	CHECK_EQ(supply_run(&supply, 0, 10 * PAGE, &zero), PAGE);
	CHECK(zero);
	CHECK_EQ(supply_run(&supply, PAGE, 10 * PAGE, &zero), 2 * PAGE);
	CHECK(!zero);
	CHECK_EQ(supply_run(&supply, 3 * PAGE, PAGES * PAGE, &zero), (PAGES - 3) * PAGE);
	CHECK(zero);
	CHECK(!supply_read(&supply, 0, 4 * PAGE, buffer, &zero, &err));
	CHECK(!zero && !buffer[0] && buffer[PAGE] == 'x' && buffer[2 * PAGE] == 'y');
	CHECK(!supply_read(&supply, 3 * PAGE, PAGE, buffer, &zero, &err) && zero);
	supply_close(&supply);
	saving_close(&s);
}
