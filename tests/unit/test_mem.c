/* SPDX-License-Identifier: BSD-2-Clause */
/* Blocks, pools, and allocations that are made to fail. */
#include "proxy/base/mem.h"

#include "tests/unit/lib.h"

static void gives_a_block_for_nothing(void **state)
{
    void *blocks[3];

    (void)state;
    blocks[0] = mem_alloc(0);
    blocks[1] = mem_zalloc(0);
    blocks[2] = mem_grow(NULL, 0);
    for (size_t i = 0; i < ARRAY_LENGTH(blocks); i++) {
        assert_non_null(blocks[i]);
        mem_free(blocks[i]);
    }
    mem_free(NULL);
}

static void grows_and_keeps(void **state)
{
    char *block = mem_zalloc(8), *larger;

    (void)state;
    assert_non_null(block);
    assert_memory_equal(block, "\0\0\0\0\0\0\0\0", 8);
    memcpy(block, "postern", 8);
    larger = mem_grow(block, 4000);
    assert_non_null(larger);
    assert_string_equal(larger, "postern");
    mem_fail_nth(1);
    assert_null(mem_grow(larger, 8000));
    mem_fail_nth(0);
    assert_string_equal(larger, "postern");
    mem_free(larger);
}

static void fails_the_nth_once(void **state)
{
    (void)state;
    for (uint64_t n = 0; n <= 4; n++) {
        mem_fail_nth(n);
        for (uint64_t i = 1; i <= 4; i++) {
            void *block = i % 2 == 0 ? mem_alloc(1) : mem_zalloc(1);

            lib_same_number(n, "fails", i == n, block == NULL);
            mem_free(block);
        }
        lib_same_number(n, "asked", 4, (int64_t)mem_fail_nth(0));
    }
    lib_end_rows();
}

static void reuses_the_block_given_back_last(void **state)
{
    struct pool pool;
    void *blocks[4];

    (void)state;
    pool_init(&pool, 100, 2);
    for (size_t i = 0; i < 4; i++)
        blocks[i] = pool_take(&pool);
    assert_int_equal(pool.taken, 4);
    for (size_t i = 0; i < 4; i++)
        pool_give(&pool, blocks[i]);
    assert_int_equal(pool.taken, 0);
    assert_int_equal(pool.kept, 2);
    assert_ptr_equal(pool_take(&pool), blocks[1]);
    assert_ptr_equal(pool_take(&pool), blocks[0]);
    assert_int_equal(pool.kept, 0);
    memset(blocks[0], 0xff, 100);
    pool_give(&pool, blocks[0]);
    pool_give(&pool, blocks[1]);
    pool_done(&pool);
    assert_int_equal(pool.kept, 0);
}

static void makes_room_for_its_own_link(void **state)
{
    struct pool pool;
    void *block;

    (void)state;
    pool_init(&pool, 1, 1);
    block = pool_take(&pool);
    assert_non_null(block);
    pool_give(&pool, block);
    assert_ptr_equal(pool_take(&pool), block);
    pool_give(&pool, block);
    pool_done(&pool);
}

static bool take_twice(void *given)
{
    struct pool pool;
    bool is_fine = true;

    (void)given;
    pool_init(&pool, 100, 1);
    for (int i = 0; i < 2; i++) {
        void *block = pool_take(&pool);

        assert_int_equal(pool.taken, block == NULL ? 0 : 1);
        is_fine = is_fine && block != NULL;
        if (block != NULL)
            pool_give(&pool, block);
    }
    pool_done(&pool);
    return is_fine;
}

static void kept_blocks_can_fail_too(void **state)
{
    (void)state;
    assert_int_equal(lib_fail_each_allocation(take_twice, NULL), 2);
}

/* Seventeen items: room for sixteen, then for twice as many. */
static void makes_room_for_one_more(void **state)
{
    size_t capacity = 0, count = 0;
    int *array = NULL;

    (void)state;
    while (count < 17) {
        int *grown = mem_make_room(array, count, &capacity, sizeof(*array));
        assert_non_null(grown);
        array = grown;
        array[count] = (int)count;
        count++;
        assert_int_equal(capacity, count <= 16 ? 16 : 32);
    }
    count = capacity;
    mem_fail_nth(1);
    assert_null(mem_make_room(array, count, &capacity, sizeof(*array)));
    mem_fail_nth(0);
    assert_int_equal(capacity, 32);
    for (int i = 0; i < 17; i++)
        assert_int_equal(array[i], i);
    mem_free(array);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_a_block_for_nothing),
        cmocka_unit_test(grows_and_keeps),
        cmocka_unit_test(fails_the_nth_once),
        cmocka_unit_test(reuses_the_block_given_back_last),
        cmocka_unit_test(makes_room_for_its_own_link),
        cmocka_unit_test(kept_blocks_can_fail_too),
        cmocka_unit_test(makes_room_for_one_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
