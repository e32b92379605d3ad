// SPDX-License-Identifier: GPL-2.0-or-later
/* What users write: addresses, numbers, ids, PSK files. No name is looked up. */
#include "../../../ctl/stream/address.c"
#include "../../../ctl/stream/tls_credentials.c"
#include "fuzz.h"
#include "stream/link.h"

static void check_units(const char *text)
{
	char written[UNIT_TEXT_SIZE];
	uint64_t value;

	if (!parse_time(text, &value))
		format_time(written, value);
	if (!parse_size(text, &value)) {
		format_bytes(written, value);
		format_rate(written, value);
	}
	if (!parse_number(text, UINT32_MAX, &value))
		FUZZ_ASSERT(value <= UINT32_MAX);
}

static void check_psk(const uint8_t *data, size_t size)
{
	gnutls_datum_t line = { .size = (unsigned int)size };
	struct tls tls = {};
	struct error err;

	line.data = (unsigned char *)fuzz_text(data, size);
	if (!psk_parse(&tls, &line, "fuzz", &err))
		FUZZ_ASSERT(tls.psk_name[0] && tls.psk_key.size >= PSK_MIN_BYTES);
	free(line.data);
	tls_close(&tls);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size), host[64], again[2 * WIRE_ID_SIZE + 1];
	struct tls_options options = {};
	uint8_t id[WIRE_ID_SIZE];
	struct sockaddr_un name;
	const char *port;
	struct error err;

	if (!tcp_split(text, host, sizeof(host), &port))
		FUZZ_ASSERT(strlen(host) < sizeof(host));
	tcp_host(text, host, sizeof(host));
	if (!unix_address(&name, text, &err))
		FUZZ_ASSERT(name.sun_path[0]);
	if (!link_parse_id(text, id)) {
		link_format_id(id, again);
		FUZZ_ASSERT(!strcmp(text, again));
	}
	check_units(text);
	check_psk(data, size);
	tls_add_peers(&options, text, &err);
	FUZZ_ASSERT(options.n_peers <= TLS_MAX_PEERS);
	free(text);
	return 0;
}
