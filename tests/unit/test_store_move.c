/* SPDX-License-Identifier: BSD-2-Clause */
/* A move whose sync fails: nothing holds the new name, and the power may fail at any time later. */
/* needs: tests/unit/store_world.c spool/store.c spool/store_list.c spool/store_message.c */
/* needs: spool/store_commit.c spool/store_draft.c spool/store_rewrite.c sim */
#include <errno.h>
#include <stdio.h>

#include "proxy/io/disk.h"
#include "tests/sim/sim.h"
#include "tests/unit/store_world.h"

#define SEEDS      64
#define BODY_BYTES 300

static struct lib_text seen;

/* Who comes to its end removes the directories that it takes for empty. */
static int move_in_vain(void *owner)
{
    struct store_place *place = owner, there;
    struct store_world w;

    store_world_enter(&w);
    assert_int_equal(store_world_put(&w, BODY_BYTES, place), 0);
    sim_disk_fail(sim_current(), SIM_DISK_SYNC, 1, -EIO);
    assert_int_equal(store_move(w.store, place, STORE_HOLD, 0, &there), -EIO);
    sim_disk_fail(sim_current(), SIM_DISK_SYNC, 1, 0);
    return store_world_leave(&w);
}

/* An earlier move has come to its goal, but for a sync that failed. */
static int move_once_more(void *owner)
{
    struct store_place *place = owner, there;
    struct store_world w;
    char from[128], to[128];

    store_world_enter(&w);
    assert_int_equal(store_world_put(&w, BODY_BYTES, place), 0);
    snprintf(from, sizeof(from), "/spool/queue/000001/%s", place->id.text);
    snprintf(to, sizeof(to), "/spool/hold/%s", place->id.text);
    assert_int_equal(disk_rename(from, to), 0);
    sim_disk_fail(sim_current(), SIM_DISK_SYNC, 1, -EIO);
    assert_int_equal(disk_sync_directory("/spool/hold"), -EIO);
    sim_disk_fail(sim_current(), SIM_DISK_SYNC, 1, 0);
    assert_int_equal(store_move(w.store, place, STORE_HOLD, 0, &there), 0);
    return store_world_leave(&w);
}

static int look(void *owner)
{
    const struct store_place *place = owner;
    struct store_world w;

    store_world_enter(&w);
    assert_int_equal(store_world_list(&w, &seen), 0);
    if (strstr(seen.at, place->id.text) == NULL)
        fail_msg("it is lost: %s", seen.at);
    return store_world_leave(&w);
}

static void is_kept(int (*move)(void *owner))
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct sim *world = sim_new(seed);
        struct store_place place;
        int code;

        assert_true(sim_process(world, move, &place, &code));
        assert_true(sim_process(world, look, &place, &code));
        sim_power_cut(world);
        assert_true(sim_process(world, look, &place, &code));
        sim_free(&world);
    }
}

static void keeps_what_was_moved_in_vain(void **state)
{
    (void)state;
    is_kept(move_in_vain);
}

static void keeps_what_was_moved_twice(void **state)
{
    (void)state;
    is_kept(move_once_more);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_was_moved_in_vain),
        cmocka_unit_test(keeps_what_was_moved_twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
