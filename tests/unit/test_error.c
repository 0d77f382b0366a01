/* SPDX-License-Identifier: BSD-2-Clause */
/* Every number of our own has a text, and none is a system's. */
#include "proxy/base/error.h"

#include "tests/unit/lib.h"

static const struct {
    int number;
    const char *text;
} rows[] = {
#define X(name, number, text) {name, text},
    ERROR_LIST(X)
#undef X
};

static void has_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        lib_same_text(i, "text", rows[i].text, error_text(rows[i].number));
        lib_is_true(i, "below libuv's numbers", rows[i].number < -10000);
        for (size_t other = 0; other < i; other++)
            lib_is_true(i, "a number of its own", rows[i].number != rows[other].number);
    }
    lib_end_rows();
    assert_null(error_text(0));
    assert_null(error_text(-2));
    assert_null(error_text(-10000));
    assert_null(error_text(-99999));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
