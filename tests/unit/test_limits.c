/* SPDX-License-Identifier: BSD-2-Clause */
/* Limits that targets announce: read, joined, counted. */
/* needs: proxy/smtp/limits.c */
#include "proxy/smtp/limits.h"

#include "tests/unit/lib.h"

static void test_reads(void **state)
{
    static const struct {
        const char *word;
        struct limits limits;
    } rows[] = {
        {"MAILMAX=20", {.mails = 20}},
        {"rcptmax=1", {.rcpts = 1}},
        {"RCPTDOMAINMAX=999999", {.domains = 999999}},
        {"RCPTMAX=1000000", {.rcpts = 0}},
        {"RCPTMAX=0", {.rcpts = 0}},
        {"RCPTMAX=-1", {.rcpts = 0}},
        {"RCPTMAX=1x", {.rcpts = 0}},
        {"RCPTMAX=", {.rcpts = 0}},
        {"RCPTMAX", {.rcpts = 0}},
        {"=5", {.rcpts = 0}},
        {"RCPTMAXX=5", {.rcpts = 0}},
        {"", {.rcpts = 0}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct lib_guard guard = lib_guard_copy(bytes_of(rows[i].word));
        struct limits limits = {.rcpts = 0};
        limits_read_word(&limits, guard.bytes);
        lib_same_number(i, "mails", rows[i].limits.mails, limits.mails);
        lib_same_number(i, "rcpts", rows[i].limits.rcpts, limits.rcpts);
        lib_same_number(i, "domains", rows[i].limits.domains, limits.domains);
        lib_guard_free(&guard);
    }
    lib_end_rows();
}

static void test_both(void **state)
{
    static const struct {
        struct limits a, b, both;
    } rows[] = {
        {{.size_bytes = 5}, {.size_bytes = 0}, {.size_bytes = 5}},
        {{.size_bytes = 0}, {.size_bytes = 5}, {.size_bytes = 5}},
        {{.size_bytes = 7}, {.size_bytes = 5}, {.size_bytes = 5}},
        {{.size_bytes = 5}, {.size_bytes = 7}, {.size_bytes = 5}},
        {{.mails = 1, .rcpts = 2, .domains = 3}, {.mails = 0}, {.mails = 0}},
        {{.mails = 1, .rcpts = 5, .domains = 0},
         {.mails = 2, .rcpts = 4, .domains = 9},
         {.mails = 1, .rcpts = 4, .domains = 0}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct limits both = limits_of_both(&rows[i].a, &rows[i].b);
        lib_same_number(i, "size", (int64_t)rows[i].both.size_bytes, (int64_t)both.size_bytes);
        lib_same_number(i, "mails", rows[i].both.mails, both.mails);
        lib_same_number(i, "rcpts", rows[i].both.rcpts, both.rcpts);
        lib_same_number(i, "domains", rows[i].both.domains, both.domains);
    }
    lib_end_rows();
}

static void test_uses(void **state)
{
    static const struct {
        struct limits limits;
        const char *domains[5];
        const char *taken; /* "y" or "n" for each */
    } rows[] = {
        {{.rcpts = 0}, {"a", "b", "c", "d", "e"}, "yyyyy"},
        {{.rcpts = 2}, {"a", "a", "a", "b", "a"}, "yynnn"},
        {{.domains = 2}, {"a", "b", "c", "A", "B"}, "yynyy"},
        {{.domains = 1}, {"", "", "a", "", "b"}, "yynyn"},
        {{.domains = 1, .rcpts = 2}, {"a", "b", "a", "a", "b"}, "ynynn"},
        {{.domains = 1001}, {"a", "b", "c", "d", "e"}, "yyyyy"},
    };
    struct pool pool;
    struct limits_used used;

    (void)state;
    pool_init(&pool, 64, 4);
    limits_used_init(&used, &pool);
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        char taken[6] = "";
        for (size_t j = 0; j < 5; j++)
            taken[j] = limits_use(&used, &rows[i].limits, bytes_of(rows[i].domains[j])) ? 'y' : 'n';
        lib_same_text(i, "taken", rows[i].taken, taken);
        limits_used_reset(&used);
    }
    lib_same_number(0, "blocks that are out", 0, (int64_t)pool.taken);
    pool_done(&pool);
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_both),
        cmocka_unit_test(test_uses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
