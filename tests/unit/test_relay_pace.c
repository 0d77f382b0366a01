/* SPDX-License-Identifier: BSD-2-Clause */
/* Who moves, and who gives a connection up first. */
#include "route/relay/relay_pace.h"

#include "tests/unit/lib.h"

#define WINDOW RELAY_PACE_WINDOW_MS
#define ENOUGH RELAY_PACE_BYTES

static struct relay_pace begun_at(uint64_t now_ms)
{
    struct relay_pace p;

    relay_pace_begin(&p, now_ms);
    return p;
}

static void test_slow_behind_a_window(void **state)
{
    struct relay_pace p = begun_at(1000);

    (void)state;
    assert_false(relay_pace_is_slow(&p, 1000 + WINDOW - 1, 0, 0));
    assert_true(relay_pace_is_slow(&p, 1000 + WINDOW, 0, 0));
    assert_true(relay_pace_is_slow(&p, 1000 + 100 * WINDOW, ENOUGH - 1, 0)); /* however long */
}

static void test_each_window_anew(void **state)
{
    struct relay_pace p = begun_at(0);

    (void)state;
    assert_false(relay_pace_is_slow(&p, WINDOW, ENOUGH, ENOUGH));
    assert_false(relay_pace_is_slow(&p, 2 * WINDOW - 1, ENOUGH, ENOUGH));
    assert_true(relay_pace_is_slow(&p, 2 * WINDOW, 2 * ENOUGH - 1, 2 * ENOUGH - 1));
    p = begun_at(0);
    assert_false(relay_pace_is_slow(&p, WINDOW, ENOUGH, ENOUGH));
    assert_false(relay_pace_is_slow(&p, 2 * WINDOW, 2 * ENOUGH, 2 * ENOUGH));
}

/* What the target has not taken is the client's merit still. */
static void test_target_that_lags(void **state)
{
    struct relay_pace p = begun_at(0);

    (void)state;
    assert_false(relay_pace_is_slow(&p, WINDOW, 2 * ENOUGH, 10));
    assert_false(relay_pace_is_slow(&p, 2 * WINDOW, 2 * ENOUGH, ENOUGH + 1));
    assert_true(relay_pace_is_slow(&p, 3 * WINDOW, 2 * ENOUGH, 2 * ENOUGH));
}

static void test_recipients_are_progress(void **state)
{
    struct relay_pace p = begun_at(0);

    (void)state;
    p.recipients = ENOUGH / RELAY_PACE_RECIPIENT - 1;
    assert_true(relay_pace_is_slow(&p, WINDOW, RELAY_PACE_RECIPIENT - 1, 0));
    p.recipients++;
    assert_false(relay_pace_is_slow(&p, WINDOW, 0, 0));
    assert_true(relay_pace_is_slow(&p, 2 * WINDOW, 0, 0)); /* they counted once */
}

static void test_time_of_the_target(void **state)
{
    struct relay_pace p = begun_at(500);

    (void)state;
    relay_pace_answered(&p, 60000); /* to what was asked when it began */
    assert_false(relay_pace_is_slow(&p, 60000 + WINDOW - 1, 0, 0));
    relay_pace_asked(&p, 60000 + WINDOW - 1);
    relay_pace_answered(&p, 90000);
    assert_false(relay_pace_is_slow(&p, 90000, 0, 0));
    assert_true(relay_pace_is_slow(&p, 90001, 0, 0));
}

/* ---- who is first ---- */

#define HELD WINDOW
#define OVER RELAY_PACE_OVER_MS
#define LONG RELAY_PACE_LONG_MS

static const struct {
    struct relay_pace_facts facts; /* slow, may be replayed, over its share, claimed; held */
    enum relay_pace_turn turn;
} turns[] = {
    {{false, true, false, true, LONG}, RELAY_PACE_KEEPS},
    {{true, true, false, false, HELD}, RELAY_PACE_SLOW},
    {{true, true, true, true, HELD}, RELAY_PACE_SLOW},
    {{false, true, true, true, OVER}, RELAY_PACE_OVER},
    {{false, true, true, true, OVER - 1}, RELAY_PACE_KEEPS}, /* it may be through soon */
    {{false, true, true, false, LONG}, RELAY_PACE_KEEPS},    /* nobody waits who has less */
    {{true, false, false, true, HELD}, RELAY_PACE_REFUSED_SLOW},
    {{true, false, true, true, LONG}, RELAY_PACE_REFUSED_SLOW},
    {{true, false, true, false, LONG}, RELAY_PACE_KEEPS},
    {{false, false, true, true, LONG}, RELAY_PACE_REFUSED_LONG},
    {{false, false, true, true, LONG - 1}, RELAY_PACE_KEEPS},
    {{false, false, true, false, LONG}, RELAY_PACE_KEEPS},
    {{false, false, false, true, LONG}, RELAY_PACE_KEEPS},
};

static void test_turns(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(turns); i++)
        lib_same_number(i, "turn", turns[i].turn, relay_pace_turn(&turns[i].facts));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slow_behind_a_window),    cmocka_unit_test(test_each_window_anew),
        cmocka_unit_test(test_target_that_lags),        cmocka_unit_test(test_time_of_the_target),
        cmocka_unit_test(test_recipients_are_progress), cmocka_unit_test(test_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
