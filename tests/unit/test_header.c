/* SPDX-License-Identifier: BSD-2-Clause */
/* Counting Received fields, and writing one of which no part can be forged. */
#include "proxy/smtp/header.h"

#include "tests/unit/lib.h"

#include "proxy/base/error.h"

#define LITERAL(text)                                                                              \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

/* ---- counting ---- */

struct count_row {
    struct bytes content;
    const char *seen; /* how many, and whether the header is over */
};

static const struct count_row count_rows[] = {
    {LITERAL(""), "0"},
    {LITERAL("\r\n"), "0 over"},
    {LITERAL("Received: a\r\n\r\n"), "1 over"},
    {LITERAL("Received: a\r\nReceived: b\r\n\r\n"), "2 over"},
    {LITERAL("received: a\r\nRECEIVED:b\r\nReCeIvEd:\r\n\r\n"), "3 over"},
    {LITERAL("Received: a\r\n\r\nReceived: in the body\r\n"), "1 over"},
    {LITERAL("Received: a\r\n\tReceived: folded\r\n Received: folded\r\n"), "1"},
    {LITERAL("Received-SPF: pass\r\nX-Received: a\r\nReceive: a\r\nReceivedd: a\r\n"), "0"},
    {LITERAL("Received"), "0"},
    {LITERAL("Received\r\nReceived:"), "1"},
    {LITERAL("Received\r\n: a\r\n"), "0"},
    {LITERAL("From: a\r\nReceived: b\r\nSubject: Received: c\r\nReceived: d\r\n"), "2"},
    {LITERAL("\r\nReceived: body\r\n"), "0 over"},
    {LITERAL("rrreceived: a\r\nReceived: a\r\n"), "1"},
    {LITERAL("Rec\0ived: a\r\nReceived: \0\xff\r\n"), "1"},
    {LITERAL("Received: a\r\n \r\nReceived: b\r\n\r\n"), "2 over"},
    {LITERAL("Message-ID: <a@b>\r\nmessage-id: <c@d>\r\nReceived: a\r\n"), "1 <a@b>"},
    {LITERAL("MESSAGE-ID:<a@b> (comment)\r\n"), "0 <a@b>"},
    {LITERAL("Message-ID:\r\n\t<folded@b>\r\nReceived: a\r\n\r\n"), "1 <folded@b> over"},
    {LITERAL("Message-ID:  \r\n \r\n\t<folded@b>\r\n"), "0 <folded@b>"},
    {LITERAL("Message-ID:\r\nReceived: a\r\nMessage-ID: <a@b>\r\n"), "1 <a@b>"},
    {LITERAL("Message-ID:\r\n\r\n <body>"), "0 over"},
    {LITERAL("Message-IDs: <a@b>\r\nX-Message-ID: <a@b>\r\n"), "0"},
};

static void count(const void *given, struct lib_pieces *in, struct lib_text *seen)
{
    struct header_counter h;
    struct bytes piece;
    struct arena arena;
    struct pool pool;

    (void)given;
    pool_init(&pool, 512, 1);
    arena_init(&arena, &pool, 4096);
    header_counter_init(&h, &arena);
    while (lib_next_piece(in, &piece))
        header_counter_feed(&h, piece);
    lib_put(seen, "%u%s%.*s%s", h.received, h.id_len == 0 ? "" : " ", h.id_len, (const char *)h.id,
            h.is_over ? " over" : "");
    arena_reset(&arena);
    pool_done(&pool);
}

static void test_counting(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(count_rows); i++)
        lib_run_three_ways(i, count_rows[i].content, count_rows[i].seen, count, NULL);
    lib_end_rows();
}

/* The count never turns over. */
static void test_many(void **state)
{
    struct header_counter h;

    (void)state;
    header_counter_init(&h, NULL);
    for (size_t i = 0; i < HEADER_RECEIVED_MAX; i++)
        header_counter_feed(&h, bytes_of("Received: x\r\n\ty\r\n"));
    assert_int_equal(h.received, HEADER_RECEIVED_MAX);
    for (size_t i = 0; i < 70000; i++)
        header_counter_feed(&h, bytes_of("Received:\r\n"));
    assert_int_equal(h.received, UINT16_MAX);
}

/* ---- writing ---- */

struct trace_row {
    struct bytes helo;
    enum identity_name state;
    struct bytes name;
    const char *address;
    bool is_esmtp;
    const char *rcpt; /* NULL: several */
    const char *from, *rest;
};

#define BY   "\r\n\tby mx.example.org (postern) with ESMTP id 3BCDFGHJKLMNPQRS"
#define DATE ";\r\n\tSun, 22 Nov 2026 03:47:44 +0000\r\n"
#define NAME IDENTITY_NAME_CONFIRMED, LITERAL("c.example")
#define NONE IDENTITY_NAME_UNAVAILABLE, LITERAL("")

static const struct trace_row trace_rows[] = {
    {LITERAL("helo.example"), NAME, "192.0.2.1", true, "joe@example.org",
     "helo.example (c.example [192.0.2.1])", BY "\r\n\tfor <joe@example.org>" DATE},
    {LITERAL("helo.example"), NAME, "192.0.2.1", true, NULL, "helo.example (c.example [192.0.2.1])",
     BY DATE},
    {LITERAL("helo.example"), NAME, "192.0.2.1", false, NULL,
     "helo.example (c.example [192.0.2.1])",
     "\r\n\tby mx.example.org (postern) with SMTP id 3BCDFGHJKLMNPQRS" DATE},
    {LITERAL("h"), NONE, "192.0.2.1", true, NULL, "h (unknown [192.0.2.1])", BY DATE},
    {LITERAL("h"), IDENTITY_NAME_PENDING, LITERAL("x"), "192.0.2.1", true, NULL,
     "h (unknown [192.0.2.1])", BY DATE},
    {LITERAL("h"), NONE, "2001:db8::1", true, NULL, "h (unknown [IPv6:2001:db8::1])", BY DATE},
    {LITERAL("h"), NONE, "::ffff:192.0.2.1", true, NULL, "h (unknown [192.0.2.1])", BY DATE},
    {LITERAL("h"), NONE, "", true, NULL, "h (unknown)", BY DATE},
    {LITERAL(""), NONE, "192.0.2.1", true, NULL, "unknown (unknown [192.0.2.1])", BY DATE},
    {LITERAL("h"), NONE, "192.0.2.1", true, "postmaster", "h (unknown [192.0.2.1])",
     BY "\r\n\tfor <postmaster>" DATE},
    {LITERAL("h"), NONE, "192.0.2.1", true, "\"a b>;c\"@example.org", "h (unknown [192.0.2.1])",
     BY "\r\n\tfor <\"a b>;c\"@example.org>" DATE},
    /* an address literal is one, and what only looks like one is not */
    {LITERAL("[192.0.2.9]"), NONE, "192.0.2.1", true, NULL, "[192.0.2.9] (unknown [192.0.2.1])",
     BY DATE},
    {LITERAL("[IPv6:2001:db8::9]"), NONE, "192.0.2.1", true, NULL,
     "[IPv6:2001:db8::9] (unknown [192.0.2.1])", BY DATE},
    {LITERAL("[192.0.2.9) by x]"), NONE, "192.0.2.1", true, NULL,
     "?192.0.2.9??by?x? (unknown [192.0.2.1])", BY DATE},
    /* hostile */
    {LITERAL("h (c.example [127.0.0.1])\r\n\tby x; y"), NONE, "192.0.2.1", true, NULL,
     "h??c.example??127.0.0.1?????by?x??y (unknown [192.0.2.1])", BY DATE},
    {LITERAL("a\0\x01\x7f\x80\xff<>\\,:\"@b"), NONE, "192.0.2.1", true, NULL,
     "a???????????@b (unknown [192.0.2.1])", BY DATE},
    {LITERAL("h"), IDENTITY_NAME_CONFIRMED, LITERAL("c.example [127.0.0.1])\r\nX: y"), "192.0.2.1",
     true, NULL, "h (c.example??127.0.0.1????X??y [192.0.2.1])", BY DATE},
    {LITERAL("h"), IDENTITY_NAME_CONFIRMED, LITERAL(""), "192.0.2.1", true, NULL,
     "h (unknown [192.0.2.1])", BY DATE},
};

static struct identity client_of(const struct trace_row *row)
{
    struct identity client = {
        .helo = row->helo, .name_state = row->state, .name = row->name, .is_esmtp = row->is_esmtp};

    if (*row->address != '\0')
        assert_int_equal(netaddr_parse(bytes_of(row->address), &client.client), 0);
    return client;
}

static void test_writing(void **state)
{
    static struct lib_text expected;
    struct arena arena;
    struct pool pool;

    (void)state;
    pool_init(&pool, 4096, 1);
    arena_init(&arena, &pool, 65536);
    for (size_t i = 0; i < ARRAY_LENGTH(trace_rows); i++) {
        const struct trace_row *row = &trace_rows[i];
        struct identity client = client_of(row);
        struct address rcpt;
        struct header_trace trace = {.client = &client,
                                     .by = bytes_of("mx.example.org"),
                                     .id = bytes_of("3BCDFGHJKLMNPQRS"),
                                     .rcpt = row->rcpt == NULL ? NULL : &rcpt,
                                     .wall_s = 1795319264};
        struct buf out;

        if (row->rcpt != NULL)
            assert_int_equal(address_parse_mailbox(bytes_of(row->rcpt), &arena, &rcpt), 0);
        buf_init(&out, &pool, 4096);
        header_put_received(&out, &trace);
        expected.len = 0;
        lib_put(&expected, "Received: from %s%s", row->from, row->rest);
        lib_same_bytes(i, "field", bytes_of(expected.at), buf_bytes(&out));
        buf_done(&out);
    }
    arena_reset(&arena);
    pool_done(&pool);
    lib_end_rows();
}

/* No line over 998 octets, whatever the parts; and our own field is counted. */
static void test_longest(void **state)
{
    static uint8_t text[255];
    struct identity client = {
        .helo = {text, 255}, .name_state = IDENTITY_NAME_CONFIRMED, .name = {text, 255}};
    struct address rcpt = {.local = {text, 64}, .domain = {text, 189}};
    struct header_trace trace = {
        .client = &client, .by = {text, 255}, .id = {text, 16}, .rcpt = &rcpt};
    struct header_counter h;
    struct pool pool;
    struct buf out;
    struct bytes rest;

    (void)state;
    memset(text, 'x', sizeof(text));
    assert_int_equal(
        netaddr_parse(bytes_of("2001:db8:1111:2222:3333:4444:5555:6666"), &client.client), 0);
    pool_init(&pool, 4096, 1);
    buf_init(&out, &pool, 4096);
    header_put_received(&out, &trace);
    rest = buf_bytes(&out);
    header_counter_init(&h, NULL);
    header_counter_feed(&h, rest);
    assert_int_equal(h.received, 1);
    assert_false(h.is_over);
    while (rest.len > 0) {
        size_t end = bytes_find(rest, '\n');

        assert_in_range(end, 1, 999);
        rest = bytes_skip(rest, end + 1);
    }
    buf_done(&out);
    pool_done(&pool);
}

static bool put_with_failures(void *given)
{
    struct identity client = client_of(&trace_rows[0]);
    struct header_trace trace = {.client = &client, .by = bytes_of("b"), .id = bytes_of("i")};
    bool has_failed;
    struct pool pool;
    struct buf out;

    (void)given;
    pool_init(&pool, 16, 0);
    buf_init(&out, &pool, 4096);
    header_put_received(&out, &trace);
    has_failed = out.has_failed;
    buf_done(&out);
    pool_done(&pool);
    return !has_failed;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    assert_true(lib_fail_each_allocation(put_with_failures, NULL) > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counting),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_writing),
        cmocka_unit_test(test_longest),
        cmocka_unit_test(test_failing_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
