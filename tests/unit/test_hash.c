/* SPDX-License-Identifier: BSD-2-Clause */
/* SipHash-1-3 against another implementation's values, and the table. */
#include "proxy/base/hash.h"

#include "tests/unit/lib.h"

#include "proxy/base/error.h"
#include "proxy/base/mem.h"

#define MANY 3000

/* Values of CPython 3.11, whose hash of bytes is SipHash-1-3: PYTHONHASHSEED=0 is a key of zeros,
 * 42 the other one. */
static const struct hash_key keys[] = {
    {{0, 0}},
    {{0xdc504fd368cd90afu, 0xb920bb9ffe99e9c1u}},
};

static const struct {
    struct bytes input;
    uint64_t expected[2];
} vectors[] = {
#define INPUT(text)                                                                                \
    {                                                                                              \
        .at = (const uint8_t *)(text), .len = sizeof(text) - 1                                     \
    }
    {INPUT("a"), {0x407448d2b89b1813u, 0xfe4a47335692551eu}},
    {INPUT("ab"), {0x555508cbc6add439u, 0x85652f29192e603au}},
    {INPUT("1234567"), {0xa33d651594fdae81u, 0xf426c87f0d9890aeu}},
    {INPUT("12345678"), {0x3489982430560a87u, 0x84eb586ab30cc7f5u}},
    {INPUT("123456789"), {0x0fbc0f0007965fcfu, 0x2cc2cece25c33444u}},
    {INPUT("user@example.org"), {0x87e67bef4ae5350bu, 0x226956715df9239fu}},
    {INPUT("\x00\xff\x80"), {0x1fc4471f4c2c7f7cu, 0x46f04fbc1f91f037u}},
    {INPUT("The quick brown fox jumps over the lazy dog"),
     {0x8df676d3d00c451eu, 0x8464245bd96a618cu}},
#undef INPUT
};

static void matches_the_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(vectors); i++) {
        struct lib_guard guard = lib_guard_copy(vectors[i].input);

        for (size_t k = 0; k < ARRAY_LENGTH(keys); k++)
            lib_same_number(i, "hash", (int64_t)vectors[i].expected[k],
                            (int64_t)hash_bytes(&keys[k], guard.bytes));
        lib_guard_free(&guard);
    }
    lib_end_rows();
}

struct item {
    struct hash_entry entry;
    uint32_t number;
};

static void finds_what_was_added(void **state)
{
    static struct item items[MANY];
    struct hash_table table;

    (void)state;
    hash_table_init(&table, keys[1]);
    assert_null(hash_table_find(&table, bytes_of("x")));
    for (uint32_t i = 0; i < MANY; i++) {
        struct bytes key = bytes_make(&items[i].number, sizeof(items[i].number));

        items[i].number = i;
        assert_null(hash_table_find(&table, key));
        assert_int_equal(hash_table_add(&table, &items[i].entry, key), 0);
        assert_true(table.bucket_count >= table.entry_count);
    }
    for (uint32_t i = 0; i < MANY; i += 2)
        hash_table_remove(&table, &items[i].entry);
    assert_int_equal(table.entry_count, MANY / 2);
    for (uint32_t i = 0; i < MANY; i++) {
        struct hash_entry *found = hash_table_find(&table, bytes_make(&i, sizeof(i)));

        lib_is_true(i, "found", found == (i % 2 == 0 ? NULL : &items[i].entry));
    }
    hash_table_done(&table);
    assert_null(hash_table_find(&table, bytes_of("x")));
    lib_end_rows();
}

static bool add_some(void *given)
{
    struct item items[20];
    struct hash_table table;
    size_t added = 0;
    bool is_fine = true;

    (void)given;
    hash_table_init(&table, keys[0]);
    for (uint32_t i = 0; i < ARRAY_LENGTH(items); i++) {
        struct bytes key = bytes_make(&items[i].number, sizeof(items[i].number));
        int error;

        items[i].number = i;
        error = hash_table_add(&table, &items[i].entry, key);
        assert_true(error == 0 || error == ERR_MEMORY);
        assert_ptr_equal(hash_table_find(&table, key), error == 0 ? &items[i].entry : NULL);
        added += error == 0 ? 1 : 0;
        is_fine = is_fine && error == 0;
    }
    assert_int_equal(table.entry_count, added);
    hash_table_done(&table);
    return is_fine;
}

static void survives_failing_allocations(void **state)
{
    (void)state;
    assert_int_equal(lib_fail_each_allocation(add_some, NULL), 3);
}

/* The sums lie in files: whatever becomes of the code, they stay what they are. */
static void chains_blocks(void **state)
{
    uint64_t both = hash_chain(hash_chain(0, bytes_of("post")), bytes_of("ern"));

    (void)state;
    assert_true(hash_chain(0, bytes_of("")) == 0xae8298570f4b5d3au);
    assert_true(hash_chain(0, bytes_of("postern")) == 0x8612fc09e63bd27bu);
    assert_true(both == 0x9bd9ae516ab806f4u);
    assert_true(both != hash_chain(hash_chain(0, bytes_of("ern")), bytes_of("post")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_the_vectors),
        cmocka_unit_test(finds_what_was_added),
        cmocka_unit_test(chains_blocks),
        cmocka_unit_test(survives_failing_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
