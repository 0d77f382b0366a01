/* SPDX-License-Identifier: BSD-2-Clause */
/* Ids: form, order and uniqueness, also when the clock stands still or jumps back. */
#include "proxy/base/id.h"

#include "tests/unit/lib.h"

static void has_its_form(void **state)
{
    static const struct {
        struct id_source source;
        uint64_t wall_ms;
        const char *expected;
    } rows[] = {
        {{0, 0, 0}, 1, "0000000010000000"},
        {{1, 0, 0}, 31, "0000000100000100"},
        {{30, 0, 5}, 5, "0000000050000Z01"},
        {{0, 29, 5}, 5, "000000005000000Z"},
        {{0, 960, 5}, 5, "0000000060000000"},
        {{0, 960, 7}, 5, "0000000080000000"},
        {{4194303, 0, 0}, 0, "0000000004JSJ301"},
        {{28629150, 0, 0}, 26439622160670, "ZZZZZZZZZZZZZZ00"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct id_source source = rows[i].source;

        lib_same_text(i, "id", rows[i].expected, id_next(&source, rows[i].wall_ms).text);
    }
    lib_end_rows();
}

/* Each row is what the clock does between two ids, many times over. */
static void sorts_by_arrival(void **state)
{
    static const int steps_ms[] = {0, 1, 500, -1, -500, -100000};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(steps_ms); i++) {
        struct id_source source = {.process = 4711};
        uint64_t wall_ms = 1795319264000;
        struct id before = id_next(&source, wall_ms);

        for (int turn = 0; turn < 5000; turn++) {
            struct id now;

            wall_ms += (uint64_t)(int64_t)steps_ms[i];
            now = id_next(&source, wall_ms);
            if (!lib_is_true(i, "sorts behind the one before", strcmp(before.text, now.text) < 0))
                break;
            before = now;
        }
    }
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_its_form),
        cmocka_unit_test(sorts_by_arrival),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
