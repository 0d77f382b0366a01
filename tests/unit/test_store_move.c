/* SPDX-License-Identifier: BSD-2-Clause */
/* A move whose sync fails: nothing holds the new name, and the power may fail at any time later. */
/* needs: tests/unit/store_world.c spool/store.c spool/store_list.c spool/store_message.c */
/* needs: spool/store_commit.c spool/store_draft.c spool/store_rewrite.c sim */
/* needs: spool/store_own.c spool/store_path.c */
#include <errno.h>
#include <stdio.h>

#include "proxy/io/disk.h"
#include "tests/sim/sim.h"
#include "tests/unit/store_world.h"

#define SEEDS      64
#define BODY_BYTES 300

static struct lib_text seen;

/* `nth`: of the calls that change names; none succeeds from it on. Who comes to its end removes the
 * directories that it takes for empty. */
static int move_in_vain(struct store_place *place, uint64_t nth)
{
    struct store_place there;
    struct store_world w;

    store_world_enter(&w);
    assert_int_equal(store_world_put(&w, BODY_BYTES, place), 0);
    sim_disk_fail(sim_current(), SIM_DISK_SYNC, 1, -EIO);
    sim_disk_fail(sim_current(), SIM_DISK_NAME, nth, -EIO);
    assert_int_equal(store_move(w.store, place, STORE_HOLD, 0, &there), -EIO);
    sim_disk_fail(sim_current(), SIM_DISK_SYNC, 1, 0);
    sim_disk_fail(sim_current(), SIM_DISK_NAME, 1, 0);
    return store_world_leave(&w);
}

static int move_and_take_back(void *owner)
{
    return move_in_vain(owner, UINT64_MAX);
}

/* The first one moves it, the next one would take it back. */
static int move_and_not_take_back(void *owner)
{
    return move_in_vain(owner, 2);
}

/* Whether a removal that fails has happened is left to chance: `there` says where it lies. */
static int move_and_not_leave(void *owner)
{
    struct store_place *place = owner, there = {.folder = STORE_BAD};
    struct spool_message message;
    struct store_world w;

    store_world_enter(&w);
    assert_int_equal(store_world_put(&w, BODY_BYTES, place), 0);
    sim_disk_fail(sim_current(), SIM_DISK_NAME, 2, -EIO);
    int error = store_move(w.store, place, STORE_HOLD, 0, &there);
    sim_disk_fail(sim_current(), SIM_DISK_NAME, 1, 0);
    assert_int_equal(error, there.folder == STORE_HOLD ? 0 : -EIO);
    int found = store_world_look(&w, place, BODY_BYTES, &message);
    assert_int_equal(found, error == 0 ? -ENOENT : 0);
    return store_world_leave(&w);
}

/* An earlier move was cut short behind its link, whose sync has failed. */
static int move_once_more(void *owner)
{
    struct store_place *place = owner, there;
    struct store_world w;
    char from[128], to[128];

    store_world_enter(&w);
    assert_int_equal(store_world_put(&w, BODY_BYTES, place), 0);
    snprintf(from, sizeof(from), "/spool/queue/000001/%s", place->id.text);
    snprintf(to, sizeof(to), "/spool/hold/%s", place->id.text);
    assert_int_equal(disk_link(from, to), 0);
    sim_disk_fail(sim_current(), SIM_DISK_SYNC, 1, -EIO);
    assert_int_equal(disk_sync_directory("/spool/hold"), -EIO);
    sim_disk_fail(sim_current(), SIM_DISK_SYNC, 1, 0);
    assert_int_equal(store_move(w.store, place, STORE_HOLD, 0, &there), 0);
    return store_world_leave(&w);
}

/* A release was cut short behind its link, whose sync has failed; who takes it ends the release. */
static int end_release(void *owner)
{
    struct store_place *place = owner, there;
    struct store_world w;
    char from[128], to[128];
    int fd;

    store_world_enter(&w);
    assert_int_equal(store_world_put(&w, BODY_BYTES, place), 0);
    snprintf(from, sizeof(from), "/spool/hold/%s", place->id.text);
    snprintf(to, sizeof(to), "/spool/queue/000001/%s", place->id.text);
    assert_int_equal(store_move(w.store, place, STORE_HOLD, 0, &there), 0);
    assert_int_equal(disk_link(from, to), 0);
    sim_disk_fail(sim_current(), SIM_DISK_SYNC, 1, -EIO);
    assert_int_equal(disk_sync_directory("/spool/queue/000001"), -EIO);
    sim_disk_fail(sim_current(), SIM_DISK_SYNC, 1, 0);
    assert_int_equal(store_take(w.store, place, &fd), 0);
    assert_int_equal(store_end_move(w.store, place, fd, false), 0);
    disk_close(fd);
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
    is_kept(move_and_take_back);
    is_kept(move_and_not_take_back);
    is_kept(move_and_not_leave);
}

static void keeps_what_was_moved_twice(void **state)
{
    (void)state;
    is_kept(move_once_more);
}

static void keeps_what_was_released_twice(void **state)
{
    (void)state;
    is_kept(end_release);
}

/* Each sync in turn fails, and all that follow. Who tries again must know where the message lies,
 * whose old directory may have been removed by then. */
static int move_and_tell(void *owner)
{
    (void)owner;
    for (uint64_t nth = 1; nth <= 2; nth++) {
        struct store_world w;
        struct store_place place, there;
        int fd;

        store_world_enter(&w);
        assert_int_equal(store_world_put(&w, BODY_BYTES, &place), 0);
        there = place;
        sim_disk_fail(sim_current(), SIM_DISK_SYNC, nth, -EIO);
        assert_int_equal(store_move(w.store, &place, STORE_HOLD, 0, &there), -EIO);
        sim_disk_fail(sim_current(), SIM_DISK_SYNC, 1, 0);
        assert_int_equal(store_take(w.store, &there, &fd), 0);
        disk_close(fd);
        store_world_leave(&w);
    }
    return 0;
}

static void tells_where_it_lies(void **state)
{
    struct sim *world = sim_new(1);
    int code;

    (void)state;
    assert_true(sim_process(world, move_and_tell, NULL, &code));
    assert_int_equal(code, 0);
    sim_free(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_was_moved_in_vain),
        cmocka_unit_test(keeps_what_was_moved_twice),
        cmocka_unit_test(keeps_what_was_released_twice),
        cmocka_unit_test(tells_where_it_lies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
