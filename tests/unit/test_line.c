/* SPDX-License-Identifier: BSD-2-Clause */
/* Command lines: their ends, what may not stand in them, their limit, and the block they hold. */
#include "proxy/smtp/line.h"

#include "tests/unit/lib.h"

#include "proxy/base/error.h"

#define LITERAL(text)                                                                              \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

/* Seen: lines in brackets, errors by their first letters. */
struct row {
    struct bytes input;
    bool wants_crlf;
    const char *seen;
};

static const struct row rows[] = {
    {LITERAL("NOOP\r\n"), true, "[NOOP]"},
    {LITERAL("NOOP\r\n"), false, "[NOOP]"},
    {LITERAL("\r\n"), true, "[]"},
    {LITERAL("\n"), false, "[]"},
    {LITERAL("MAIL\r\nRCPT\r\nDATA\r\n"), true, "[MAIL][RCPT][DATA]"},
    {LITERAL("MAIL\nRCPT\r\nDATA\n"), false, "[MAIL][RCPT][DATA]"},
    {LITERAL("NOOP"), true, ""},
    {LITERAL("NOOP\r"), true, ""},
    {LITERAL("a\r\nb"), true, "[a]"},
    {LITERAL("MAIL\nRCPT\r\n"), true, "<bare>[RCPT]"},
    {LITERAL("\n\r\n"), true, "<bare>[]"},
    {LITERAL("MA\rIL\r\nRCPT\r\n"), true, "<bare>[RCPT]"},
    {LITERAL("MA\rIL\nRCPT\n"), false, "<bare>[RCPT]"},
    {LITERAL("MAIL\r\r\nRCPT\r\n"), false, "<bare>[RCPT]"},
    {LITERAL("\rMAIL\r\n"), false, "<bare>"},
    {LITERAL("\r\r\n"), false, "<bare>"},
    {LITERAL("MA\0IL\r\nRCPT\r\n"), true, "<bare>[RCPT]"},
    {LITERAL("\0\nRCPT\n"), false, "<bare>[RCPT]"},
    {LITERAL("MAIL\0\r\n"), false, "<bare>"},
    {LITERAL("a\x01\x7f\xc3\xa4\t b \r\n"), true, "[a\\x01\\x7f\\xc3\\xa4\\t b ]"},
};

static void take_all(const void *given, struct lib_pieces *in, struct lib_text *seen)
{
    bool wants_crlf = *(const bool *)given;
    struct bytes piece, text;
    struct pool pool;
    struct line l;
    int error;

    pool_init(&pool, LINE_MAX_BYTES, 1);
    line_init(&l, &pool);
    while (lib_next_piece(in, &piece)) {
        while (piece.len > 0) {
            piece =
                bytes_skip(piece, line_take(&l, piece, wants_crlf ? LINE_END_CRLF : LINE_END_ANY,
                                            &text, &error));
            if (error == 0) {
                lib_put(seen, "[");
                lib_put_bytes(seen, text);
                lib_put(seen, "]");
            } else if (error == ERR_BARE_NEWLINE || error == ERR_TOO_LONG) {
                lib_put(seen, error == ERR_TOO_LONG ? "<long>" : "<bare>");
            } else if (error != ERR_NOT_FOUND || piece.len > 0) {
                lib_put(seen, "<error %d>", error);
            }
        }
        line_release(&l);
    }
    line_done(&l);
    if (pool.taken != 0)
        lib_put(seen, "<leak>");
    pool_done(&pool);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        lib_run_three_ways(i, rows[i].input, rows[i].seen, take_all, &rows[i].wants_crlf);
    lib_end_rows();
}

/* `filler` octets, a line end, and one more line. */
struct limit_row {
    size_t filler;
    const char *end;
    bool is_too_long;
};

static const struct limit_row limit_rows[] = {
    {LINE_MAX_BYTES - 2, "\r\n", false}, {LINE_MAX_BYTES - 1, "\r\n", true},
    {LINE_MAX_BYTES, "\r\n", true},      {LINE_MAX_BYTES - 1, "\n", false},
    {LINE_MAX_BYTES, "\n", true},        {LINE_MAX_BYTES + 1, "\n", true},
    {3 * LINE_MAX_BYTES, "\r\n", true},
};

static void test_limit(void **state)
{
    static uint8_t input[4 * LINE_MAX_BYTES];
    static struct lib_text expected;
    const bool wants_crlf = false;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(limit_rows); i++) {
        const struct limit_row *row = &limit_rows[i];
        size_t len = row->filler;

        memset(input, 'x', len);
        expected.len = 0;
        if (row->is_too_long) {
            lib_put(&expected, "<long>");
        } else {
            lib_put(&expected, "[");
            lib_put_bytes(&expected, bytes_make(input, len));
            lib_put(&expected, "]");
        }
        lib_put(&expected, "[NOOP]");
        memcpy(input + len, row->end, strlen(row->end));
        len += strlen(row->end);
        memcpy(input + len, "NOOP\r\n", 6);
        lib_run_three_ways(i, bytes_make(input, len + 6), expected.at, take_all, &wants_crlf);
    }
    lib_end_rows();
}

/* A line that is whole is borrowed from the input; one in pieces holds a block until released, and
 * one that is too long already holds none. */
static void test_block(void **state)
{
    static uint8_t filler[LINE_MAX_BYTES];
    struct bytes input = bytes_of("NOOP\r\n"), text;
    struct pool pool;
    struct line l;
    int error;

    (void)state;
    pool_init(&pool, LINE_MAX_BYTES, 1);
    line_init(&l, &pool);
    assert_int_equal(line_take(&l, input, LINE_END_CRLF, &text, &error), 6);
    assert_int_equal(error, 0);
    assert_ptr_equal(text.at, input.at);
    assert_int_equal(pool.taken, 0);

    assert_int_equal(line_take(&l, bytes_of("NO"), LINE_END_CRLF, &text, &error), 2);
    assert_int_equal(error, ERR_NOT_FOUND);
    assert_int_equal(pool.taken, 1);
    line_release(&l);
    assert_int_equal(pool.taken, 1);
    assert_int_equal(line_take(&l, bytes_of("OP\r\n"), LINE_END_CRLF, &text, &error), 4);
    assert_true(bytes_is(text, "NOOP"));
    assert_int_equal(pool.taken, 1);
    line_release(&l);
    assert_int_equal(pool.taken, 0);

    line_take(&l, bytes_of("NO"), LINE_END_CRLF, &text, &error);
    line_take(&l, bytes_of("OP\r\n"), LINE_END_CRLF, &text, &error);
    assert_int_equal(line_take(&l, bytes_make(NULL, 0), LINE_END_CRLF, &text, &error), 0);
    assert_int_equal(error, ERR_NOT_FOUND);
    assert_int_equal(pool.taken, 0);

    memset(filler, 'x', sizeof(filler));
    line_take(&l, bytes_of("x"), LINE_END_CRLF, &text, &error);
    line_take(&l, bytes_make(filler, sizeof(filler)), LINE_END_CRLF, &text, &error);
    assert_int_equal(error, ERR_NOT_FOUND);
    assert_int_equal(pool.taken, 0);
    line_done(&l);
    pool_done(&pool);
}

/* Says so, takes nothing, and goes on when there is memory again. */
static bool take_with_failures(void *given)
{
    struct bytes input = bytes_of("NOOP\r\n"), text;
    bool has_failed = false, is_fine = true;
    struct pool pool;
    struct line l;
    int error;

    (void)given;
    pool_init(&pool, LINE_MAX_BYTES, 0);
    line_init(&l, &pool);
    for (size_t at = 0; at < input.len; at++) {
        size_t taken = line_take(&l, bytes_make(input.at + at, 1), LINE_END_CRLF, &text, &error);

        if (error == ERR_MEMORY) {
            has_failed = true;
            is_fine = is_fine && taken == 0 && l.begun == NULL;
            taken = line_take(&l, bytes_make(input.at + at, 1), LINE_END_CRLF, &text, &error);
        }
        is_fine = is_fine && taken == 1 && error == (at == 5 ? 0 : ERR_NOT_FOUND);
    }
    assert_true(is_fine && bytes_is(text, "NOOP"));
    line_done(&l);
    pool_done(&pool);
    return !has_failed;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    assert_int_equal(lib_fail_each_allocation(take_with_failures, NULL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_block),
        cmocka_unit_test(test_failing_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
