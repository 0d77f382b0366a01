/* SPDX-License-Identifier: BSD-2-Clause */
/* The wheel: never early, at most a tick late, whatever is moved meanwhile. */
#include "proxy/base/wheel.h"

#include "tests/unit/lib.h"

#define TURN_MS ((uint64_t)WHEEL_SLOTS * WHEEL_TICK_MS)

static void fires_in_time(void **state)
{
    static const struct {
        uint64_t start_ms, due_ms;
    } rows[] = {
        {0, 0},
        {0, 1},
        {0, 63},
        {0, 64},
        {0, 65},
        {0, 300000},
        {0, TURN_MS},
        {0, TURN_MS + 1},
        {0, TURN_MS - 1},
        {1000, 0},
        {1000, 999},
        {1000, 1000},
        {1000, 1001},
        {1001, 33000},
        {63, 64},
        {64, 10 * TURN_MS},
        {UINT32_MAX, UINT32_MAX + 90000ull},
        {1u << 30, 1u << 30},
    };
    static struct wheel wheel;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        uint64_t earliest_ms =
            rows[i].due_ms > rows[i].start_ms ? rows[i].due_ms : rows[i].start_ms;
        uint64_t now_ms = rows[i].start_ms;
        struct wheel_entry entry;
        struct wheel_entry *due;

        wheel_init(&wheel, now_ms);
        wheel_entry_init(&entry);
        wheel_set(&wheel, &entry, rows[i].due_ms);
        lib_same_number(i, "armed", 1, (int64_t)wheel.armed);
        while ((due = wheel_next_due(&wheel, now_ms)) == NULL &&
               now_ms <= earliest_ms + WHEEL_TICK_MS)
            now_ms++;
        lib_is_true(i, "is the entry", due == &entry);
        lib_is_true(i, "not early", now_ms >= rows[i].due_ms);
        lib_is_true(i, "not late", now_ms <= earliest_ms + WHEEL_TICK_MS);
        lib_is_true(i, "only once", wheel_next_due(&wheel, now_ms + TURN_MS) == NULL);
        lib_same_number(i, "armed, then", 0, (int64_t)wheel.armed);
        lib_is_true(i, "in no list", list_is_empty(&entry.link));
    }
    lib_end_rows();
}

static void sleeps_when_empty(void **state)
{
    static struct wheel wheel;
    struct wheel_entry entry;

    (void)state;
    wheel_init(&wheel, 5000);
    wheel_entry_init(&entry);
    assert_true(wheel_wake_ms(&wheel) == UINT64_MAX);
    wheel_clear(&wheel, &entry);
    wheel_set(&wheel, &entry, 6000);
    assert_true(wheel_wake_ms(&wheel) >= 6000 && wheel_wake_ms(&wheel) < 6000 + WHEEL_TICK_MS);
    wheel_clear(&wheel, &entry);
    wheel_clear(&wheel, &entry);
    assert_int_equal(wheel.armed, 0);
    assert_true(wheel_wake_ms(&wheel) == UINT64_MAX);
    assert_null(wheel_next_due(&wheel, 900000000));
    wheel_set(&wheel, &entry, 900000100);
    assert_null(wheel_next_due(&wheel, 900000099));
    assert_ptr_equal(wheel_next_due(&wheel, 900000100 + WHEEL_TICK_MS), &entry);
}

/* A handler that arms what is past is called again at the next tick, not at once for ever. */
static void does_not_spin(void **state)
{
    static struct wheel wheel;
    struct wheel_entry entry;
    unsigned calls = 0;

    (void)state;
    wheel_init(&wheel, 0);
    wheel_entry_init(&entry);
    wheel_set(&wheel, &entry, 1);
    while (wheel_next_due(&wheel, 640) != NULL && calls < 100) {
        calls++;
        wheel_set(&wheel, &entry, 0);
    }
    assert_in_range(calls, 1, 11);
    wheel_clear(&wheel, &entry);
}

/* Between being found due and being returned, entries may be moved or cleared. */
static void heeds_late_changes(void **state)
{
    static struct wheel wheel;
    struct wheel_entry entries[4];
    struct wheel_entry *due;

    (void)state;
    wheel_init(&wheel, 0);
    for (size_t i = 0; i < ARRAY_LENGTH(entries); i++) {
        wheel_entry_init(&entries[i]);
        wheel_set(&wheel, &entries[i], 100);
    }
    assert_ptr_equal(wheel_next_due(&wheel, 128), &entries[0]);
    assert_int_equal(wheel_wake_ms(&wheel), 128);
    wheel_set(&wheel, &entries[1], 1000);
    wheel_clear(&wheel, &entries[2]);
    assert_ptr_equal(wheel_next_due(&wheel, 128), &entries[3]);
    assert_null(wheel_next_due(&wheel, 128));
    assert_int_equal(wheel.armed, 1);
    assert_null(wheel_next_due(&wheel, 999));
    due = wheel_next_due(&wheel, 1000 + WHEEL_TICK_MS);
    assert_ptr_equal(due, &entries[1]);
}

#define ENTRIES 200

/* Chance arms, moves, writes the field, clears, and lets time pass in leaps of all sizes, always
 * as far as wheel_wake_ms() at most, as the loop does, or far beyond it, as after a suspension. */
static void agrees_with_a_model(void **state)
{
    static const uint64_t reaches_ms[] = {1, 100, 5000, 60000, 400000};
    static struct wheel wheel;
    static struct wheel_entry entries[ENTRIES];
    struct lib_random random = {.state = 7};
    uint64_t now_ms = 12345;
    bool is_armed[ENTRIES] = {false};
    size_t fired = 0;

    (void)state;
    wheel_init(&wheel, now_ms);
    for (size_t i = 0; i < ENTRIES; i++)
        wheel_entry_init(&entries[i]);
    for (size_t step = 0; step < 50000; step++) {
        size_t i = lib_random_below(&random, ENTRIES);
        uint64_t reach_ms = reaches_ms[lib_random_below(&random, ARRAY_LENGTH(reaches_ms))];
        uint64_t due_ms = now_ms + lib_random_below(&random, reach_ms);
        struct wheel_entry *due;

        switch (lib_random_below(&random, 8)) {
        case 0:
            wheel_clear(&wheel, &entries[i]);
            is_armed[i] = false;
            break;
        case 1:
            if (is_armed[i] && due_ms > entries[i].due_ms)
                entries[i].due_ms = due_ms;
            break;
        default:
            wheel_set(&wheel, &entries[i], due_ms);
            is_armed[i] = true;
        }
        if (lib_random_below(&random, 3) != 0)
            continue;
        now_ms += lib_random_below(&random, reach_ms / 4 + 1);
        while ((due = wheel_next_due(&wheel, now_ms)) != NULL) {
            assert_true(due->due_ms <= now_ms);
            assert_true(is_armed[due - entries]);
            is_armed[due - entries] = false;
            fired++;
        }
        for (i = 0; i < ENTRIES; i++) {
            assert_true(is_armed[i] == !list_is_empty(&entries[i].link));
            assert_false(is_armed[i] && entries[i].due_ms + WHEEL_TICK_MS <= now_ms);
            assert_false(is_armed[i] && entries[i].due_ms + WHEEL_TICK_MS < wheel_wake_ms(&wheel));
        }
    }
    assert_true(fired > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fires_in_time),       cmocka_unit_test(sleeps_when_empty),
        cmocka_unit_test(does_not_spin),       cmocka_unit_test(heeds_late_changes),
        cmocka_unit_test(agrees_with_a_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
