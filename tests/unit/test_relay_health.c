/* SPDX-License-Identifier: BSD-2-Clause */
/* One circuit for an address, whichever process finds out: in the shared mapping, where that is
 * full, and alone. */
/* needs: route/relay/relay_health.c proxy/shared.c proxy/shared_target.c */
#include "proxy/shared_target.h"
#include "route/relay/relay_health.h"
#include "tests/unit/lib.h"

#define INTERVAL_MS 10000

/* Two processes, as far as health is concerned: nothing of it is in a column. */
struct world {
    struct shared *shared;
    struct relay_sharing sharing;
    struct relay_health a, b;
};

static void init(struct world *w, struct relay_health *h)
{
    relay_health_init(h, &w->sharing, bytes_of("mx"), bytes_of("192.0.2.1:25"));
}

static int set_up(void **state)
{
    static struct world w;

    w.shared = shared_new();
    w.sharing = shared_target_sharing(w.shared, false);
    init(&w, &w.a);
    init(&w, &w.b);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    shared_free(&w->shared);
    return 0;
}

static void test_one_tells(void **state)
{
    struct world *w = *state;

    assert_false(relay_health_is_down(&w->a));
    assert_false(relay_health_close(&w->a));
    assert_true(relay_health_open(&w->a, 5000));
    assert_false(relay_health_open(&w->b, 5001));
    assert_true(relay_health_is_down(&w->b));
    assert_int_equal(relay_health_down_seconds(&w->b, 12000), 7);
    /* Whoever finds it up first says so, also if it was another who found it down. */
    assert_true(relay_health_close(&w->b));
    assert_false(relay_health_close(&w->a));
    assert_false(relay_health_is_down(&w->a));
    assert_true(relay_health_open(&w->b, 20000));
}

static void test_one_probes(void **state)
{
    struct world *w = *state;

    assert_false(relay_health_take_turn(&w->a, 0, INTERVAL_MS));
    relay_health_open(&w->a, 1000);
    assert_false(relay_health_take_turn(&w->b, 8000, INTERVAL_MS));
    assert_true(relay_health_take_turn(&w->b, 11000, INTERVAL_MS));
    assert_false(relay_health_take_turn(&w->a, 11001, INTERVAL_MS));
    /* ... and another one when that process is gone. */
    assert_true(relay_health_take_turn(&w->a, 21000, INTERVAL_MS));
    relay_health_close(&w->a);
    assert_false(relay_health_take_turn(&w->b, 31000, INTERVAL_MS));
}

static void test_others_are_others(void **state)
{
    struct world *w = *state;
    struct relay_health other_address, other_target;

    relay_health_init(&other_address, &w->sharing, bytes_of("mx"), bytes_of("192.0.2.2:25"));
    relay_health_init(&other_target, &w->sharing, bytes_of("m"), bytes_of("x192.0.2.1:25"));
    relay_health_open(&w->a, 1000);
    assert_false(relay_health_is_down(&other_address));
    assert_false(relay_health_is_down(&other_target));
}

/* The clock's low word passes 0. */
static void test_a_month(void **state)
{
    struct world *w = *state;
    uint64_t before = UINT64_C(3) << 32;

    assert_true(relay_health_open(&w->a, before));
    assert_true(relay_health_is_down(&w->b));
    assert_int_equal(relay_health_down_seconds(&w->b, before + 9001), 9);
    assert_true(relay_health_close(&w->a));
    assert_true(relay_health_open(&w->a, before - 4000));
    assert_int_equal(relay_health_down_seconds(&w->b, before + 5000), 9);
    assert_false(relay_health_take_turn(&w->b, before + 4000, INTERVAL_MS));
    assert_true(relay_health_take_turn(&w->b, before + 6000, INTERVAL_MS));
}

static void test_alone(void **state)
{
    struct relay_health h;

    (void)state;
    relay_health_init(&h, NULL, bytes_of("mx"), bytes_of("192.0.2.1:25"));
    assert_true(relay_health_open(&h, 1000));
    assert_false(relay_health_open(&h, 1000));
    assert_int_equal(relay_health_down_seconds(&h, 3000), 2);
    assert_true(relay_health_take_turn(&h, 1000, INTERVAL_MS));
    assert_true(relay_health_close(&h));
    assert_false(relay_health_close(&h));
    assert_false(relay_health_take_turn(&h, 1000, INTERVAL_MS));
}

/* Every place is taken: this process knows it alone, and says so once. */
static void test_no_place(void **state)
{
    struct world *w = *state;

    for (uint64_t key = 2; key < 40000; key++)
        shared_word_change(w->shared, key * 0x9e3779b97f4a7c15u, 0, 1);
    assert_true(relay_health_open(&w->a, 1000));
    assert_false(relay_health_open(&w->a, 1000));
    assert_true(relay_health_is_down(&w->a));
    assert_true(relay_health_close(&w->a));
    assert_false(relay_health_is_down(&w->a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_tells, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_probes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_others_are_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_month, set_up, tear_down),
        cmocka_unit_test(test_alone),
        cmocka_unit_test_setup_teardown(test_no_place, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
