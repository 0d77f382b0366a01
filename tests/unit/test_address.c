/* SPDX-License-Identifier: BSD-2-Clause */
/* Addresses: every form of RFC 5321, limits, what is refused, and the canonical way back. */
#include "proxy/smtp/address.h"

#include "tests/unit/lib.h"

#include "proxy/base/error.h"

#define LITERAL(text)                                                                              \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

/* Seen: local part, domain ("L" behind a literal), and how it is written; or the error. */
struct row {
    struct bytes input;
    const char *seen;
};

static const struct row path_rows[] = {
    {LITERAL("<>"), "||"},
    {LITERAL("<a@b>"), "a|b|a@b"},
    {LITERAL("<joe.doe+x@mail.Example.ORG>"),
     "joe.doe+x|mail.Example.ORG|joe.doe+x@mail.Example.ORG"},
    {LITERAL("<!#$%&'*+-/=?^_`{|}~@b>"), "!#$%&'*+-/=?^_`{|}~|b|!#$%&'*+-/=?^_`{|}~@b"},
    {LITERAL("<postmaster>"), "postmaster||postmaster"},
    {LITERAL("<PostMaster>"), "PostMaster||PostMaster"},
    {LITERAL("<a@b_c.example>"), "a|b_c.example|a@b_c.example"},
    {LITERAL("<a@xn--bcher-kva.example>"), "a|xn--bcher-kva.example|a@xn--bcher-kva.example"},
    {LITERAL("<1@2.a>"), "1|2.a|1@2.a"},
    /* quoted local parts: held without quotes, written with them where they are needed */
    {LITERAL("<\"joe\"@b>"), "joe|b|joe@b"},
    {LITERAL("<\"joe.doe\"@b>"), "joe.doe|b|joe.doe@b"},
    {LITERAL("<\"j\\oe\"@b>"), "joe|b|joe@b"},
    {LITERAL("<\"joe doe\"@b>"), "joe doe|b|\"joe doe\"@b"},
    {LITERAL("<\"a@b\"@c>"), "a@b|c|\"a@b\"@c"},
    {LITERAL("<\"a>b\"@c>"), "a>b|c|\"a>b\"@c"},
    {LITERAL("<\"a\\\"b\\\\c\"@d>"), "a\"b\\c|d|\"a\\\"b\\\\c\"@d"},
    {LITERAL("<\"\\ \\@\"@d>"), " @|d|\" @\"@d"},
    {LITERAL("<\".a\"@d>"), ".a|d|\".a\"@d"},
    {LITERAL("<\"a.\"@d>"), "a.|d|\"a.\"@d"},
    {LITERAL("<\"a..b\"@d>"), "a..b|d|\"a..b\"@d"},
    {LITERAL("<\"\"@d>"), "|d|\"\"@d"},
    {LITERAL("<\"a b\">"), "a b||\"a b\""},
    /* dots anywhere, as they came; a dot at the end of a domain goes */
    {LITERAL("<.a@b>"), ".a|b|.a@b"},
    {LITERAL("<a.@b>"), "a.|b|a.@b"},
    {LITERAL("<a..b@c>"), "a..b|c|a..b@c"},
    {LITERAL("<a..>"), "a..||a.."},
    {LITERAL("<a@b.>"), "a|b|a@b"},
    {LITERAL("<a@b.example.>"), "a|b.example|a@b.example"},
    {LITERAL("<@x.example.:a..@b.>"), "a..|b|a..@b"},
    /* literals */
    {LITERAL("<a@[192.0.2.1]>"), "a|[192.0.2.1]L|a@[192.0.2.1]"},
    {LITERAL("<a@[IPv6:2001:db8::1]>"), "a|[IPv6:2001:db8::1]L|a@[IPv6:2001:db8::1]"},
    {LITERAL("<a@[ipv6:::1]>"), "a|[ipv6:::1]L|a@[ipv6:::1]"},
    {LITERAL("<a@[IPv6:::ffff:192.0.2.1]>"),
     "a|[IPv6:::ffff:192.0.2.1]L|a@[IPv6:::ffff:192.0.2.1]"},
    {LITERAL("<a@[2001:db8::1]>"), "syntax error"},
    {LITERAL("<a@[IPv6:192.0.2.1]>"), "syntax error"},
    {LITERAL("<a@[192.0.2]>"), "syntax error"},
    {LITERAL("<a@[192.0.2.256]>"), "syntax error"},
    {LITERAL("<a@[x-tag:something]>"), "syntax error"},
    {LITERAL("<a@[]>"), "syntax error"},
    {LITERAL("<a@[192.0.2.1>"), "syntax error"},
    {LITERAL("<a@[192.0.2.1]x>"), "syntax error"},
    {LITERAL("<a@[192.0. 2.1]>"), "syntax error"},
    {LITERAL("<a@[IPv6:fe80::1%eth0]>"), "syntax error"},
    /* source routes are forgotten */
    {LITERAL("<@x.example:a@b>"), "a|b|a@b"},
    {LITERAL("<@x.example,@y.example,@z:\"a b\"@c>"), "a b|c|\"a b\"@c"},
    {LITERAL("<@x.example:postmaster>"), "postmaster||postmaster"},
    {LITERAL("<@x.example:>"), "syntax error"},
    {LITERAL("<@x.example>"), "syntax error"},
    {LITERAL("<@x.example,:a@b>"), "syntax error"},
    {LITERAL("<@x.example,y.example:a@b>"), "syntax error"},
    {LITERAL("<@:a@b>"), "syntax error"},
    {LITERAL("<@[192.0.2.1]:a@b>"), "syntax error"},
    /* what is none */
    {LITERAL(""), "syntax error"},
    {LITERAL("<"), "syntax error"},
    {LITERAL("< >"), "syntax error"},
    {LITERAL("<a"), "syntax error"},
    {LITERAL("<a@b"), "syntax error"},
    {LITERAL("<a@>"), "syntax error"},
    {LITERAL("<@b>"), "syntax error"},
    {LITERAL("<a@b@c>"), "syntax error"},
    {LITERAL("a@b"), "syntax error"},
    {LITERAL("< a@b>"), "syntax error"},
    {LITERAL("<a @b>"), "syntax error"},
    {LITERAL("<a@b >"), "syntax error"},
    {LITERAL("<a@.>"), "syntax error"},
    {LITERAL("<a@b..>"), "syntax error"},
    {LITERAL("<a..b"), "syntax error"},
    {LITERAL("<a..(b)@c>"), "syntax error"},
    {LITERAL("<a@.b>"), "syntax error"},
    {LITERAL("<a@b..c>"), "syntax error"},
    {LITERAL("<a@-b>"), "syntax error"},
    {LITERAL("<a@b->"), "syntax error"},
    {LITERAL("<a@192.0.2.1>"), "syntax error"},
    {LITERAL("<a(c)@b>"), "syntax error"},
    {LITERAL("<a,b@c>"), "syntax error"},
    {LITERAL("<<a@b>>"), "syntax error"},
    {LITERAL("<\"a@b>"), "syntax error"},
    {LITERAL("<\"a\"b@c>"), "syntax error"},
    {LITERAL("<\"a\\"), "syntax error"},
    {LITERAL("<\"a\tb\"@c>"), "syntax error"},
    {LITERAL("<\"a\\\tb\"@c>"), "syntax error"},
    {LITERAL("<\"a\r\nb\"@c>"), "syntax error"},
    {LITERAL("<\"a\0b\"@c>"), "syntax error"},
    {LITERAL("<\"a\x7f\"@c>"), "syntax error"},
    {LITERAL("<\"\">"), "syntax error"}, /* would be the null sender */
    {LITERAL("<a\0@b>"), "syntax error"},
    {LITERAL("<a@b\0>"), "syntax error"},
    /* SMTPUTF8 is not announced */
    {LITERAL("<j\xc3\xb6@b>"), "value out of range"},
    {LITERAL("<\xc3\xb6@b>"), "value out of range"},
    {LITERAL("<\"\xc3\xb6\"@b>"), "value out of range"},
    {LITERAL("<\"\\\xc3\xb6\"@b>"), "value out of range"},
    {LITERAL("<a@b\xc3\xbc.example>"), "value out of range"},
    {LITERAL("<a@b-\xc3\xbc.example>"), "value out of range"},
    {LITERAL("<a@[\xc3\xbc]>"), "value out of range"},
    {LITERAL("<@\xc3\xbc:a@b>"), "value out of range"},
};

static void see(struct lib_text *seen, int error, const struct address *a, struct pool *pool)
{
    struct buf out;

    seen->len = 0;
    lib_put(seen, "%s", error == 0 ? "" : error_text(error));
    if (error != 0)
        return;
    buf_init(&out, pool, 4096);
    address_put(&out, a);
    lib_put(seen, "%.*s|%.*s%s|%.*s", (int)a->local.len, (const char *)a->local.at,
            (int)a->domain.len, (const char *)a->domain.at, a->is_literal ? "L" : "",
            (int)buf_length(&out), (const char *)buf_bytes(&out).at);
    buf_done(&out);
}

static void check_path(size_t number, struct bytes input, const char *expected)
{
    static struct lib_text seen;
    struct lib_guard guard = lib_guard_copy(input);
    struct address address;
    struct arena arena;
    struct pool pool;
    size_t used = 0;
    int error;

    pool_init(&pool, 1024, 1);
    arena_init(&arena, &pool, 4096);
    error = address_parse_path(guard.bytes, &arena, &address, &used);
    see(&seen, error, &address, &pool);
    lib_same_text(number, "path", expected, seen.at);
    lib_same_number(number, "used", error == 0 ? (int64_t)input.len : 0, (int64_t)used);
    arena_reset(&arena);
    pool_done(&pool);
    lib_guard_free(&guard);
}

static void test_paths(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(path_rows); i++)
        check_path(i, path_rows[i].input, path_rows[i].seen);
    lib_end_rows();
}

/* The same without brackets, where there is no source route. */
static const struct row mailbox_rows[] = {
    {LITERAL("a@b"), "a|b|a@b"},
    {LITERAL("joe"), "joe||joe"},
    {LITERAL("\"a b\"@c"), "a b|c|\"a b\"@c"},
    {LITERAL("a@[192.0.2.1]"), "a|[192.0.2.1]L|a@[192.0.2.1]"},
    {LITERAL(""), "syntax error"},
    {LITERAL("<a@b>"), "syntax error"},
    {LITERAL("a@b>"), "syntax error"},
    {LITERAL("a@b c"), "syntax error"},
    {LITERAL("@b"), "syntax error"},
    {LITERAL("a@"), "syntax error"},
    {LITERAL("\"\""), "syntax error"},
    {LITERAL("a@b\xc3\xbc"), "value out of range"},
};

static void test_mailboxes(void **state)
{
    static struct lib_text seen;
    struct arena arena;
    struct pool pool;

    (void)state;
    pool_init(&pool, 1024, 1);
    for (size_t i = 0; i < ARRAY_LENGTH(mailbox_rows); i++) {
        struct lib_guard guard = lib_guard_copy(mailbox_rows[i].input);
        struct address address;

        arena_init(&arena, &pool, 4096);
        see(&seen, address_parse_mailbox(guard.bytes, &arena, &address), &address, &pool);
        lib_same_text(i, "mailbox", mailbox_rows[i].seen, seen.at);
        arena_reset(&arena);
        lib_guard_free(&guard);
    }
    pool_done(&pool);
    lib_end_rows();
}

/* So many octets in each part; labels of 63 and less. */
struct limit_row {
    size_t route, local, domain;
    bool is_quoted;
    bool is_fine;
};

static const struct limit_row limit_rows[] = {
    {0, 65, 10, false, true},    {0, 65, 10, true, true},     {0, 1, 255, false, true},
    {0, 1, 256, false, false},   {0, 1011, 10, false, true},  {0, 1012, 10, false, false},
    {0, 1009, 10, true, true},   {0, 1010, 10, true, false},  {0, 766, 255, false, true},
    {0, 767, 255, false, false}, {255, 754, 10, false, true}, {255, 755, 10, false, false},
    {256, 1, 10, false, false},
};

static void put_domain(struct lib_text *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        lib_put(text, i % 60 == 59 && i + 1 < len ? "." : "d");
}

static void test_limits(void **state)
{
    static struct lib_text input;
    struct arena arena;
    struct pool pool;

    (void)state;
    pool_init(&pool, 1024, 1);
    for (size_t i = 0; i < ARRAY_LENGTH(limit_rows); i++) {
        const struct limit_row *row = &limit_rows[i];
        struct address address;
        size_t used;
        int error;

        input.len = 0;
        lib_put(&input, "<");
        if (row->route > 0) {
            lib_put(&input, "@");
            put_domain(&input, row->route);
            lib_put(&input, ":");
        }
        lib_put(&input, row->is_quoted ? "\" " : "");
        for (size_t n = row->is_quoted ? 1 : 0; n < row->local; n++)
            lib_put(&input, "l");
        lib_put(&input, row->is_quoted ? "\"@" : "@");
        put_domain(&input, row->domain);
        lib_put(&input, ">");
        arena_init(&arena, &pool, 4096);
        error = address_parse_path(bytes_make(input.at, input.len), &arena, &address, &used);
        lib_same_number(i, "error", row->is_fine ? 0 : ERR_TOO_LONG, error);
        if (row->route == 0) {
            error =
                address_parse_mailbox(bytes_make(input.at + 1, input.len - 2), &arena, &address);
            lib_same_number(i, "error of the mailbox", row->is_fine ? 0 : ERR_TOO_LONG, error);
        }
        arena_reset(&arena);
    }
    pool_done(&pool);
    lib_end_rows();
}

/* A label of 63 octets is one, of 64 is none. */
static void test_labels(void **state)
{
    static struct lib_text input;

    (void)state;
    for (size_t len = 63; len <= 64; len++) {
        input.len = 0;
        lib_put(&input, "<\"x\"@");
        for (size_t i = 0; i < len; i++)
            lib_put(&input, "d");
        lib_put(&input, ">");
        if (len == 64) {
            check_path(len, bytes_make(input.at, input.len), "syntax error");
        } else {
            static struct lib_text expected;

            lib_put(&expected, "x|%.63s|x@%.63s", input.at + 5, input.at + 5);
            check_path(len, bytes_make(input.at, input.len), expected.at);
        }
    }
    lib_end_rows();
}

/* Only what must be copied is. */
static void test_borrowing(void **state)
{
    struct bytes input = bytes_of("<\"a b\"@c>"), pairs = bytes_of("<\"a\\ b\"@c>");
    struct address address, copy;
    struct arena arena;
    struct pool pool;
    size_t used;

    (void)state;
    pool_init(&pool, 1024, 1);
    arena_init(&arena, &pool, 4096);
    assert_int_equal(address_parse_path(input, &arena, &address, &used), 0);
    assert_ptr_equal(address.local.at, input.at + 2);
    assert_int_equal(arena.total_bytes, 0);
    assert_int_equal(address_parse_path(pairs, &arena, &address, &used), 0);
    assert_true(address.local.at < pairs.at || address.local.at >= pairs.at + pairs.len);
    assert_int_equal(address_copy(&arena, &address, &copy), 0);
    assert_true(bytes_equal(copy.local, address.local) && copy.local.at != address.local.at);
    assert_true(bytes_equal(copy.domain, address.domain) && copy.domain.at != address.domain.at);
    arena_reset(&arena);
    pool_done(&pool);
}

static void test_postmaster(void **state)
{
    static const struct {
        const char *mailbox;
        bool is_postmaster;
    } postmasters[] = {
        {"postmaster", true},     {"PostMaster@b", true}, {"\"postmaster\"@b", true},
        {"postmasters@b", false}, {"postmaste@b", false}, {"a@postmaster", false},
    };
    struct address address = {.is_literal = false};
    struct arena arena;
    struct pool pool;

    (void)state;
    assert_false(address_is_postmaster(&address));
    pool_init(&pool, 1024, 1);
    arena_init(&arena, &pool, 4096);
    for (size_t i = 0; i < ARRAY_LENGTH(postmasters); i++) {
        assert_int_equal(address_parse_mailbox(bytes_of(postmasters[i].mailbox), &arena, &address),
                         0);
        lib_same_number(i, "postmaster", postmasters[i].is_postmaster,
                        address_is_postmaster(&address));
    }
    arena_reset(&arena);
    pool_done(&pool);
    lib_end_rows();
}

static bool parse_and_copy(void *given)
{
    struct address address = {.is_literal = true}, copy = {.is_literal = true};
    struct arena arena;
    struct pool pool;
    size_t used = 7;
    int error;

    (void)given;
    pool_init(&pool, 64, 0);
    arena_init(&arena, &pool, 4096);
    error = address_parse_path(bytes_of("<\"a\\ b\"@c.example>"), &arena, &address, &used);
    if (error != 0) {
        assert_int_equal(error, ERR_MEMORY);
        assert_true(address.is_literal && address.local.len == 0 && used == 7);
    } else {
        error = address_copy(&arena, &address, &copy);
        if (error != 0) {
            assert_int_equal(error, ERR_MEMORY);
            assert_true(copy.is_literal && copy.local.len == 0);
        }
    }
    arena_reset(&arena);
    pool_done(&pool);
    return error == 0;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    assert_true(lib_fail_each_allocation(parse_and_copy, NULL) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_mailboxes),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_borrowing),
        cmocka_unit_test(test_postmaster),
        cmocka_unit_test(test_failing_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
