/* SPDX-License-Identifier: BSD-2-Clause */
/* A sync of a message's file fails, and nobody can say what of it is durable. Whoever takes the
 * message next must know that, also another process: what it appended and synced behind a gap would
 * look like damage after a power cut. */
/* needs: tests/unit/store_world.c spool/store.c spool/store_commit.c spool/store_list.c */
/* needs: spool/store_draft.c spool/store_message.c spool/store_rewrite.c sim */
/* needs: spool/store_own.c spool/store_path.c */
#include <errno.h>
#include <stdio.h>

#include "proxy/io/disk.h"
#include "tests/sim/sim.h"
#include "tests/unit/store_world.h"

#define BODY_BYTES   5000
#define SEEDS        40
#define DYING_WRITES 4 /* a change that cannot be synced makes no more */

struct trial {
    struct sim *world;
    struct store_world w;
    struct store_place place;
    bool is_written_anew; /* by the last change */
    uint64_t dies_at;     /* with the first sync that fails: writes fail too from this one on */
};

static uint64_t number_of(int fd)
{
    struct disk_facts facts;

    assert_int_equal(disk_facts_of(fd, &facts), 0);
    return facts.number;
}

/* Takes the message, as a process does that knows nothing of those before it, and appends what it
 * says of a recipient. `sync_error` != 0: no file can be made either. `facts_error` != 0: the file
 * does not say what became of it before. */
static int change(struct trial *t, uint32_t recipient, int sync_error, int facts_error)
{
    struct buf records;
    struct spool_message message;
    struct spool_writer writer = {.id = t->place.id, .out = &records};
    struct store_taken taken = {0};
    struct store_change change = {.place = &t->place, .message = &message, .is_synced = true};

    assert_int_equal(store_take(t->w.store, &t->place, &taken.fd), 0);
    arena_reset(&t->w.arena);
    assert_int_equal(store_read(taken.fd, &t->place.id, &t->w.arena, &message), 0);
    buf_init(&records, &t->w.pool, 1000);
    writer.at = message.records_end;
    message.recipients[recipient].is_warned = true;
    spool_put_warned(&writer, recipient);
    change.records = buf_bytes(&records);
    int before = taken.fd;
    uint64_t number = number_of(before);
    sim_disk_fail(t->world, SIM_DISK_SYNC, 1, sync_error);
    sim_disk_fail(t->world, SIM_DISK_OPEN, 1, sync_error);
    sim_disk_fail(t->world, SIM_DISK_WRITE, t->dies_at, t->dies_at == 0 ? 0 : sync_error);
    sim_disk_fail_call(t->world, facts_error == 0 ? 0 : 1, facts_error);
    int error = store_change(t->w.store, &change, &taken);
    sim_disk_fail(t->world, SIM_DISK_SYNC, 0, 0);
    sim_disk_fail(t->world, SIM_DISK_OPEN, 0, 0);
    sim_disk_fail(t->world, SIM_DISK_WRITE, 0, 0);
    t->is_written_anew = number_of(taken.fd) != number;
    if (taken.fd != before)
        disk_close(before);
    disk_close(taken.fd);
    buf_done(&records);
    return error;
}

/* The power fails: what was synced last is there, and the message whole. */
static void look(struct trial *t)
{
    struct spool_message message;

    store_world_close(&t->w);
    loop_free(&t->w.loop);
    sim_power_cut(t->world);
    t->w.loop = loop_new();
    assert_int_equal(store_world_open(&t->w), 0);
    assert_int_equal(store_world_look(&t->w, &t->place, BODY_BYTES, &message), 0);
    assert_true(message.recipients[1].is_warned);
}

static void leaves_no_gap(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct trial t = {.world = sim_new(seed)};

        store_world_begin(&t.w);
        assert_int_equal(store_world_put(&t.w, BODY_BYTES, &t.place), 0);
        assert_int_equal(change(&t, 0, -EIO, 0), -EIO);
        assert_int_equal(change(&t, 1, 0, seed % 2 == 0 ? -EIO : 0), 0);
        assert_true(t.is_written_anew);
        assert_int_equal(change(&t, 0, 0, 0), 0); /* the new file has no such past */
        assert_false(t.is_written_anew);
        look(&t);
        store_world_end(&t.w);
        sim_free(&t.world);
    }
}

/* The disk takes nothing any more from some write on: no mark either that tells of the sync. */
static void leaves_no_gap_on_a_dead_disk(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct trial t = {.world = sim_new(seed), .dies_at = 1 + seed % DYING_WRITES};

        store_world_begin(&t.w);
        assert_int_equal(store_world_put(&t.w, BODY_BYTES, &t.place), 0);
        assert_int_equal(change(&t, 0, -EIO, 0), -EIO);
        assert_int_equal(change(&t, 1, 0, 0), 0);
        look(&t);
        store_world_end(&t.w);
        sim_free(&t.world);
    }
}

/* ---- moves ---- */

static void put_hold(struct trial *t, const struct spool_message *message, struct buf *records)
{
    struct spool_writer writer = {.id = t->place.id, .at = message->records_end, .out = records};

    buf_init(records, &t->w.pool, 1000);
    spool_put_hold(&writer, message);
}

/* A hold is written into a new file, whose name cannot be made durable; the next process ends the
 * hold, in which the nth sync fails and all that follow. */
static void hold(struct trial *t, uint64_t nth)
{
    struct spool_message message;
    struct store_taken taken = {0};
    struct store_change change = {.place = &t->place, .message = &message, .is_synced = true};
    struct store_place place;
    struct buf records;
    int before;

    assert_int_equal(store_take(t->w.store, &t->place, &before), 0);
    taken.fd = before;
    assert_int_equal(disk_mark(before, DISK_MARK_UNSYNCED), 0);
    arena_reset(&t->w.arena);
    assert_int_equal(store_read(before, &t->place.id, &t->w.arena, &message), 0);
    message.is_held = true;
    put_hold(t, &message, &records);
    change.records = buf_bytes(&records);
    sim_disk_fail(t->world, SIM_DISK_SYNC, 2, -EIO);
    assert_int_equal(store_change(t->w.store, &change, &taken), -EIO);
    buf_done(&records);
    disk_close(before);
    disk_close(taken.fd);
    sim_disk_fail(t->world, SIM_DISK_SYNC, nth, -EIO);
    taken.is_broken = false;
    assert_int_equal(store_take(t->w.store, &t->place, &before), 0);
    taken.fd = before;
    change.records = bytes_make(NULL, 0);
    store_end_hold(t->w.store, &change, &taken, &place);
    sim_disk_fail(t->world, SIM_DISK_SYNC, 0, 0);
    if (taken.fd != before)
        disk_close(taken.fd);
    disk_close(before);
}

/* The message may have two names after a power cut, but it is one file. */
static bool is_one(struct trial *t)
{
    struct disk_facts queued = {0}, held = {0};
    char path[100];

    snprintf(path, sizeof(path), "%s/hold/%s", t->w.directory, t->place.id.text);
    bool is_held = disk_facts_of_path(path, &held) == 0;
    snprintf(path, sizeof(path), "%s/queue/%06u/%s", t->w.directory, t->place.directory,
             t->place.id.text);
    bool is_queued = disk_facts_of_path(path, &queued) == 0;
    return is_held != is_queued || (is_held && held.number == queued.number);
}

static void leaves_one_file(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4 * SEEDS; seed++) {
        struct trial t = {.world = sim_new(seed)};

        store_world_begin(&t.w);
        assert_int_equal(store_world_put(&t.w, BODY_BYTES, &t.place), 0);
        hold(&t, 1 + seed % 5);
        store_world_close(&t.w);
        loop_free(&t.w.loop);
        sim_power_cut(t.world);
        t.w.loop = loop_new();
        assert_int_equal(store_world_open(&t.w), 0);
        lib_is_true(seed, "one file", is_one(&t));
        store_world_end(&t.w);
        sim_free(&t.world);
    }
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(leaves_no_gap),
                                       cmocka_unit_test(leaves_no_gap_on_a_dead_disk),
                                       cmocka_unit_test(leaves_one_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
