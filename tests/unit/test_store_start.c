/* SPDX-License-Identifier: BSD-2-Clause */
/* A start that was cut short leaves directories whose names are not durable. Whoever comes next
 * puts mail there: it must be there when the power has failed. And starts beside processes that
 * end, which remove their empty directories: as in a reload. */
/* needs: tests/unit/store_world.c spool/store.c spool/store_list.c spool/store_message.c */
/* needs: spool/store_commit.c spool/store_draft.c spool/store_rewrite.c sim */
/* needs: spool/store_own.c spool/store_path.c */
#include <errno.h>

#include "proxy/io/disk.h"
#include "spool/store_private.h"
#include "tests/sim/sim.h"
#include "tests/unit/store_world.h"

#define SEEDS      8
#define BODY_BYTES 300
#define RELOADS    300
#define TOGETHER   3

static int live(void *owner)
{
    struct store_world w;

    (void)owner;
    store_world_enter(&w);
    return store_world_leave(&w);
}

/* What was acknowledged. */
struct promise {
    struct store_place queued, held, bad;
};

static int promise(void *owner)
{
    struct promise *p = owner;
    struct store_world w;

    store_world_enter(&w);
    assert_int_equal(store_world_put(&w, BODY_BYTES, &p->queued), 0);
    assert_int_equal(store_world_put(&w, BODY_BYTES, &p->held), 0);
    assert_int_equal(store_world_put(&w, BODY_BYTES, &p->bad), 0);
    assert_int_equal(store_move(w.store, &p->held, STORE_HOLD, 0, &p->held), 0);
    assert_int_equal(store_move(w.store, &p->bad, STORE_BAD, 0, &p->bad), 0);
    return store_world_leave(&w);
}

static int look(void *owner)
{
    const struct promise *p = owner;
    struct spool_message message;
    struct store_world w;

    store_world_enter(&w);
    assert_int_equal(store_world_look(&w, &p->queued, BODY_BYTES, &message), 0);
    assert_int_equal(store_world_look(&w, &p->held, BODY_BYTES, &message), 0);
    assert_int_equal(store_world_look(&w, &p->bad, BODY_BYTES, &message), 0);
    return store_world_leave(&w);
}

/* False: it came to its end before it could be killed. */
static bool start_twice(uint64_t nth, uint64_t seed)
{
    struct sim *world = sim_new(seed);
    struct promise promised;
    bool is_killed;
    int code;

    sim_kill_at_call(world, nth);
    is_killed = !sim_process(world, live, NULL, &code);
    assert_true(sim_process(world, promise, &promised, &code));
    sim_power_cut(world);
    assert_true(sim_process(world, look, &promised, &code));
    sim_free(&world);
    return is_killed;
}

static void keeps_what_lies_in_new_directories(void **state)
{
    uint64_t nth = 0;
    bool is_killed = true;

    (void)state;
    while (is_killed) {
        nth++;
        for (uint64_t seed = 1; seed <= SEEDS; seed++)
            is_killed = start_twice(nth, seed);
    }
    assert_true(nth > 15);
}

/* ---- side by side ---- */

struct reload {
    struct sim *world;
    unsigned living, failed;
};

static int come_and_go(void *owner)
{
    struct store_world w = {.directory = "/spool"};

    (void)owner;
    w.loop = loop_new();
    int error = store_world_open(&w);
    if (error == 0)
        store_world_close(&w);
    loop_free(&w.loop);
    return error;
}

static void on_end(void *owner, const struct sim_process_end *end)
{
    struct reload *r = owner;

    if (end->code != 0)
        r->failed++;
    if (--r->living == 0)
        sim_stop(r->world);
}

static unsigned reload(uint64_t seed, bool has_unnamed)
{
    const struct sim_ways ways = {.shuffles = true, .interleaves = true, .slow_ms = 20};
    struct reload r = {.world = sim_new(seed), .living = TOGETHER};

    sim_set_ways(r.world, &ways);
    if (!has_unnamed)
        sim_disk_without_unnamed(r.world);
    for (unsigned i = 0; i < TOGETHER; i++)
        sim_process_start(r.world, come_and_go, &r, on_end);
    sim_run(r.world);
    sim_free(&r.world);
    return r.failed;
}

static void starts_while_others_end(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= RELOADS; seed++) {
        lib_same_number(seed, "failed", 0, reload(seed, true));
        lib_same_number(seed, "failed without unnamed files", 0, reload(seed, false));
    }
    lib_end_rows();
}

/* No number would help there. */
static int make_below_a_file(void *owner)
{
    struct store_world w;
    struct store_own own;

    (void)owner;
    store_world_enter(&w);
    disk_close(disk_create("/spool/file"));
    int error = store_make_next(w.store, "file", 0, &own);
    store_world_leave(&w);
    return error == -ENOTDIR ? 0 : 1;
}

static void makes_none_in_a_folder_that_is_none(void **state)
{
    struct sim *world = sim_new(1);
    int code;

    (void)state;
    assert_true(sim_process(world, make_below_a_file, NULL, &code));
    assert_int_equal(code, 0);
    sim_free(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(keeps_what_lies_in_new_directories),
                                       cmocka_unit_test(starts_while_others_end),
                                       cmocka_unit_test(makes_none_in_a_folder_that_is_none)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
