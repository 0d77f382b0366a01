/* SPDX-License-Identifier: BSD-2-Clause */
/* Questions asked of runs of octets. */
#include "proxy/base/bytes.h"

#include "tests/unit/lib.h"

static void compares(void **state)
{
    static const struct {
        const char *a, *b;
        bool is_equal, is_equal_nocase, starts_nocase;
    } rows[] = {
        {"", "", true, true, true},          {"a", "", false, false, true},
        {"", "a", false, false, false},      {"abc", "abc", true, true, true},
        {"abc", "ABC", false, true, true},   {"abcd", "ABC", false, false, true},
        {"abc", "abd", false, false, false}, {"ab", "abc", false, false, false},
        {"[", "{", false, false, false},     {"@", "`", false, false, false},
        {"Z", "z", false, true, true},       {"\xc4", "\xe4", false, false, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct lib_guard a = lib_guard_copy(bytes_of(rows[i].a));

        lib_same_number(i, "is", rows[i].is_equal, bytes_is(a.bytes, rows[i].b));
        lib_same_number(i, "is, nocase", rows[i].is_equal_nocase,
                        bytes_is_nocase(a.bytes, rows[i].b));
        lib_same_number(i, "starts, nocase", rows[i].starts_nocase,
                        bytes_start_with_nocase(a.bytes, rows[i].b));
        lib_guard_free(&a);
    }
    lib_end_rows();
    assert_true(bytes_equal(bytes_make(NULL, 0), bytes_of("")));
}

static void cuts(void **state)
{
    struct bytes text = bytes_of("one two");
    struct bytes none = bytes_make(NULL, 0);

    (void)state;
    assert_int_equal(bytes_find(text, ' '), 3);
    assert_int_equal(bytes_find(text, '!'), 7);
    assert_int_equal(bytes_find(none, ' '), 0);
    assert_true(bytes_is(bytes_first(text, 3), "one"));
    assert_true(bytes_is(bytes_first(text, 30), "one two"));
    assert_true(bytes_is(bytes_skip(text, 4), "two"));
    assert_int_equal(bytes_skip(text, 7).len, 0);
    assert_int_equal(bytes_skip(none, 0).len, 0);
}

static void knows_characters(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        bool is_upper = c >= 'A' && c <= 'Z', is_lower = c >= 'a' && c <= 'z';

        lib_same_number(c, "digit", c >= '0' && c <= '9', byte_is_digit((uint8_t)c));
        lib_same_number(c, "letter", is_upper || is_lower, byte_is_letter((uint8_t)c));
        lib_same_number(c, "lower", is_upper ? c + 32 : c, byte_lower((uint8_t)c));
    }
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares),
        cmocka_unit_test(cuts),
        cmocka_unit_test(knows_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
