/* SPDX-License-Identifier: BSD-2-Clause */
/* Replies: our own, those from outside, reading a target's, and passing one on. */
#include "proxy/smtp/reply.h"

#include "tests/unit/lib.h"

#include "proxy/base/error.h"

#define LITERAL(text)                                                                              \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

#define BLOCK_BYTES 1024

/* ---- our own ---- */

static const struct {
    const char *name;
    unsigned code;
    const char *enhanced, *text;
} own_rows[] = {
#define REPLY(id, code, enhanced, text) {#id, code, enhanced, text},
#include "proxy/smtp/replies.def"
#undef REPLY
};

static void test_own(void **state)
{
    (void)state;
    assert_int_equal(ARRAY_LENGTH(own_rows), REPLY_COUNT);
    for (size_t i = 0; i < REPLY_COUNT; i++) {
        struct reply r = reply_own((enum reply_id)i);
        const char *enhanced = own_rows[i].enhanced;
        static struct lib_text wire, numbers;

        wire.len = numbers.len = 0;
        lib_put(&wire, "%u %s%s%s\r\n", own_rows[i].code, enhanced, *enhanced == '\0' ? "" : " ",
                own_rows[i].text);
        lib_same_bytes(i, own_rows[i].name, bytes_of(wire.at), r.wire);
        lib_same_number(i, "code", own_rows[i].code, r.code);
        lib_put(&numbers, "%u.%u.%u", r.enhanced[0], r.enhanced[1], r.enhanced[2]);
        lib_same_text(i, "enhanced", *enhanced == '\0' ? "0.0.0" : enhanced, numbers.at);
        lib_is_true(i, "class", *enhanced == '\0' || r.enhanced[0] == r.code / 100);
        lib_is_true(i, "length", r.wire.len <= 512);
        lib_same_number(i, "positive", own_rows[i].code / 100 == 2, reply_is_positive(&r));
    }
    lib_end_rows();
}

/* ---- from outside ---- */

struct make_row {
    struct bytes text;
    const char *wire; /* NULL: ERR_SYNTAX */
};

static const struct make_row make_rows[] = {
    {LITERAL("550 no"), "550 5.0.0 no\r\n"},
    {LITERAL("550 5.1.1 no such user"), "550 5.1.1 no such user\r\n"},
    {LITERAL("450 4.7.23 later"), "450 4.7.23 later\r\n"},
    {LITERAL("451 later"), "451 4.0.0 later\r\n"},
    {LITERAL("521 5.3.2 no mail"), "521 5.3.2 no mail\r\n"},
    {LITERAL("550"), "550 5.0.0\r\n"},
    {LITERAL("550 "), "550 5.0.0 \r\n"},
    {LITERAL("550 5.1.1"), "550 5.1.1\r\n"},
    {LITERAL("550 5.1"), "550 5.0.0 5.1\r\n"},
    {LITERAL("550 5.1.1no"), "550 5.0.0 5.1.1no\r\n"},
    {LITERAL("550 see http://example.org/?a=b"), "550 5.0.0 see http://example.org/?a=b\r\n"},
    {LITERAL("550 4.1.1 class differs"), NULL},
    {LITERAL("250 fine"), NULL},
    {LITERAL("354 go"), NULL},
    {LITERAL("650 what"), NULL},
    {LITERAL("55 no"), NULL},
    {LITERAL("55"), NULL},
    {LITERAL(""), NULL},
    {LITERAL("5500 no"), NULL},
    {LITERAL("550-no"), NULL},
    {LITERAL("no"), NULL},
    {LITERAL("5x0 no"), NULL},
    {LITERAL("550 a\r\n250 b"), NULL},
    {LITERAL("550 a\nb"), NULL},
    {LITERAL("550 a\tb"), NULL},
    {LITERAL("550 a\0b"), NULL},
    {LITERAL("550 a\x7f"), NULL},
    {LITERAL("550 \xc3\xa4"), NULL},
};

static void test_make(void **state)
{
    static uint8_t text[501];
    struct arena arena;
    struct pool pool;
    struct reply r;

    (void)state;
    pool_init(&pool, BLOCK_BYTES, 1);
    arena_init(&arena, &pool, 65536);
    for (size_t i = 0; i < ARRAY_LENGTH(make_rows); i++) {
        struct lib_guard guard = lib_guard_copy(make_rows[i].text);
        int error = reply_make(&arena, guard.bytes, &r);

        lib_same_number(i, "error", make_rows[i].wire == NULL ? ERR_SYNTAX : 0, error);
        if (error == 0 && make_rows[i].wire != NULL) {
            lib_same_bytes(i, "wire", bytes_of(make_rows[i].wire), r.wire);
            lib_same_number(i, "class", r.code / 100, r.enhanced[0]);
        }
        lib_guard_free(&guard);
    }
    memset(text, 'x', sizeof(text));
    memcpy(text, "550 ", 4);
    lib_same_number(100, "500 octets", 0, reply_make(&arena, bytes_make(text, 500), &r));
    lib_is_true(100, "fits", r.wire.len <= 512);
    lib_same_number(101, "501", ERR_SYNTAX, reply_make(&arena, bytes_make(text, 501), &r));
    arena_reset(&arena);
    pool_done(&pool);
    lib_end_rows();
}

/* ---- reading ---- */

/* Seen: each reply with its code, enhanced code and wire; then the error, if one came. */
struct parse_row {
    struct bytes input;
    const char *seen;
};

static const struct parse_row parse_rows[] = {
    {LITERAL("250 ok\r\n"), "[250 0.0.0 250 ok\\r\\n]"},
    {LITERAL("250 2.1.0 ok\r\n"), "[250 2.1.0 250 2.1.0 ok\\r\\n]"},
    {LITERAL("250 ok\n"), "[250 0.0.0 250 ok\\r\\n]"},
    {LITERAL("250\r\n"), "[250 0.0.0 250\\r\\n]"},
    {LITERAL("250 \r\n"), "[250 0.0.0 250 \\r\\n]"},
    {LITERAL("250-a\r\n250-b\n250 c\r\n"), "[250 0.0.0 250-a\\r\\n250-b\\r\\n250 c\\r\\n]"},
    {LITERAL("250-\r\n250\r\n"), "[250 0.0.0 250-\\r\\n250\\r\\n]"},
    {LITERAL("250 a\r\n550 5.1.1 b\r\n354 c\r\n"),
     "[250 0.0.0 250 a\\r\\n][550 5.1.1 550 5.1.1 b\\r\\n][354 0.0.0 354 c\\r\\n]"},
    {LITERAL("550-5.7.1 a\r\n550 5.7.1 b\r\n250 "),
     "[550 5.7.1 550-5.7.1 a\\r\\n550 5.7.1 b\\r\\n] more"},
    {LITERAL("550 5.7.23 a\r\n"), "[550 5.7.23 550 5.7.23 a\\r\\n]"},
    {LITERAL("550 5.7.255 a\r\n"), "[550 5.7.255 550 5.7.255 a\\r\\n]"},
    {LITERAL("250 \t\x01\xff~\r\n"), "[250 0.0.0 250 \\t\\x01\\xff~\\r\\n]"},
    /* the last line has the say */
    {LITERAL("220-teaser\r\n521 5.3.2 no\r\n"), "[521 5.3.2 521-teaser\\r\\n521 5.3.2 no\\r\\n]"},
    {LITERAL("550-a\n451-b\r\n250 2.1.5 c\n"),
     "[250 2.1.5 250-a\\r\\n250-b\\r\\n250 2.1.5 c\\r\\n]"},
    {LITERAL("550-2.1.5 a\r\n550 b\r\n"), "[550 0.0.0 550-2.1.5 a\\r\\n550 b\\r\\n]"},
    {LITERAL("250-\r\n550\r\n"), "[550 0.0.0 550-\\r\\n550\\r\\n]"},
    /* enhanced codes that are odd */
    {LITERAL("550 5.2.900 a\r\n"), "[550 0.0.0 550 5.2.900 a\\r\\n]"},
    {LITERAL("550 5.10.1 a\r\n"), "[550 0.0.0 550 5.10.1 a\\r\\n]"},
    {LITERAL("550 4.1.1 a\r\n"), "[550 0.0.0 550 4.1.1 a\\r\\n]"},
    {LITERAL("550 5.1.1a\r\n"), "[550 0.0.0 550 5.1.1a\\r\\n]"},
    {LITERAL("550 5.1.1\r\n"), "[550 5.1.1 550 5.1.1\\r\\n]"},
    {LITERAL("550 5.1.\r\n"), "[550 0.0.0 550 5.1.\\r\\n]"},
    {LITERAL("550 5..11 a\r\n"), "[550 0.0.0 550 5..11 a\\r\\n]"},
    {LITERAL("550 5.1234.1 a\r\n"), "[550 0.0.0 550 5.1234.1 a\\r\\n]"},
    {LITERAL("550 5.123\r\n"), "[550 0.0.0 550 5.123\\r\\n]"},
    {LITERAL("550 5.1.1234 a\r\n"), "[550 0.0.0 550 5.1.1234 a\\r\\n]"},
    {LITERAL("354 3.0.0 a\r\n"), "[354 0.0.0 354 3.0.0 a\\r\\n]"},
    /* not yet */
    {LITERAL(""), ""},
    {LITERAL("250 ok"), " more"},
    {LITERAL("250 ok\r"), " more"},
    {LITERAL("250-ok\r\n"), " more"},
    {LITERAL("x"), " more"},
    /* no replies */
    {LITERAL("\r\n"), " garbage"},
    {LITERAL("hello\r\n"), " garbage"},
    {LITERAL("25\r\n"), " garbage"},
    {LITERAL("2500 a\r\n"), " garbage"},
    {LITERAL("250\ta\r\n"), " garbage"},
    {LITERAL("150 a\r\n"), " garbage"},
    {LITERAL("650 a\r\n"), " garbage"},
    {LITERAL("050 a\r\n"), " garbage"},
    {LITERAL("2x0 a\r\n"), " garbage"},
    {LITERAL(" 250 a\r\n"), " garbage"},
    {LITERAL("250-a\r\n\r\n"), " garbage"},
    {LITERAL("250-a\r\nmore\r\n"), " garbage"},
    {LITERAL("250 a\0b\r\n"), " garbage"},
    {LITERAL("250 a\rb\r\n"), " garbage"},
    {LITERAL("250 a\r\r\n"), " garbage"},
    {LITERAL("\r250 a\r\n"), " garbage"},
    {LITERAL("250 a\r\nSSH-2.0\r\n"), "[250 0.0.0 250 a\\r\\n] garbage"},
};

static void parse(const void *given, struct lib_pieces *in, struct lib_text *seen)
{
    int error = ERR_NOT_FOUND;
    struct reply_parser p;
    struct bytes piece;
    struct pool pool;
    struct reply r;

    (void)given;
    pool_init(&pool, BLOCK_BYTES, 1);
    reply_parser_init(&p, &pool);
    while ((error == 0 || error == ERR_NOT_FOUND) && lib_next_piece(in, &piece)) {
        while ((error = reply_parser_take(&p, &piece, &r)) == 0) {
            lib_put(seen, "[%u %u.%u.%u ", r.code, r.enhanced[0], r.enhanced[1], r.enhanced[2]);
            lib_put_bytes(seen, r.wire);
            lib_put(seen, "]");
            lib_is_true(0, "empty behind a reply", reply_parser_is_empty(&p));
        }
        lib_is_true(0, "all taken", error != ERR_NOT_FOUND || piece.len == 0);
    }
    if (error == ERR_GARBAGE || error == ERR_TOO_LONG)
        lib_put(seen, error == ERR_GARBAGE ? " garbage" : " long");
    else if (!reply_parser_is_empty(&p))
        lib_put(seen, " more");
    else if (pool.taken != 0)
        lib_put(seen, " held for nothing");
    reply_parser_done(&p);
    if (pool.taken != 0)
        lib_put(seen, " leak");
    pool_done(&pool);
}

static void test_parser(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(parse_rows); i++)
        lib_run_three_ways(i, parse_rows[i].input, parse_rows[i].seen, parse, NULL);
    lib_end_rows();
}

/* The outcome of `input` in pieces of so many octets. */
static int parse_in_pieces(struct bytes input, size_t piece_bytes)
{
    int error = ERR_NOT_FOUND;
    struct reply_parser p;
    struct pool pool;
    struct reply r;

    pool_init(&pool, BLOCK_BYTES, 1);
    reply_parser_init(&p, &pool);
    while (error == ERR_NOT_FOUND && input.len > 0) {
        struct bytes piece = bytes_first(input, piece_bytes);

        input = bytes_skip(input, piece.len);
        error = reply_parser_take(&p, &piece, &r);
    }
    reply_parser_done(&p);
    pool_done(&pool);
    return error;
}

struct limit_row {
    size_t line_octets; /* on the wire; the last line has what is left of the whole */
    size_t octets;
    const char *end;
    int error;
};

static const struct limit_row limit_rows[] = {
    {SIZE_MAX, REPLY_MAX_BYTES, "\r\n", 0},
    {SIZE_MAX, REPLY_MAX_BYTES + 1, "\r\n", ERR_TOO_LONG},
    /* an LF alone counts as the CRLF that it becomes */
    {SIZE_MAX, REPLY_MAX_BYTES - 1, "\n", 0},
    {SIZE_MAX, REPLY_MAX_BYTES, "\n", ERR_TOO_LONG},
    {SIZE_MAX, REPLY_MAX_BYTES + 1, "x", ERR_TOO_LONG},
    {SIZE_MAX, REPLY_MAX_BYTES, "x", ERR_NOT_FOUND},
    {10, REPLY_MAX_BYTES, "\r\n", 0},
    {10, REPLY_MAX_BYTES + 1, "\r\n", ERR_TOO_LONG},
    {10, REPLY_MAX_BYTES + 50, "x", ERR_TOO_LONG},
};

static void test_parser_limit(void **state)
{
    static const size_t piece_bytes[] = {1, 2, 7, 1000, REPLY_MAX_BYTES, SIZE_MAX};
    static uint8_t input[REPLY_MAX_BYTES + 64];

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(limit_rows); i++) {
        const struct limit_row *row = &limit_rows[i];
        size_t end = strlen(row->end), at = 0;

        memset(input, 'x', sizeof(input));
        for (; row->line_octets < SIZE_MAX && at + 30 < row->octets; at += row->line_octets)
            memcpy(input + at, "250-four\r\n", 10);
        memcpy(input + at, "250 ", 4);
        memcpy(input + row->octets - end, row->end, end);
        for (size_t n = 0; n < ARRAY_LENGTH(piece_bytes); n++)
            lib_same_number(i, "error", row->error,
                            parse_in_pieces(bytes_make(input, row->octets), piece_bytes[n]));
    }
    lib_end_rows();
}

static bool parse_with_failures(void *given)
{
    struct bytes input = bytes_of("250-first\r\n250 second\r\n");
    struct reply r = {.code = 0};
    struct reply_parser p;
    struct pool pool;
    int error = ERR_NOT_FOUND;

    (void)given;
    pool_init(&pool, 16, 0); /* the reply outgrows a block */
    reply_parser_init(&p, &pool);
    while (error == ERR_NOT_FOUND && input.len > 0) {
        struct bytes octet = bytes_first(input, 1);

        input = bytes_skip(input, 1);
        error = reply_parser_take(&p, &octet, &r);
    }
    assert_true(error == 0 || error == ERR_MEMORY);
    assert_int_equal(r.code, error == 0 ? 250 : 0);
    assert_true(reply_parser_is_empty(&p));
    reply_parser_done(&p);
    pool_done(&pool);
    return error == 0;
}

static bool make_and_copy_with_failures(void *given)
{
    struct reply r = {.code = 1}, copy = {.code = 1};
    struct arena arena;
    struct pool pool;
    int error;

    (void)given;
    pool_init(&pool, 128, 0);
    arena_init(&arena, &pool, 4096);
    error = reply_make(&arena,
                       bytes_of("550 5.1.1 a text that takes most of a block, so that the "
                                "copy needs another"),
                       &r);
    if (error == 0)
        error = reply_copy(&arena, &r, &copy);
    if (error == 0)
        assert_true(bytes_equal(r.wire, copy.wire) && r.wire.at != copy.wire.at);
    else
        assert_true(error == ERR_MEMORY && copy.code == 1);
    arena_reset(&arena);
    pool_done(&pool);
    return error == 0;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    assert_true(lib_fail_each_allocation(parse_with_failures, NULL) > 1);
    assert_true(lib_fail_each_allocation(make_and_copy_with_failures, NULL) > 1);
}

/* ---- writing ---- */

struct put_row {
    const char *wire;
    uint16_t code;
    bool wants_enhanced;
    const char *written, *text; /* text NULL: not looked at */
};

static const struct put_row put_rows[] = {
    {"250 ok\r\n", 0, false, "250 ok\r\n", "250 ok"},
    {"250 ok\r\n", 0, true, "250 2.0.0 ok\r\n", NULL},
    {"250 2.1.5 ok\r\n", 0, true, "250 2.1.5 ok\r\n", "250 2.1.5 ok"},
    {"250 \r\n", 0, true, "250 2.0.0\r\n", "250"},
    {"250\r\n", 0, true, "250 2.0.0\r\n", "250"},
    {"250\r\n", 251, false, "251\r\n", NULL},
    {"550-a\r\n550-\r\n550 5.1.1 b\r\n", 0, true, "550-5.0.0 a\r\n550-5.0.0\r\n550 5.1.1 b\r\n",
     "550 a /  / 5.1.1 b"},
    {"550-a\r\n550 b\r\n", 0, false, "550-a\r\n550 b\r\n", "550 a / b"},
    {"354 go\r\n", 0, true, "354 go\r\n", "354 go"},
    {"421-4.3.2 going\r\n421 4.3.2 down\r\n", 451, false, "451-4.3.2 going\r\n451 4.3.2 down\r\n",
     "421 4.3.2 going / 4.3.2 down"},
    {"421 down\r\n", 451, true, "451 4.0.0 down\r\n", NULL},
    {"421 down\r\n", 421, false, "421 down\r\n", NULL},
    /* odd ones count as codes, and are never changed */
    {"550 5.2.900 a\r\n", 0, true, "550 5.2.900 a\r\n", NULL},
    {"550 4.1.1 a\r\n", 0, true, "550 4.1.1 a\r\n", NULL},
    {"550 5.1.1a\r\n", 0, true, "550 5.0.0 5.1.1a\r\n", NULL},
    {"550 1.1.1 a\r\n", 0, true, "550 5.0.0 1.1.1 a\r\n", NULL},
};

static void test_put(void **state)
{
    struct reply_parser p;
    struct pool pool;

    (void)state;
    pool_init(&pool, BLOCK_BYTES, 4);
    reply_parser_init(&p, &pool);
    for (size_t i = 0; i < ARRAY_LENGTH(put_rows); i++) {
        const struct put_row *row = &put_rows[i];
        struct bytes in = bytes_of(row->wire);
        struct reply r;
        struct buf out;

        buf_init(&out, &pool, 4096);
        lib_same_number(i, "error", 0, reply_parser_take(&p, &in, &r));
        reply_put(&out, &r, row->code, row->wants_enhanced ? REPLY_ENHANCED_ADDED : REPLY_AS_IT_IS);
        lib_same_bytes(i, "written", bytes_of(row->written), buf_bytes(&out));
        buf_reset(&out);
        reply_put_text(&out, &r);
        if (row->text != NULL)
            lib_same_bytes(i, "text", bytes_of(row->text), buf_bytes(&out));
        buf_done(&out);
    }
    reply_parser_done(&p);
    pool_done(&pool);
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own),
        cmocka_unit_test(test_make),
        cmocka_unit_test(test_parser),
        cmocka_unit_test(test_parser_limit),
        cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_put),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
