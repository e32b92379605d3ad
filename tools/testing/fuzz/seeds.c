// SPDX-License-Identifier: GPL-2.0-or-later
/* Makes the inputs that fuzzing begins with: seeds DIRECTORY. */
#include <errno.h>
#include <linux/genetlink.h>
#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zstd.h>

#include "lib/internal.h"
#include "linux/migtrack.h"
#include "stream/wire.h"

static const char *top;

static void put(const char *target, const void *data, size_t size)
{
	static int number;
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", top, target);
	if (mkdir(path, 0755) && errno != EEXIST)
		exit(1);
	snprintf(path, sizeof(path), "%s/%s/seed-%d", top, target, number++);
	file = fopen(path, "we");
	if (!file || fwrite(data, 1, size, file) != size || fclose(file)) {
		perror(path);
		exit(1);
	}
}

static const struct {
	const char *target;
	const char *text;
} texts[] = {
	{ "hello", "{\"version\":2,\"id\":\"00112233445566778899aabbccddeeff\",\"channels\":2,"
		   "\"vm\":{\"vmm\":\"qemu\",\"machine\":\"pc-q35-11.0\",\"uuid\":\"0\","
		   "\"cpu\":{\"model\":\"qemu64\",\"present\":1,\"max\":1,\"topology\":{\"cores\":1},"
		   "\"features\":{\"1.edx\":5}},\"memory\":[{\"id\":\"m0\",\"size\":65536,"
		   "\"kind\":\"file\",\"share\":true,\"file\":true}],"
		   "\"blocks\":[{\"name\":\"m0\",\"size\":65536}]},"
		   "\"blocks\":[{\"id\":\"m0\",\"size\":65536}]}" },
	{ "hello", "{\"version\":2,\"id\":\"00112233445566778899aabbccddeeff\",\"channels\":2,"
		   "\"compress\":\"none\",\"vm\":{},\"blocks\":[],\"postcopy\":true,"
		   "\"urgent\":2}" },
	{ "hello", "{\"message\":\"why\",\"advice\":\"what to do\"}" },
	{ "answer", "\x02{\"blocks\":[{\"empty\":true}],\"compress\":[\"lz4\",\"zstd\"]}" },
	{ "answer", "\x03{\"message\":\"why\",\"advice\":\"what to do\"}" },
	{ "qmp", "\1{\"return\":{}}\n{\"return\":[]}\n" },
	{ "qmp", "\2{\"return\":{\"status\":\"running\",\"running\":true}}\n{\"return\":[]}\n" },
	{ "qmp", "\4{\"return\":[{\"capability\":\"events\",\"state\":false}]}\n"
		 "{\"return\":{\"max-bandwidth\":1}}\n" },
	{ "qmp", "\5{\"timestamp\":{\"seconds\":1,\"microseconds\":2},\"event\":\"STOP\"}\n"
		 "{\"return\":{\"status\":\"active\"}}\n{\"return\":{\"running\":false,\"status\":\"paused\"}}\n" },
	{ "qmp", "\6{\"return\":[]}\n{\"return\":\"FlatView #0\\r\\n AS \\\"memory\\\", root: system\\r\\n\"}\n" },
	{ "qmp", "\7{\"return\":[{\"name\":\"a\",\"type\":\"child<ram>\"}]}\n{\"error\":{\"class\":\"x\",\"desc\":\"y\"}}\n" },
	{ "layout", "FlatView #0\r\n AS \"memory\", root: system\r\n"
		    "  0000000100000000-000000013fffffff (prio 0, ram): ram @0000000080000000 KVM\r\n" },
	{ "layout", "7f0000000000-7f0000200000 rw-s 00000000 00:19 42    /dev/shm/a b\n" },
	{ "manifest", "{\"format\":\"migtrack-snapshot\",\"version\":1,\"created_ns\":1700000000000000000,"
		      "\"ran\":true,\"page_size\":4096,\"vm\":{\"vmm\":\"qemu\"},\"blocks\":["
		      "{\"id\":\"ram0\",\"size\":65536,\"digest\":\"0123456789abcdef\"},"
		      "{\"id\":\"ram1\",\"size\":4096,\"digest\":\"0000000000000000\"}],"
		      "\"state\":{\"size\":17,\"digest\":\"fedcba9876543210\"}}" },
	{ "offer", "\4[{\"base_host_virt_addr\":139637976727552,\"size\":2097152,\"offset\":0,"
		   "\"page_size\":4096,\"page_size_kib\":4096},"
		   "{\"base_host_virt_addr\":139638244900864,\"size\":2097152,\"offset\":2097152,"
		   "\"page_size_kib\":2048}]" },
	{ "requests", "{\"command\":\"set\",\"downtime_ns\":1000000000,\"max_downtime_ns\":2000000000,"
		      "\"timeout_ns\":5,\"bandwidth_bytes_per_second\":1}\n" },
	{ "requests", "{\"command\":\"switchover\"}\n" },
	{ "handover", "\1{\"handover\":{\"version\":1,\"vmm\":\"v\",\"release\":\"1\",\"vm\":{\"cpu\":1},"
		      "\"regions\":[{\"id\":\"ram0\",\"base_host_virt_addr\":140737488355328,"
		      "\"size\":2097152,\"offset\":0,\"page_size\":4096,\"file_offset\":4096,"
		      "\"guest_phys_addr\":0}]}}" },
	{ "words", "192.0.2.1:4711" }, { "words", "[::1]:4444" }, { "words", "unix:/run/socket" },
	{ "words", "2.5s" }, { "words", "0x1000" }, { "words", "10MiB" }, { "words", "300ms" },
	{ "words", "00112233445566778899aabbccddeeff" },
	{ "words", "migtrack:00112233445566778899aabbccddeeff\n" },
	{ "words", "a.example.org,b.example.org" },
	{ "records", "{\"done\":true}" },
	{ "records", "{\"code\":11,\"message\":\"why\",\"advice\":\"what\",\"number\":5}" },
	{ "records", "{\"command\":\"migrate\",\"started_ns\":1700000000000000000,\"pid\":1,"
		     "\"pid_start\":5,\"qmp\":\"q\",\"to\":\"t\",\"result\":\"running\",\"total_ns\":1,"
		     "\"sent_bytes\":4096,\"downtime_ns\":5,\"why\":\"w\"}" },
	{ "scenario", "memory 8G\nbandwidth 1G\nfixed 30ms\nwriter set 64M rate 2M\nexpect done\n" },
	{ "scenario", "{\"type\":\"iteration\",\"iteration\":1,\"elapsed_ns\":1000000000,\"sent_bytes\":100000000,"
		      "\"remaining_bytes\":1000000,\"dirty_bytes\":1000000}\n" },
};

static size_t frame_put(uint8_t *to, struct wire_frame frame, const void *payload)
{
	frame.checksum = wire_checksum(&frame, payload);
	wire_encode(to, &frame);
	memcpy(to + WIRE_HEADER_SIZE, payload, frame.length);
	return WIRE_HEADER_SIZE + frame.length;
}

static void frames(void)
{
	static uint8_t page[WIRE_PAGE_SIZE] = "a page", packed[2 * WIRE_PAGE_SIZE];
	static uint8_t all[4 * WIRE_PAGE_SIZE];
	struct wire_frame frame = { .type = WIRE_PAGES, .length = WIRE_PAGE_SIZE };
	size_t size, lz4, zstd;

	size = frame_put(all, frame, page);
	frame = (struct wire_frame){ .type = WIRE_ZERO, .block = 1, .count = 2 * WIRE_PAGE_SIZE };
	size += frame_put(all + size, frame, page);
	put("frames", all, size);
	put("door", all, size);

	lz4 = (size_t)LZ4_compress_default((char *)page, (char *)packed + 1, sizeof(page),
					   sizeof(packed) - 1);
	packed[0] = 1 << 1;
	put("compressed", packed, lz4 + 1);
	frame = (struct wire_frame){ .type = WIRE_PAGES_LZ4, .length = (uint32_t)lz4,
				     .count = WIRE_PAGE_SIZE, .offset = WIRE_PAGE_SIZE };
	put("frames", all, frame_put(all, frame, packed + 1));
	zstd = ZSTD_compress(packed + 1, sizeof(packed) - 1, page, sizeof(page), 1);
	packed[0] = 1 << 1 | 1;
	put("compressed", packed, zstd + 1);
	frame.type = WIRE_PAGES_ZSTD;
	frame.length = (uint32_t)zstd;
	put("frames", all, frame_put(all, frame, packed + 1));

	memset(page, 0, sizeof(page));
	page[0] = 5;
	frame = (struct wire_frame){ .type = WIRE_MISSING, .length = 16, .block = 1 };
	size = frame_put(all, frame, page);
	frame = (struct wire_frame){ .type = WIRE_RECEIVED, .length = 8 };
	size += frame_put(all + size, frame, page);
	frame = (struct wire_frame){ .type = WIRE_REQUEST, .count = WIRE_PAGE_SIZE };
	put("postcopy", all, size + frame_put(all + size, frame, page));
	frame = (struct wire_frame){ .type = WIRE_ZERO, .block = 1, .count = WIRE_PAGE_SIZE,
				     .offset = 2 * WIRE_PAGE_SIZE };
	size = frame_put(all, frame, page);
	frame = (struct wire_frame){ .type = WIRE_PAGES, .block = 1, .length = WIRE_PAGE_SIZE,
				     .offset = 3 * WIRE_PAGE_SIZE };
	put("postcopy", all, size + frame_put(all + size, frame, page));

	frame = (struct wire_frame){ .type = WIRE_HELLO, .length = 2 };
	put("door", all, frame_put(all, frame, "{}"));
	frame = (struct wire_frame){ .type = WIRE_JOIN, .length = WIRE_JOIN_SIZE };
	put("door", all, frame_put(all, frame, page));
	frame = (struct wire_frame){ .type = WIRE_RECOVER, .length = 2 };
	put("door", all, frame_put(all, frame, "{}"));
}

/* Messages of the family, of the error kind, and of the controller. */
static void netlink(void)
{
	char buffer[4096] = {};
	struct nlmsghdr *nlh;
	struct genlmsghdr *genl;
	struct nlattr *groups, *group;
	int cmd, error = 0;

	for (cmd = 1; cmd < 16; cmd++) {
		nlh = mnl_nlmsg_put_header(buffer);
		nlh->nlmsg_type = 0x21;
		genl = mnl_nlmsg_put_extra_header(nlh, sizeof(*genl));
		genl->cmd = (uint8_t)cmd;
		mnl_attr_put_u64(nlh, MIGTRACK_A_SESSION_ID, 5);
		mnl_attr_put_u32(nlh, MIGTRACK_A_SESSION_VERDICT, 1);
		mnl_attr_put_u32(nlh, MIGTRACK_A_SESSION_REASON, 16);
		mnl_attr_put_strz(nlh, 3, "a text");
		put("netlink", buffer, nlh->nlmsg_len);
		put("events", buffer, nlh->nlmsg_len);
	}
	nlh = mnl_nlmsg_put_header(buffer);
	nlh->nlmsg_type = GENL_ID_CTRL;
	mnl_nlmsg_put_extra_header(nlh, sizeof(*genl));
	mnl_attr_put_u16(nlh, CTRL_ATTR_FAMILY_ID, 0x21);
	groups = mnl_attr_nest_start(nlh, CTRL_ATTR_MCAST_GROUPS);
	group = mnl_attr_nest_start(nlh, 1);
	mnl_attr_put_strz(nlh, CTRL_ATTR_MCAST_GRP_NAME, "events");
	mnl_attr_put_u32(nlh, CTRL_ATTR_MCAST_GRP_ID, 7);
	mnl_attr_nest_end(nlh, group);
	mnl_attr_nest_end(nlh, groups);
	put("netlink", buffer, nlh->nlmsg_len);
	for (error = 0; error >= -22; error -= 22) {
		nlh = mnl_nlmsg_put_header(buffer);
		nlh->nlmsg_type = NLMSG_ERROR;
		nlh->nlmsg_flags = NLM_F_ACK_TLVS | NLM_F_CAPPED;
		((struct nlmsgerr *)mnl_nlmsg_put_extra_header(nlh, sizeof(struct nlmsgerr)))->error = error;
		mnl_attr_put_strz(nlh, NLMSGERR_ATTR_MSG, "why");
		put("netlink", buffer, nlh->nlmsg_len);
	}
}

int main(int argc, char **argv)
{
	size_t i;

	if (argc != 2)
		return 2;
	top = argv[1];
	if (mkdir(top, 0755) && errno != EEXIST) {
		perror(top);
		return 1;
	}
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		put(texts[i].target, texts[i].text, strlen(texts[i].text));
	frames();
	netlink();
	return 0;
}
