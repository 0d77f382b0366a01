/* SPDX-License-Identifier: BSD-2-Clause */
/* An index is made while messages change: it never says what was. */
/* needs: tests/unit/store_world.c spool/store.c spool/store_list.c spool/store_message.c */
/* needs: spool/store_commit.c spool/store_draft.c spool/store_rewrite.c spool/spool_index.c sim */
/* needs: spool/store_own.c spool/store_path.c */
#include "spool/spool_index.h"

#include <errno.h>

#include "proxy/io/disk.h"
#include "tests/sim/sim.h"
#include "tests/unit/store_world.h"

#define INDEXED 120

struct making {
    struct store_world w;
    struct store_place places[INDEXED];
    size_t changed;
};

/* As a delivery or an operator does it: takes it, forgets the index, and says what is new. */
static void change(struct making *m, int fd)
{
    const struct store_place *place = &m->places[m->changed];
    struct spool_message message;
    struct spool_writer writer = {.id = place->id};
    struct spool_recipient moved = {.target = bytes_of("elsewhere")};
    struct buf records;

    arena_reset(&m->w.arena);
    assert_int_equal(store_read(fd, &place->id, &m->w.arena, &message), 0);
    buf_init(&records, &m->w.pool, 1000);
    writer.out = &records;
    writer.at = message.records_end;
    spool_put_rerouted(&writer, 0, &moved);
    assert_int_equal(store_append(fd, message.records_end, buf_bytes(&records)), 0);
    buf_done(&records);
}

static int refresh(struct making *m)
{
    return spool_index_refresh(m->w.store, m->places[0].directory,
                               loop_wall_ms(m->w.loop) / 1000 + 1000);
}

static bool is_stale(struct making *m)
{
    struct spool_index index = {0};
    struct spool_message message;

    if (spool_index_read(m->w.store, m->places[0].directory, &index) != 0)
        return false;
    arena_reset(&m->w.arena);
    bool is_there = spool_index_find(&index, &m->places[m->changed].id, &m->w.arena, &message) == 0;
    bool is_old = is_there && !bytes_is(message.recipients[0].target, "elsewhere");
    spool_index_free(&index);
    return is_old;
}

static void begin_making(struct making *m)
{
    store_world_begin(&m->w);
    for (size_t i = 0; i < INDEXED; i++)
        assert_int_equal(store_world_put(&m->w, 10, &m->places[i]), 0);
}

/* It was taken, and the index forgotten, before that was begun; it changes behind it. */
static void leaves_out_what_is_taken(void **state)
{
    static struct making m;
    struct sim *world = sim_new(1);
    int fd;

    (void)state;
    begin_making(&m);
    m.changed = 5;
    assert_int_equal(store_take(m.w.store, &m.places[m.changed], &fd), 0);
    assert_int_equal(spool_index_forget(m.w.store, m.places[0].directory), 0);
    assert_int_equal(refresh(&m), 0);
    change(&m, fd);
    disk_close(fd);
    assert_false(is_stale(&m));
    store_world_end(&m.w);
    sim_free(&world);
}

/* In the middle of it: where the simulator stops to say that a call has failed. */
static void change_meanwhile(void *owner, const struct sim_disk_failure *failure)
{
    struct making *m = owner;
    int fd;

    (void)failure;
    sim_disk_fail(sim_current(), SIM_DISK_READ, 0, 0);
    sim_on_disk_failure(sim_current(), NULL, NULL);
    if (store_take(m->w.store, &m->places[m->changed], &fd) != 0)
        return; /* it is being read: later */
    assert_int_equal(spool_index_forget(m->w.store, m->places[0].directory), 0);
    change(m, fd);
    disk_close(fd);
}

static void is_not_made_of_what_was(void **state)
{
    static struct making m;

    (void)state;
    for (uint64_t nth = 1; nth < 300; nth++) {
        struct sim *world = sim_new(1);

        begin_making(&m);
        m.changed = nth % INDEXED;
        sim_on_disk_failure(world, change_meanwhile, &m);
        sim_disk_fail(world, SIM_DISK_READ, nth, -EIO);
        refresh(&m);
        lib_is_true(nth, "the index says what is", !is_stale(&m));
        store_world_end(&m.w);
        sim_free(&world);
    }
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_out_what_is_taken),
        cmocka_unit_test(is_not_made_of_what_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
