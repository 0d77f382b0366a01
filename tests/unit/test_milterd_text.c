/* SPDX-License-Identifier: BSD-2-Clause */
/* What libmilter is told, and what it tells. */
/* needs: proxy/milterd_text.c */
#include "tests/unit/lib.h"

#include <stdlib.h>

#include "proxy/base/error.h"
#include "proxy/milterd_text.h"

static struct reply reply_of(const char *wire, uint8_t subject)
{
    uint8_t class = (uint8_t)(wire[0] - '0');

    return (struct reply){.code = (uint16_t)strtol(wire, NULL, 10),
                          .enhanced = {subject == 0 ? 0 : class, subject, 1},
                          .wire = bytes_of(wire)};
}

static void replies(void **state)
{
    static const struct {
        const char *wire;
        uint8_t subject;
        const char *expected; /* code|enhanced|line|line */
    } rows[] = {
        {"550 5.7.1 No\r\n", 7, "550|5.7.1|No"},
        {"451 4.7.1 100% later\r\n", 7, "451|4.7.1|100%% later"},
        {"550-5.7.1 One\r\n550 5.7.1 two\r\n", 7, "550|5.7.1|One|two"},
        {"550-5.7.1 One\r\n550 bare\r\n", 7, "550|5.7.1|One|bare"},
        {"550 No\r\n", 0, "550||No"},
        {"550\r\n", 0, "550||"},
        {"550 5.7.1\r\n", 7, "550|5.7.1|"},
        {"550 5.7.1 a\tb\x01\x7f\xc3\xa4\r\n", 7, "550|5.7.1|a?b??\xc3\xa4"},
        {"550-1\r\n550-2\r\n550-3\r\n550-4\r\n550-5\r\n550-6\r\n550-7\r\n550-8\r\n550 9\r\n", 0,
         "550||1|2|3|4|5|6|7|8"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct reply reply = reply_of(rows[i].wire, rows[i].subject);
        static struct milterd_reply made;
        static struct lib_text seen;
        seen.len = 0;
        milterd_text_reply(&reply, &made);
        lib_put(&seen, "%s|%s", made.code, made.enhanced);
        for (unsigned k = 0; k < made.line_count; k++)
            lib_put(&seen, "|%s", made.lines[k]);
        lib_same_text(i, rows[i].wire, rows[i].expected, seen.at);
    }
    lib_end_rows();
}

/* Even if every octet is doubled a line ends in time, with whole pairs. */
static void long_lines(void **state)
{
    static char wire[4 + 2000 + 3] = "550 ";
    static struct milterd_reply made;

    (void)state;
    memset(wire + 4, '%', 2000);
    memcpy(wire + 2004, "\r\n", 3);
    struct reply reply = reply_of(wire, 0);
    milterd_text_reply(&reply, &made);
    assert_int_equal(strlen(made.lines[0]), MILTERD_LINE_MAX);
}

static void fields(void **state)
{
    static struct milterd_field field;
    struct bytes lines = bytes_of("A: one\r\nB:\r\n \ttwo\r\n\tthree\r\nC:four:five\r\n");

    (void)state;
    assert_true(milterd_text_last_field(&lines, &field));
    assert_string_equal(field.name, "C");
    assert_string_equal(field.value, "four:five");
    assert_true(milterd_text_last_field(&lines, &field));
    assert_string_equal(field.name, "B");
    assert_string_equal(field.value, "\n \ttwo\n\tthree");
    assert_true(milterd_text_last_field(&lines, &field));
    assert_string_equal(field.name, "A");
    assert_string_equal(field.value, " one");
    assert_false(milterd_text_last_field(&lines, &field));
}

static void addresses(void **state)
{
    static const struct {
        const char *text;
        int error;
        const char *local, *domain;
    } rows[] = {
        {"<joe@example.org>", 0, "joe", "example.org"},
        {"<>", 0, "", ""},
        {"joe@example.org", 0, "joe", "example.org"},
        {"<\"a b\"@example.org>", 0, "a b", "example.org"},
        {"<j\xc3\xb6@ex\xc3\xa4mple.org>", 0, "j\xc3\xb6", "ex\xc3\xa4mple.org"},
        {"<a@b@c>", 0, "a@b", "c"},
        {"<root>", 0, "root", ""},
        {"", ERR_SYNTAX, "", ""},
        {"<a\x01@b>", ERR_SYNTAX, "", ""},
    };
    struct pool pool;
    struct arena arena;

    (void)state;
    pool_init(&pool, 1024, 4);
    arena_init(&arena, &pool, 65536);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct address address = {.is_literal = false};
        lib_same_number(i, rows[i].text, rows[i].error,
                        milterd_text_address(bytes_of(rows[i].text), &arena, &address));
        lib_same_bytes(i, "local", bytes_of(rows[i].local), address.local);
        lib_same_bytes(i, "domain", bytes_of(rows[i].domain), address.domain);
    }
    arena_reset(&arena);
    pool_done(&pool);
    lib_end_rows();
}

static void names(void **state)
{
    (void)state;
    assert_int_equal(milterd_text_name(bytes_of("a.example"), NULL), IDENTITY_NAME_CONFIRMED);
    assert_int_equal(milterd_text_name(bytes_of("a.example"), "a.example [192.0.2.1]"),
                     IDENTITY_NAME_CONFIRMED);
    assert_int_equal(
        milterd_text_name(bytes_of("a.example"), "a.example [192.0.2.1] (may be forged)"),
        IDENTITY_NAME_UNAVAILABLE);
    assert_int_equal(milterd_text_name(bytes_of("unknown"), NULL), IDENTITY_NAME_UNAVAILABLE);
    assert_int_equal(milterd_text_name(bytes_of("[192.0.2.1]"), NULL), IDENTITY_NAME_UNAVAILABLE);
}

static void sockets(void **state)
{
    static const char *const rows[][2] = {
        {"inet:8891@127.0.0.1", "inet:8891@127.0.0.1"},
        {"inet:8891@mx.example.org", "inet:8891@mx.example.org"},
        {"inet:8891@::1", "inet6:8891@::1"},
        {"unix:/run/a@b:c", "unix:/run/a@b:c"},
    };
    char socket[MILTERD_SOCKET_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        milterd_text_socket(bytes_of(rows[i][0]), socket);
        lib_same_text(i, rows[i][0], rows[i][1], socket);
    }
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies),   cmocka_unit_test(long_lines), cmocka_unit_test(fields),
        cmocka_unit_test(addresses), cmocka_unit_test(names),      cmocka_unit_test(sockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
