/* SPDX-License-Identifier: BSD-2-Clause */
/* Arenas: alignment, limits, blocks of both kinds, and what is given back. */
#include "proxy/base/arena.h"

#include "tests/unit/lib.h"

#include "proxy/base/error.h"

#define BLOCK_BYTES 256

struct row {
    size_t sizes[6]; /* 0 ends the list */
    size_t limit_bytes;
    size_t refused;      /* how many of them are */
    size_t pooled;       /* blocks taken from the pool */
    size_t larger_bytes; /* at least so much in blocks of their own */
};

static const struct row rows[] = {
    {{1}, 4096, 0, 1, 0},
    {{100, 100}, 4096, 0, 1, 0},
    {{100, 100, 100}, 4096, 0, 2, 0},
    {{1000}, 4096, 0, 0, 1000},
    /* a large one in between leaves the room in the block before it usable */
    {{100, 1000, 100}, 4096, 0, 1, 1000},
    {{1000, 100, 2000, 100}, 4096, 0, 1, 3000},
    {{100}, 255, 1, 0, 0},
    {{100}, 256, 0, 1, 0},
    {{200, 200, 200}, 512, 1, 2, 0},
    {{1000, 100}, 1100, 1, 0, 1000},
    {{100, 1000, 100}, 1100, 1, 1, 0},
    {{SIZE_MAX}, SIZE_MAX, 1, 0, 0},
    {{SIZE_MAX - 50}, 1 << 20, 1, 0, 0},
};

static void check_row(size_t number, const struct row *row)
{
    struct pool pool;
    struct arena arena;
    uint8_t *blocks[6];
    size_t refused = 0;

    pool_init(&pool, BLOCK_BYTES, 1);
    arena_init(&arena, &pool, row->limit_bytes);
    for (size_t i = 0; i < 6 && row->sizes[i] != 0; i++) {
        blocks[i] = arena_alloc(&arena, row->sizes[i]);
        if (blocks[i] == NULL) {
            refused++;
            continue;
        }
        lib_is_true(number, "aligned", (uintptr_t)blocks[i] % _Alignof(max_align_t) == 0);
        for (size_t at = 0; at < row->sizes[i]; at++)
            if (!lib_same_number(number, "octet", 0, blocks[i][at]))
                break;
        memset(blocks[i], (int)i + 1, row->sizes[i]);
    }
    for (size_t i = 0; i < 6 && row->sizes[i] != 0; i++)
        if (blocks[i] != NULL)
            lib_is_true(number, "not overwritten",
                        blocks[i][0] == i + 1 && blocks[i][row->sizes[i] - 1] == i + 1);
    lib_same_number(number, "refused", (int64_t)row->refused, (int64_t)refused);
    lib_same_number(number, "pooled blocks", (int64_t)row->pooled, (int64_t)pool.taken);
    lib_is_true(number, "counts the larger blocks",
                arena.total_bytes - pool.taken * BLOCK_BYTES >= row->larger_bytes);
    lib_is_true(number, "within its limit", arena.total_bytes <= row->limit_bytes);
    arena_reset(&arena);
    lib_same_number(number, "blocks left", 0, (int64_t)pool.taken);
    lib_same_number(number, "octets left", 0, (int64_t)arena.total_bytes);
    pool_done(&pool);
}

static void gives_what_is_asked(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        check_row(i, &rows[i]);
    lib_end_rows();
}

static void holds_nothing_while_unused(void **state)
{
    struct pool pool;
    struct arena arena;
    struct bytes copy = bytes_of("?");

    (void)state;
    pool_init(&pool, BLOCK_BYTES, 1);
    arena_init(&arena, &pool, 0);
    assert_int_equal(arena_copy(&arena, bytes_make(NULL, 0), &copy), 0);
    assert_int_equal(copy.len, 0);
    assert_int_equal(arena.total_bytes, 0);
    assert_int_equal(arena_copy(&arena, bytes_of("x"), &copy), ERR_MEMORY);
    assert_int_equal(copy.len, 0);
    arena_reset(&arena);
    pool_done(&pool);
}

static void can_be_used_again(void **state)
{
    struct pool pool;
    struct arena arena;

    (void)state;
    pool_init(&pool, BLOCK_BYTES, 8);
    arena_init(&arena, &pool, 1024);
    for (int turn = 0; turn < 3; turn++) {
        for (int i = 0; i < 4; i++) {
            uint8_t *block = arena_alloc(&arena, 200);

            assert_non_null(block);
            assert_int_equal(block[0] | block[199], 0);
            memset(block, 0xff, 200);
        }
        assert_null(arena_alloc(&arena, 200));
        arena_reset(&arena);
        assert_int_equal(pool.kept, 4);
    }
    pool_done(&pool);
}

static bool fill(void *given)
{
    struct pool pool;
    struct arena arena;
    struct bytes copy = bytes_make(NULL, 0);
    char large[2 * BLOCK_BYTES] = {'x'};
    bool is_fine;

    (void)given;
    pool_init(&pool, BLOCK_BYTES, 4);
    arena_init(&arena, &pool, 1 << 20);
    is_fine = arena_alloc(&arena, 10) != NULL;
    is_fine = arena_alloc(&arena, BLOCK_BYTES / 2) != NULL && is_fine;
    is_fine = arena_alloc(&arena, BLOCK_BYTES / 2) != NULL && is_fine;
    is_fine = arena_copy(&arena, bytes_make(large, sizeof(large)), &copy) == 0 && is_fine;
    if (copy.len != 0)
        assert_memory_equal(copy.at, large, sizeof(large));
    arena_reset(&arena);
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
        cmocka_unit_test(gives_what_is_asked),
        cmocka_unit_test(holds_nothing_while_unused),
        cmocka_unit_test(can_be_used_again),
        cmocka_unit_test(survives_failing_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
