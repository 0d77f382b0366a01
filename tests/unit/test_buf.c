/* SPDX-License-Identifier: BSD-2-Clause */
/* Buffers: limits, growth, and what they hold while empty. */
#include "proxy/base/buf.h"

#include "tests/unit/lib.h"

#define BLOCK_BYTES 16

static void is_bounded(void **state)
{
    static const struct {
        uint32_t limit;
        size_t puts[5]; /* 0 ends them */
        size_t length;
        bool has_failed;
        bool is_pooled;
    } rows[] = {
        {0, {1}, 0, true, false},
        {8, {8}, 8, false, true},
        {8, {9}, 0, true, false},
        {8, {5, 4}, 5, true, true},
        {8, {5, 4, 3}, 5, true, true}, /* nothing follows what is missing */
        {16, {16}, 16, false, true},
        {17, {16, 1}, 17, false, false},
        {17, {16, 1, 1}, 17, true, false},
        {1000, {10, 10, 100, 500, 380}, 1000, false, false},
        {1000, {10, 10, 100, 500, 381}, 620, true, false},
        {UINT32_MAX, {100}, 100, false, false},
    };
    static const uint8_t octets[1024];

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct pool pool;
        struct buf buf;

        pool_init(&pool, BLOCK_BYTES, 1);
        buf_init(&buf, &pool, rows[i].limit);
        for (size_t put = 0; put < 5 && rows[i].puts[put] != 0; put++)
            buf_put(&buf, bytes_make(octets, rows[i].puts[put]));
        lib_same_number(i, "length", (int64_t)rows[i].length, (int64_t)buf_length(&buf));
        lib_same_number(i, "has_failed", rows[i].has_failed, buf.has_failed);
        lib_same_number(i, "pooled blocks", rows[i].is_pooled, (int64_t)pool.taken);
        buf_done(&buf);
        lib_same_number(i, "has_failed, done", rows[i].has_failed, buf.has_failed);
        buf_reset(&buf);
        lib_same_number(i, "has_failed, reset", false, buf.has_failed);
        lib_same_number(i, "blocks left", 0, (int64_t)pool.taken);
        pool_done(&pool);
    }
    lib_end_rows();
}

static void writes_numbers(void **state)
{
    static const struct {
        uint64_t number;
        const char *text;
    } rows[] = {
        {0, "0"},
        {9, "9"},
        {10, "10"},
        {250, "250"},
        {1234567890123, "1234567890123"},
        {UINT64_MAX, "18446744073709551615"},
    };
    struct pool pool;
    struct buf buf;

    (void)state;
    pool_init(&pool, 64, 1);
    buf_init(&buf, &pool, 64);
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        buf_reset(&buf);
        buf_decimal(&buf, rows[i].number);
        lib_same_bytes(i, "decimal", bytes_of(rows[i].text), buf_bytes(&buf));
    }
    buf_done(&buf);
    pool_done(&pool);
    lib_end_rows();
}

static void takes_all_of_a_line_or_nothing(void **state)
{
    struct pool pool;
    struct buf buf;

    (void)state;
    pool_init(&pool, BLOCK_BYTES, 1);
    buf_init(&buf, &pool, 14);
    buf_cat(&buf, "250", " ", "ok", "\r\n", NULL);
    assert_true(bytes_is(buf_bytes(&buf), "250 ok\r\n"));
    buf_cat(&buf, "", NULL);
    buf_byte(&buf, '!');
    buf_cat(&buf, "12", "345", "6", NULL);
    assert_true(buf.has_failed);
    assert_true(bytes_is(buf_bytes(&buf), "250 ok\r\n!"));
    buf_reset(&buf);
    buf_cat(&buf, "0123456789abc", "de", NULL);
    assert_true(buf.has_failed);
    assert_int_equal(pool.taken, 0);
    pool_done(&pool);
}

static void changes_what_it_has(void **state)
{
    struct pool pool;
    struct buf buf;

    (void)state;
    pool_init(&pool, BLOCK_BYTES, 1);
    buf_init(&buf, &pool, 100);
    buf_text(&buf, "0123456");
    buf_consume(&buf, 2);
    buf_overwrite(&buf, 1, bytes_of("ab"));
    buf_overwrite(&buf, 5, bytes_make(NULL, 0));
    assert_true(bytes_is(buf_bytes(&buf), "2ab56"));
    buf_drop_last(&buf, 2);
    assert_true(bytes_is(buf_bytes(&buf), "2ab"));
    buf_text(&buf, "c");
    buf_drop_last(&buf, 0);
    assert_true(bytes_is(buf_bytes(&buf), "2abc"));
    buf_drop_last(&buf, 4);
    assert_int_equal(pool.taken, 0);
    pool_done(&pool);
}

/* Against a plain array, with every size and both kinds of memory. */
static void is_a_queue(void **state)
{
    static uint8_t queue[1 << 20];
    size_t first = 0, end = 0;
    struct lib_random random = {.state = 1};
    struct pool pool;
    struct buf buf;

    (void)state;
    pool_init(&pool, BLOCK_BYTES, 2);
    buf_init(&buf, &pool, 300);
    for (int step = 0; step < 20000; step++) {
        uint8_t octets[64];
        size_t more = lib_random_below(&random, sizeof(octets));
        size_t less = lib_random_below(&random, 80);

        for (size_t i = 0; i < more; i++)
            octets[i] = (uint8_t)lib_random_next(&random);
        if (end - first + more <= 300 && end + more <= sizeof(queue)) {
            memcpy(queue + end, octets, more);
            end += more;
            buf_put(&buf, bytes_make(octets, more));
        }
        less = less < end - first ? less : end - first;
        first += less;
        buf_consume(&buf, less);
        assert_false(buf.has_failed);
        assert_true(bytes_equal(buf_bytes(&buf), bytes_make(queue + first, end - first)));
        assert_true((buf.capacity == 0) == (first == end));
        assert_true(buf.capacity <= 300);
    }
    buf_done(&buf);
    assert_int_equal(pool.taken, 0);
    pool_done(&pool);
}

static bool fill(void *given)
{
    struct pool pool;
    struct buf buf;
    bool is_fine;

    (void)given;
    pool_init(&pool, BLOCK_BYTES, 1);
    buf_init(&buf, &pool, 100);
    buf_text(&buf, "0123456789");
    buf_text(&buf, "0123456789");
    buf_text(&buf, "0123456789012345678901234567890123456789");
    is_fine = !buf.has_failed;
    assert_true(buf_length(&buf) == 60 || !is_fine);
    assert_true(buf_length(&buf) % 10 == 0);
    buf_done(&buf);
    assert_int_equal(pool.taken, 0);
    pool_done(&pool);
    return is_fine;
}

static void survives_failing_allocations(void **state)
{
    (void)state;
    assert_int_equal(lib_fail_each_allocation(fill, NULL), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_bounded),
        cmocka_unit_test(writes_numbers),
        cmocka_unit_test(takes_all_of_a_line_or_nothing),
        cmocka_unit_test(changes_what_it_has),
        cmocka_unit_test(is_a_queue),
        cmocka_unit_test(survives_failing_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
