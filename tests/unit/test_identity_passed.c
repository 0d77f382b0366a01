/* SPDX-License-Identifier: BSD-2-Clause */
/* What a proxy in front said of the client by XCLIENT, and a target shall hear. */
#include "proxy/smtp/identity.h"

#include <stdio.h>

#include "tests/unit/lib.h"

#define FOR_US "XCLIENT ADDR=192.0.2.1 "
#define EVERY                                                                                      \
    (ATTRIBUTE_ADDR | ATTRIBUTE_TIMEOUT | ATTRIBUTE_CLIENT_TRANSPORT | ATTRIBUTE_DESTNAME |        \
     ATTRIBUTE_FORWARD)

static struct identity client(void)
{
    struct identity who = {.is_esmtp = true};

    assert_int_equal(netaddr_parse(bytes_of("192.0.2.1"), &who.client), 0);
    return who;
}

static void check(size_t row, const struct identity *who, uint32_t attributes, uint32_t patience_s,
                  const char *command)
{
    struct pool pool;
    struct buf out;

    pool_init(&pool, 1024, 1);
    buf_init(&out, &pool, 4096);
    identity_put_xclient(&out, who,
                         &(struct identity_way){.attributes = attributes,
                                                .form = IDENTITY_FORM_PREFIXED,
                                                .patience_s = patience_s});
    lib_same_bytes(row, "command", bytes_of(command), buf_bytes(&out));
    buf_done(&out);
    pool_done(&pool);
}

/* What was asserted of the client is handed on. */
struct asserted_row {
    uint32_t attributes;
    const char *login, *reference;
    uint8_t hops_left;
    const char *command;
};

static const struct asserted_row asserted_rows[] = {
    {ATTRIBUTE_ADDR | ATTRIBUTE_LOGIN | ATTRIBUTE_SESSION | ATTRIBUTE_TTL, "joe@example.org", "abc",
     3, FOR_US "TTL=2 LOGIN=joe@example.org SESSION=abc\r\n"},
    {ATTRIBUTE_ADDR | ATTRIBUTE_LOGIN | ATTRIBUTE_SESSION | ATTRIBUTE_TTL, "", "", 1,
     FOR_US "TTL=0\r\n"},
    {ATTRIBUTE_ADDR | ATTRIBUTE_LOGIN | ATTRIBUTE_SESSION | ATTRIBUTE_TTL, "", "", 255,
     FOR_US "TTL=254\r\n"},
    {ATTRIBUTE_ADDR | ATTRIBUTE_LOGIN | ATTRIBUTE_TTL, "joe doe+=", "a b", 0,
     FOR_US "TTL=10 LOGIN=joe+20doe+2B+3D\r\n"},
    {ATTRIBUTE_ADDR | ATTRIBUTE_SESSION, "joe", "a b", 9, FOR_US "SESSION=[UNAVAILABLE]\r\n"},
};

static void test_xclient_asserted(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(asserted_rows); i++) {
        const struct asserted_row *row = &asserted_rows[i];
        struct identity who = client();

        who.login = bytes_of(row->login);
        who.reference = bytes_of(row->reference);
        who.hops_left = row->hops_left;
        check(i, &who, row->attributes, 0, row->command);
    }
    lib_end_rows();
}

/* A login that does not fit stays away: the target sees less of the client, never more. Each of its
 * octets would be three. */
static void test_long_login(void **state)
{
    static char login[256];
    struct identity who = client();

    (void)state;
    memset(login, ' ', 86);
    who.login = bytes_of(login);
    check(0, &who, ATTRIBUTE_ADDR | ATTRIBUTE_LOGIN, 0, FOR_US "LOGIN=[UNAVAILABLE]\r\n");
    lib_end_rows();
}

/* What Dovecot says and understands, and we pass on. */
struct passed_row {
    uint32_t attributes;
    const char *transport, *destination, *forwarded;
    uint32_t patience_s;
    const char *command;
};

static const struct passed_row passed_rows[] = {
    {EVERY, "TLS", "mx.example", "YT1i+w==", 300,
     FOR_US "TIMEOUT=300 CLIENT-TRANSPORT=TLS DESTNAME=mx.example FORWARD=YT1i+2Bw+3D+3D\r\n"},
    {EVERY, "", "", "", 0, "XCLIENT ADDR=192.0.2.1\r\n"},
    {ATTRIBUTE_ADDR | ATTRIBUTE_DESTNAME, "TLS", "not a name", "YT1i", 300,
     FOR_US "DESTNAME=[UNAVAILABLE]\r\n"},
};

static void test_xclient_passed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(passed_rows); i++) {
        const struct passed_row *row = &passed_rows[i];
        struct identity who = client();

        who.transport = bytes_of(row->transport);
        who.destination = bytes_of(row->destination);
        who.forwarded = bytes_of(row->forwarded);
        check(i, &who, row->attributes, row->patience_s, row->command);
    }
    lib_end_rows();
}

/* FORWARD may make the command longer than others, and stays away where it would be too long. */
static void test_long_forward(void **state)
{
    static char forwarded[1001], with_it[1100];
    struct identity who = client();

    (void)state;
    memset(forwarded, 'a', sizeof(forwarded) - 1);
    for (size_t length = 900; length < sizeof(forwarded); length++) {
        int octets =
            snprintf(with_it, sizeof(with_it), FOR_US "FORWARD=%.*s\r\n", (int)length, forwarded);

        who.forwarded = bytes_make(forwarded, length);
        check(length, &who, ATTRIBUTE_ADDR | ATTRIBUTE_FORWARD, 0,
              octets <= IDENTITY_LONGEST_MAX ? with_it : "XCLIENT ADDR=192.0.2.1\r\n");
    }
    lib_end_rows();
}

/* The client gets its answer while it waits. */
static void test_patience(void **state)
{
    struct identity who = {.patience_s = 0};

    (void)state;
    assert_int_equal(identity_patience_ms(&who, 480000), 480000);
    who.patience_s = 30;
    assert_int_equal(identity_patience_ms(&who, 480000), 27000);
    assert_int_equal(identity_patience_ms(&who, 10000), 10000);
    who.patience_s = UINT32_MAX;
    assert_int_equal(identity_patience_ms(&who, 480000), 480000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_xclient_asserted), cmocka_unit_test(test_long_login),
        cmocka_unit_test(test_xclient_passed),   cmocka_unit_test(test_long_forward),
        cmocka_unit_test(test_patience),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
