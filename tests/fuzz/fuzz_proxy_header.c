/* SPDX-License-Identifier: BSD-2-Clause */
/* Headers of the PROXY protocol: octets behind the header are never taken, cutting changes nothing,
 * texts lie in the header, and what we would say of such a client reads back the same. */
#include "proxy/smtp/proxy_header.h"

#include "proxy/base/error.h"
#include "proxy/smtp/identity.h"
#include "tests/fuzz/pieces.h"

struct read {
    struct proxy_reader reader;
    struct proxy_header header;
    int error;
    size_t used;
};

/* In pieces of `step` octets. */
static void read_all(struct read *r, struct bytes in, size_t step)
{
    *r = (struct read){.error = ERR_NOT_FOUND};
    while (r->error == ERR_NOT_FOUND && r->used < in.len) {
        struct bytes piece = bytes_first(bytes_skip(in, r->used), step);
        size_t used = proxy_reader_take(&r->reader, piece, &r->header, &r->error);
        PIECES_MUST(used > 0 && used <= piece.len);
        PIECES_MUST(used == piece.len || r->error != ERR_NOT_FOUND);
        r->used += used;
    }
}

static void check_text(const struct read *r, struct bytes text)
{
    const uint8_t *end = r->reader.octets + r->reader.count;

    PIECES_MUST(text.len == 0 || (text.at >= r->reader.octets && text.at <= end &&
                                  text.len <= (size_t)(end - text.at)));
}

static void check_reads_back(const struct proxy_header *header, unsigned version)
{
    struct identity who = {.client = header->client, .local = header->local};
    struct read again;
    struct pool pool;
    struct buf out;

    pool_init(&pool, 512, 1);
    buf_init(&out, &pool, 4096);
    if (version == 1)
        identity_put_proxy_v1(&out, &who);
    else
        identity_put_proxy_v2(&out, &who, bytes_first(header->unique_id, 128));
    read_all(&again, buf_bytes(&out), SIZE_MAX);
    PIECES_MUST(again.error == 0 && again.used == buf_length(&out));
    PIECES_MUST(again.header.version == version && !again.header.is_own);
    PIECES_MUST(netaddr_equal(&again.header.client, &header->client));
    PIECES_MUST(again.header.local.port == header->local.port);
    PIECES_MUST(version == 1 ||
                bytes_equal(again.header.unique_id, bytes_first(header->unique_id, 128)));
    buf_done(&out);
    pool_done(&pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct read whole, cut;
    struct bytes in = bytes_make(data, size);

    read_all(&whole, in, SIZE_MAX);
    read_all(&cut, in, 1);
    PIECES_MUST(whole.error == cut.error && whole.used == cut.used);
    PIECES_MUST(whole.error == 0 || whole.error == ERR_NOT_FOUND || whole.error == ERR_SYNTAX ||
                whole.error == ERR_TOO_LONG);
    if (whole.error != 0)
        return 0;
    PIECES_MUST(whole.used <= (whole.header.version == 1 ? PROXY_HEADER_V1_MAX : PROXY_HEADER_MAX));
    check_text(&whole, whole.header.unique_id);
    check_text(&whole, whole.header.authority);
    check_text(&whole, whole.header.tls_version);
    check_text(&whole, whole.header.common_name);
    if (!whole.header.is_own)
        for (unsigned version = 1; version <= 2; version++)
            check_reads_back(&whole.header, version);
    return 0;
}
