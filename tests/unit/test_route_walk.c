/* SPDX-License-Identifier: BSD-2-Clause */
/* How often a walk through a long list looks at what it has seen: route_walk.c is compiled in here
 * with a count of it, so that no clock is asked. */
/* needs: tests/unit/route_world.c route/route.c route/route_check.c route/route_explain.c */
/* needs: route/target_group.c */
#include "proxy/base/error.h"
#include "proxy/base/hash.h"
#include "route/route_private.h"
#include "tests/unit/lib.h"
#include "tests/unit/route_world.h"

static unsigned long looks;

/* For who compares with one after another. */
static inline bool counted_equal(struct bytes a, struct bytes b)
{
    looks++;
    return bytes_equal(a, b);
}

static inline struct hash_entry *counted_find(const struct hash_table *t, struct bytes key)
{
    struct hash_entry *e = t->entry_count == 0
                               ? NULL
                               : t->buckets[hash_bytes(&t->secret, key) & (t->bucket_count - 1)];

    for (looks++; e != NULL; e = e->next)
        looks++;
    return hash_table_find(t, key);
}

#define bytes_equal     counted_equal
#define hash_table_find counted_find
#include "route/route_walk.c" /* NOLINT */
#undef bytes_equal
#undef hash_table_find

#define GROUP 25

/* A list of groups, each of which names its members twice; they lead to a Maildir. How many looks
 * one recipient takes. */
static unsigned long looks_for(unsigned members)
{
    static struct lib_text text;
    const struct address list = {.local = bytes_of("list"), .domain = bytes_of("a")};
    const struct route_client client = {.may_relay = true};
    struct route_world w;
    struct route_directory directory = route_world_directory(&w);
    struct route_set *set = NULL;
    struct routed routed;

    text.len = 0;
    lib_put(&text, "list@a group0@a");
    for (unsigned i = GROUP; i < members; i += GROUP)
        lib_put(&text, ", group%u@a", i);
    for (unsigned i = 0; i < members; i++) {
        if (i % GROUP == 0)
            lib_put(&text, "\ngroup%u@a m%u@b", i, i);
        lib_put(&text, ", m%u@b, m%u@B", i, i);
    }
    lib_put(&text, "\n@b store\n");
    assert_true(route_world_init(&w, bytes_of(text.at)));
    int error = route_set_new(w.tables, w.table_count, &directory, route_world_key(), &w.arena,
                              &w.problems, &set);
    assert_int_equal(error, 0);
    looks = 0;
    route_resolve(set, &list, &client, &w.arena, &routed);
    assert_int_equal(routed.reply.code, 0);
    assert_int_equal(routed.leg_count, members);
    route_world_done(&w);
    return looks;
}

static void test_looks(void **state)
{
    unsigned long few = looks_for(25), many = looks_for(975); /* as many as there may be */

    (void)state;
    assert_in_range(few, 3 * 25, 8 * 25); /* twice as an address, once at its target */
    assert_in_range(many, 3 * 975, 8 * 975);
}

/* Where a circle of rewritings comes back to its beginning it is told for one, not for a way that
 * is too long. */
static void test_circle(void **state)
{
    static struct lib_text text;
    struct route_world w;
    struct route_directory directory = route_world_directory(&w);
    struct route_set *set = NULL;
    struct buf said;

    (void)state;
    text.len = 0;
    for (unsigned i = 0; i <= ROUTE_DEPTH_MAX; i++)
        lib_put(&text, "@a%u @a%u\n", i, (i + 1) % (ROUTE_DEPTH_MAX + 1));
    assert_true(route_world_init(&w, bytes_of(text.at)));
    int error = route_set_new(w.tables, w.table_count, &directory, route_world_key(), &w.arena,
                              &w.problems, &set);
    assert_int_equal(error, ERR_SYNTAX);
    buf_init(&said, &w.pool, 8192);
    cf_put_problem(&said, w.problems.first);
    buf_byte(&said, 0);
    assert_non_null(strstr((const char *)buf_bytes(&said).at, "a loop"));
    buf_done(&said);
    route_world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_looks), cmocka_unit_test(test_circle)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
