/* SPDX-License-Identifier: BSD-2-Clause */
/* Headers of the PROXY protocol, right and wrong, whole and in pieces. */
#include "proxy/smtp/proxy_header.h"

#include "proxy/base/error.h"
#include "proxy/smtp/identity.h"
#include "tests/unit/lib.h"

#define LITERAL(text)                                                                              \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

#define V2     "\r\n\r\n\0\r\nQUIT\n"
#define ENDS_4 "\xc0\x00\x02\x01\xc6\x33\x64\x02\x9c\x40\x00\x19"
#define SEEN_4 "v2 192.0.2.1:40000 > 198.51.100.2:25"

struct row {
    struct bytes octets;
    const char *seen; /* the header, then what was left to others */
};

static const struct row rows[] = {
    /* v1 */
    {LITERAL("PROXY TCP4 192.0.2.1 198.51.100.2 40000 25\r\nEHLO x\r\n"),
     "v1 192.0.2.1:40000 > 198.51.100.2:25|EHLO x\\r\\n"},
    {LITERAL("PROXY TCP6 2001:db8::1 2001:DB8::2 65535 0\r\n"),
     "v1 2001:db8::1:65535 > 2001:db8::2:0|"},
    {LITERAL("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2\r\n"),
     "v1 192.0.2.1:1 > 192.0.2.2:2|"},
    {LITERAL("PROXY UNKNOWN\r\nx"), "v1 own|x"},
    {LITERAL("PROXY UNKNOWN ffff:f ffff:f 65535 65535\r\n"), "v1 own|"},
    {LITERAL("PROXY UNKNOWN\r"), "more"},
    {LITERAL("PROXY"), "more"},
    {LITERAL("PROXY TCP4 192.0.2.1 198.51.100.2 40000 25\n"), "syntax"},
    {LITERAL("PROXY TCP4 192.0.2.1 198.51.100.2 40000\r\n"), "syntax"},
    {LITERAL("PROXY TCP4 192.0.2.1 198.51.100.2 40000 25 \r\n"), "syntax"},
    {LITERAL("PROXY TCP4 192.0.2.1 198.51.100.2 40000 25 26\r\n"), "syntax"},
    {LITERAL("PROXY TCP4  192.0.2.1 198.51.100.2 40000 25\r\n"), "syntax"},
    {LITERAL("PROXY TCP4 192.0.2.1 198.51.100.2 40000 65536\r\n"), "syntax"},
    {LITERAL("PROXY TCP4 192.0.2.1 198.51.100.2 000025 25\r\n"), "syntax"},
    {LITERAL("PROXY TCP4 192.0.2.1 198.51.100.2 -1 25\r\n"), "syntax"},
    {LITERAL("PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n"), "syntax"},
    {LITERAL("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n"), "syntax"},
    {LITERAL("PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n"), "syntax"},
    {LITERAL("PROXY TCP4 192.0.2.1\r 192.0.2.2 1 2\r\n"), "syntax"},
    {LITERAL("PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n"), "syntax"},
    {LITERAL("PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n"), "syntax"},
    {LITERAL("PROXY \r\n"), "syntax"},
    {LITERAL("PROXY\r\n"), "syntax"},
    {LITERAL("proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n"), "syntax"},
    {LITERAL("EHLO x\r\n"), "syntax"},
    {LITERAL("\n"), "syntax"},
    {LITERAL("PROXY UNKNOWN "
             "00000000000000000000000000000000000000000000000000"
             "00000000000000000000000000000000000000000\r\n"),
     "v1 own|"}, /* 107 octets */
    {LITERAL("PROXY UNKNOWN "
             "00000000000000000000000000000000000000000000000000"
             "000000000000000000000000000000000000000000\r\n"),
     "too long"},
    /* v2 */
    {LITERAL(V2 "\x21\x11\x00\x0c" ENDS_4 "EHLO x\r\n"), SEEN_4 "|EHLO x\\r\\n"},
    {LITERAL(V2 "\x21\x21\x00\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
                "\x20\x01\x0d\xb8\x00\x02\0\0\0\0\0\0\0\0\0\x02\x9c\x40\x00\x19"),
     "v2 2001:db8::1:40000 > 2001:db8:2::2:25|"},
    {LITERAL(V2 "\x21\x21\x00\x24\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\1"
                "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\2\0\1\0\2"),
     "v2 192.0.2.1:1 > 192.0.2.2:2|"},
    {LITERAL(V2 "\x20\x00\x00\x00x"), "v2 own|x"},
    {LITERAL(V2 "\x20\x11\x00\x0c" ENDS_4 "x"), "v2 own|x"},
    {LITERAL(V2 "\x20\xff\x00\x03\xff\xff\xffx"), "v2 own|x"},
    {LITERAL(V2 "\x21\x00\x00\x00"), "v2 own|"},
    {LITERAL(V2 "\x21\x11\x00\x0c\xc0\x00\x02"), "more"},
    {LITERAL(V2 "\x21\x11\x00"), "more"},
    {LITERAL(V2 "\x21\x11\x00\x0b\xc0\x00\x02\x01\xc6\x33\x64\x02\x9c\x40\x00"), "syntax"},
    {LITERAL(V2 "\x21\x21\x00\x0c" ENDS_4), "syntax"},
    {LITERAL(V2 "\x21\x12\x00\x0c" ENDS_4), "syntax"}, /* UDP */
    {LITERAL(V2 "\x21\x31\x00\x00"), "syntax"},        /* unix */
    {LITERAL(V2 "\x22\x11\x00\x0c" ENDS_4), "syntax"},
    {LITERAL(V2 "\x11\x11\x00\x0c" ENDS_4), "syntax"},
    {LITERAL("\r\n\r\nx"), "syntax"},
    {LITERAL(V2 "\x21\x11\x03\xf1"), "too long"}, /* 1,025 octets */
    {LITERAL(V2 "\x20\x00\xff\xff"), "too long"},
    /* type-length-values */
    {LITERAL(V2 "\x21\x11\x00\x20" ENDS_4 "\x05\x00\x03"
                "abc\x02\x00\x02xy\xe0\x00\x01\x00\x04\x00\x02\x00\x00"),
     SEEN_4 " id=abc authority=xy|"},
    {LITERAL(V2 "\x21\x11\x00\x24" ENDS_4 "\x20\x00\x15\x07\x00\x00\x00\x00"
                "\x21\x00\x07TLSv1.3\x22\x00\x03joe"),
     SEEN_4 " tls=TLSv1.3 cn=joe|"},
    {LITERAL(V2 "\x21\x00\x00\x06\x05\x00\x03"
                "abc"),
     "v2 own id=abc|"},
    {LITERAL(V2 "\x21\x11\x00\x0e" ENDS_4 "\x05\x00"), "syntax"},
    {LITERAL(V2 "\x21\x11\x00\x10" ENDS_4 "\x05\x00\x02x"), "syntax"},
    {LITERAL(V2 "\x21\x11\x00\x13" ENDS_4 "\x20\x00\x04\x07\x00\x00\x00"), "syntax"},
    {LITERAL(V2 "\x21\x11\x00\x17" ENDS_4 "\x20\x00\x08\x07\x00\x00\x00\x00\x21\x00\x07"),
     "syntax"},
    {LITERAL(V2 "\x21\x11\x00\x13" ENDS_4 "\x03\x00\x04\x00\x00\x00\x00"), "syntax"},
    {LITERAL(V2 "\x21\x11\x00\x12" ENDS_4 "\x03\x00\x03\x00\x00\x00"), "syntax"},
    {LITERAL(V2 "\x21\x11\x00\x13" ENDS_4 "\x03\x00\x04\x12\x67\x09\xf2"), SEEN_4 "|"},
    {LITERAL(V2 "\x21\x11\x00\x13" ENDS_4 "\x03\x00\x04\x12\x67\x09\xf3"), "syntax"},
};

static void put_text(struct lib_text *seen, const char *what, struct bytes text)
{
    if (text.len == 0)
        return;
    lib_put(seen, " %s=", what);
    lib_put_bytes(seen, text);
}

static void put_header(struct lib_text *seen, const struct proxy_header *header)
{
    char client[NETADDR_TEXT_MAX], local[NETADDR_TEXT_MAX];

    if (header->is_own)
        lib_put(seen, "v%u own", header->version);
    else
        lib_put(seen, "v%u %s:%u > %s:%u", header->version, netaddr_text(&header->client, client),
                header->client.port, netaddr_text(&header->local, local), header->local.port);
    put_text(seen, "id", header->unique_id);
    put_text(seen, "authority", header->authority);
    put_text(seen, "tls", header->tls_version);
    put_text(seen, "cn", header->common_name);
    lib_put(seen, "|");
}

static void run(const void *given, struct lib_pieces *in, struct lib_text *seen)
{
    struct proxy_reader reader = {.count = 0};
    struct proxy_header header;
    struct bytes piece;
    int error = ERR_NOT_FOUND;

    (void)given;
    while (error == ERR_NOT_FOUND && lib_next_piece(in, &piece)) {
        size_t used = proxy_reader_take(&reader, piece, &header, &error);
        lib_unread(in, piece.len - used);
    }
    if (error == 0)
        put_header(seen, &header);
    else
        lib_put(seen, "%s",
                error == ERR_NOT_FOUND  ? "more"
                : error == ERR_TOO_LONG ? "too long"
                                        : "syntax");
    while (lib_next_piece(in, &piece))
        if (error == 0)
            lib_put_bytes(seen, piece);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        lib_run_three_ways(i, rows[i].octets, rows[i].seen, run, NULL);
    lib_end_rows();
}

/* What we say to targets, another postern understands. */
static void test_our_own(void **state)
{
    const struct tls_facts tls = {.version = "TLSv1.3",
                                  .cipher = "TLS_AES_256_GCM_SHA384",
                                  .subject = bytes_of("CN=J\\C3\\B6rg"),
                                  .common_name = bytes_of("J\xc3\xb6rg")};
    struct identity who = {.is_esmtp = true, .is_secured = true, .tls = &tls};
    struct pool pool;
    struct buf out;

    (void)state;
    netaddr_parse_with_port(bytes_of("[2001:db8::1]:40000"), 0, &who.client);
    netaddr_parse_with_port(bytes_of("192.0.2.1:25"), 0, &who.local);
    pool_init(&pool, 1024, 1);
    for (size_t version = 1; version <= 2; version++) {
        struct proxy_reader reader = {.count = 0};
        struct proxy_header header = {.version = 0};
        int error;

        buf_init(&out, &pool, 4096);
        if (version == 1)
            identity_put_proxy_v1(&out, &who);
        else
            identity_put_proxy_v2(&out, &who, bytes_of("238Q47MQ500V9800"));
        size_t used = proxy_reader_take(&reader, buf_bytes(&out), &header, &error);
        lib_same_number(version, "error", 0, error);
        lib_same_number(version, "octets", (int64_t)buf_length(&out), (int64_t)used);
        lib_same_number(version, "version", (int64_t)version, header.version);
        lib_is_true(version, "client", netaddr_equal(&who.client, &header.client));
        lib_same_bytes(version, "id", bytes_of(version == 1 ? "" : "238Q47MQ500V9800"),
                       header.unique_id);
        lib_same_bytes(version, "name", bytes_of(version == 1 ? "" : "J\xc3\xb6rg"),
                       header.common_name);
        lib_same_bytes(version, "TLS", bytes_of(version == 1 ? "" : "TLSv1.3"), header.tls_version);
        buf_done(&out);
    }
    pool_done(&pool);
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_our_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
