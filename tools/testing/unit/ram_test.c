// SPDX-License-Identifier: GPL-2.0-or-later
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/ram.h"
#include "cmd/track.h"
#include "unit.h"
#include "vmm/memfile.h"

TEST(ram_is_parsed)
{
	struct ram_spec spec;
	struct error err;

	CHECK_EQ(ram_parse(&spec, "/dev/shm/ram0", &err), 0);
	CHECK_STR(spec.path, "/dev/shm/ram0");
	CHECK_EQ(spec.fd, -1);
	CHECK_EQ(spec.offset + spec.length, 0);
	CHECK_EQ(ram_parse(&spec, "a,b,offset=4K,length=0x2000", &err), 0);
	CHECK_STR(spec.path, "a,b");
	CHECK_EQ(spec.offset, 4096);
	CHECK_EQ(spec.length, 8192);
	CHECK_EQ(ram_parse(&spec, "fd:7,length=1G", &err), 0);
	CHECK_EQ(spec.fd, 7);
	CHECK_EQ(spec.length, 1 << 30);
	CHECK_EQ(ram_parse(&spec, "./fd:7", &err), 0);
	CHECK_EQ(spec.fd, -1);
}

TEST(ram_is_refused)
{
	static const char * const bad[] = {
		"", ",offset=4096", "fd:", "fd:x", "fd:-1", "fd:99999999999",
		"f,offset=", "f,offset=x", "f,length=0", "f,length=-4096",
	};
	struct ram_spec spec;
	struct error err;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK_EQ(ram_parse(&spec, bad[i], &err), -1);
		CHECK_EQ(err.code, EXIT_USAGE);
		CHECK(err.message[0] && err.advice[0]);
	}
}

/* Opens @text as this process's memory; the message if it is refused. */
static const char *open_message(const char *text, struct error *err)
{
	struct vmm_memory mem;
	struct ram_spec spec;

	err->message[0] = '\0';
	CHECK_EQ(ram_parse(&spec, text, err), 0);
	if (ram_open(&spec, getpid(), &mem, err))
		return err->message;
	close(mem.fd);
	return "";
}

TEST(files_of_the_wrong_kind_are_refused)
{
	struct error err;

	CHECK_HAS(open_message("/dev", &err), "directory");
	CHECK_EQ(err.code, EXIT_UNTRACKABLE);
	CHECK_HAS(open_message("/nonexistent/ram", &err), "no such file");
	CHECK_EQ(err.code, EXIT_UNTRACKABLE);
	CHECK_HAS(open_message("/dev/zero", &err), "not a regular file");
	CHECK_HAS(open_message("/proc/self/comm", &err), "not on tmpfs");
	CHECK_HAS(err.advice, "memory-backend-file");
	CHECK_HAS(open_message("fd:987", &err), "no such file");
}

TEST(memfd_is_taken_with_its_range)
{
	struct vmm_memory mem;
	struct ram_spec spec;
	struct error err;
	char text[64];
	int fd;

	fd = memfd_create("unit", MFD_CLOEXEC);
	snprintf(text, sizeof(text), "fd:%d", fd);
	CHECK_HAS(open_message(text, &err), "empty");
	CHECK_EQ(err.code, EXIT_UNTRACKABLE);
	CHECK_EQ(ftruncate(fd, 8 * 4096), 0);
	CHECK_STR(open_message(text, &err), "");

	snprintf(text, sizeof(text), "fd:%d,offset=8192", fd);
	CHECK_EQ(ram_parse(&spec, text, &err), 0);
	CHECK_EQ(ram_open(&spec, getpid(), &mem, &err), 0);
	CHECK_EQ(mem.offset, 8192);
	CHECK_EQ(mem.size, 6 * 4096);
	close(mem.fd);

	snprintf(text, sizeof(text), "fd:%d,offset=32768", fd);
	CHECK_HAS(open_message(text, &err), "past the file's end");
	CHECK_EQ(err.code, EXIT_USAGE);
	snprintf(text, sizeof(text), "fd:%d,offset=16K,length=20K", fd);
	CHECK_HAS(open_message(text, &err), "past the file's end");
	snprintf(text, sizeof(text), "fd:%d,offset=100", fd);
	CHECK_HAS(open_message(text, &err), "multiples of 4096");
	snprintf(text, sizeof(text), "fd:%d,length=5000", fd);
	CHECK_HAS(open_message(text, &err), "multiples of 4096");
	close(fd);
}

/* Parses a command line; the message if it is refused. */
static const char *options_message(struct track_options *options,
				   struct error *err, const char *line)
{
	char *copy = strdup(line), *argv[16], *word, *save;
	int argc = 0, ret;

	for (word = strtok_r(copy, " ", &save); word && argc < 15;
	     word = strtok_r(NULL, " ", &save))
		argv[argc++] = word;
	argv[argc] = NULL;
	optind = 0;
	err->message[0] = '\0';
	ret = track_options_parse(options, argc, argv, err);
	track_options_free(options);
	free(copy);
	CHECK_EQ(!!ret, !!err->message[0]);
	CHECK(!ret || err->code == EXIT_USAGE);
	CHECK(!ret || err->advice[0]);
	return err->message;
}

TEST(track_options_are_parsed)
{
	struct track_options o;
	struct error err;

	CHECK_STR(options_message(&o, &err, "track --qmp s"), "");
	CHECK_EQ(o.interval_ns, NS_PER_S);
	CHECK_EQ(o.count + o.duration_ns, 0);
	CHECK_STR(options_message(&o, &err,
		  "track --pid 7 --ram a --ram fd:3 -i 100ms -n 5 -d 2.5s -j"),
		  "");
	CHECK_EQ(o.pid, 7);
	CHECK_EQ(o.n_rams, 2);
	CHECK_EQ(o.interval_ns, 100 * NS_PER_MS);
	CHECK_EQ(o.count, 5);
	CHECK_EQ(o.duration_ns, 2500 * NS_PER_MS);
	CHECK_STR(options_message(&o, &err, "track --qmp s --pid 7"), "");
}

TEST(track_options_are_refused)
{
	struct track_options o;
	struct error err;

	CHECK_HAS(options_message(&o, &err, "track"), "which guest");
	CHECK_HAS(options_message(&o, &err, "track --ram a"), "which guest");
	CHECK_HAS(options_message(&o, &err, "track --pid 7"), "which memory");
	CHECK_HAS(options_message(&o, &err, "track --qmp s --ram a"),
		  "exclude each other");
	CHECK_HAS(options_message(&o, &err, "track --qmp s --interval 0"),
		  "too short");
	CHECK_HAS(options_message(&o, &err, "track --qmp s --interval 999us"),
		  "too short");
	CHECK_HAS(options_message(&o, &err, "track --qmp s --interval fast"),
		  "not a time");
	CHECK_HAS(options_message(&o, &err, "track --qmp s --interval"),
		  "missing after --interval");
	CHECK_HAS(options_message(&o, &err, "track --qmp s -n 0"),
		  "at least 1");
	CHECK_HAS(options_message(&o, &err, "track --qmp s -d 0"),
		  "too short");
	CHECK_HAS(options_message(&o, &err, "track --pid 0 --ram a"),
		  "at least 1");
	CHECK_HAS(options_message(&o, &err, "track --pid -1 --ram a"),
		  "at least 1");
	CHECK_HAS(options_message(&o, &err, "track --pid 9999999999 --ram a"),
		  "not a number");
	CHECK_HAS(options_message(&o, &err, "track --qmp s --fast"),
		  "unknown option --fast");
	CHECK_HAS(options_message(&o, &err, "track --qmp s -x"),
		  "unknown option -x");
	CHECK_HAS(options_message(&o, &err, "track --qmp s now"),
		  "unexpected argument now");
}

TEST(maps_are_understood)
{
	static const char maps[] =
		"55d0c0000000-55d0c0001000 r-xp 00000000 08:01 12 /usr/bin/q\n"
		"7f0000000000-7f0000100000 rw-s 00000000 00:1b 2                          /dev/shm/a b (deleted)\n"
		"7f0000100000-7f0000200000 r--s 00100000 00:1b 2                          /dev/shm/a b (deleted)\n"
		"7f0001000000-7f0001200000 rw-p 00000000 00:1b 3 /dev/shm/private\n"
		"7f0002000000-7f0002100000 rw-s 00000000 00:01 9 /memfd:x (deleted)\n"
		"7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0 [stack]\n"
		"garbage\n";
	struct memfiles all;
	struct error err;

	CHECK_EQ(memfiles_parse(&all, maps, &err), 0);
	CHECK_EQ(all.n, 2);
	CHECK_STR(all.files[0].path, "/dev/shm/a b (deleted)");
	CHECK_EQ(all.files[0].bytes, 2 << 20);
	CHECK_EQ(all.files[0].start, 0x7f0000000000);
	CHECK_EQ(all.files[0].end, 0x7f0000100000);
	CHECK_EQ(all.files[1].ino, 9);
	memfiles_free(&all);
	CHECK_EQ(memfiles_parse(&all, "", &err), 0);
	CHECK_EQ(all.n, 0);
	CHECK_EQ(memfiles_parse(&all, "7f00", &err), 0);
	CHECK_EQ(all.n, 0);
}

TEST(memory_is_opened_by_descriptor_and_by_mapping)
{
	struct memfiles all;
	struct error err = {};
	char *map;
	int fd, mem;

	fd = memfd_create("unit", MFD_CLOEXEC);
	CHECK_EQ(ftruncate(fd, 4096), 0);
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK_EQ(memfiles_read(&all, getpid(), &err), 0);
	CHECK_EQ(all.n, 1);
	if (!all.n)
		return;
	mem = memfile_open(&all.files[0], getpid(), &err);
	CHECK(mem >= 0);
	CHECK_EQ(pwrite(mem, "a", 1, 0), 1);
	CHECK_EQ(map[0], 'a');
	close(mem);
	close(fd);
	/* Without the descriptor it takes a privilege. */
	mem = memfile_open(&all.files[0], getpid(), &err);
	if (mem >= 0) {
		CHECK_EQ(pwrite(mem, "b", 1, 0), 1);
		CHECK_EQ(map[0], 'b');
		close(mem);
	} else {
		CHECK_EQ(err.code, EXIT_PERMISSION);
	}
	memfiles_free(&all);
	munmap(map, 4096);
}

TEST(a_process_that_is_gone_is_named)
{
	struct memfiles all;
	struct error err;

	CHECK_EQ(memfiles_read(&all, 0x7ffffff0, &err), -1);
	CHECK_EQ(err.code, EXIT_GONE);
	CHECK_HAS(err.message, "does not exist");
}

/* The directories that lead to it count, too. */
TEST(memfile_readers_by_mode_and_directory)
{
	char dir[] = "/tmp/memfile-XXXXXX", path[64];
	int fd;

	CHECK(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/ram", dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0);
	CHECK_EQ(chmod(dir, 0755), 0);
	CHECK(!memfile_readers(fd));
	fchmod(fd, 0644);
	CHECK_STR(memfile_readers(fd), "everybody");
	chmod(dir, 0700);
	CHECK(!memfile_readers(fd));
	chmod(dir, 0755);

	/* root's group is root; another one is its members'. */
	fchmod(fd, 0640);
	if (!fchown(fd, (uid_t)-1, 0))
		CHECK(!memfile_readers(fd));
	if (!fchown(fd, (uid_t)-1, 12345)) {
		CHECK_STR(memfile_readers(fd), "its group");
		chmod(dir, 0750);
		CHECK(!memfile_readers(fd));
	}
	fchmod(fd, 0666);
	chmod(dir, 0755);
	unlink(path);
	CHECK(!memfile_readers(fd));
	rmdir(dir);
	close(fd);
}

TEST(files_that_are_mapped_privately_are_found)
{
	static const size_t size = 8 * 4096;
	int fd = memfd_create("mapped", MFD_CLOEXEC), other = memfd_create("other", MFD_CLOEXEC);
	struct error err = {};
	uint64_t written;
	bool mapped;
	char *data;

	CHECK(!ftruncate(fd, size) && !ftruncate(other, size));
	CHECK(pwrite(fd, "x", 1, 0) == 1);
	data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(!memfile_mapped(getpid(), fd, size, &mapped, &written, &err));
	CHECK(!mapped);
	munmap(data, size);

	data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK_EQ(data[0], 'x');
	CHECK(!memfile_mapped(getpid(), fd, size, &mapped, &written, &err));
	CHECK(mapped);
	CHECK_EQ(written, 0);
	data[4096] = 'y';
	data[0] = 'y';
	CHECK(!memfile_mapped(getpid(), fd, size, &mapped, &written, &err));
	CHECK_EQ(written, 2 * 4096);
	CHECK(!memfile_mapped(getpid(), fd, size + 4096, &mapped, &written, &err));
	CHECK(!mapped);
	CHECK(!memfile_mapped(getpid(), other, size, &mapped, &written, &err));
	CHECK(!mapped);
	munmap(data, size);

	data = mmap(NULL, size / 2, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, (off_t)size / 2);
	CHECK(!memfile_mapped(getpid(), fd, size / 2, &mapped, &written, &err));
	CHECK(!mapped);
	munmap(data, size / 2);
	CHECK(memfile_mapped(-1, fd, size, &mapped, &written, &err));
	CHECK_EQ(err.code, EXIT_GONE);
	close(other);
	close(fd);
}
