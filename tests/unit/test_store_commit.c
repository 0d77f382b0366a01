/* SPDX-License-Identifier: BSD-2-Clause */
/* Several messages become durable together: each for itself, and the directory once for all. */
/* needs: tests/unit/store_world.c spool/store.c spool/store_commit.c spool/store_list.c */
/* needs: spool/store_draft.c spool/store_message.c sim */
/* needs: spool/store_own.c spool/store_path.c */
#include <errno.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "tests/sim/sim.h"
#include "tests/unit/store_world.h"

#define MANY (STORE_BATCH_MAX + 6)

struct batch {
    struct sim *world;
    struct store_world w;
    struct store_world_message messages[MANY];
    struct store_commit commits[MANY], *pointers[MANY];
    size_t count, done;
};

static struct batch b;

static void begin(size_t count)
{
    b.world = sim_new(1);
    b.count = count;
    b.done = 0;
    store_world_begin(&b.w);
    for (size_t i = 0; i < count; i++) {
        struct store_world_message *m = &b.messages[i];
        store_world_make(&b.w, m, 3000);
        b.commits[i] = (struct store_commit){
            .image = &m->image, .place = m->place, .records = buf_bytes(&m->records), .error = 1};
        b.pointers[i] = &b.commits[i];
    }
}

static void end(void)
{
    for (size_t i = 0; i < b.count; i++)
        store_world_done(&b.messages[i]);
    store_world_end(&b.w);
    sim_free(&b.world);
}

/* What was told of the message, and what is there. */
static void check(size_t i, int error)
{
    struct spool_message message;

    lib_same_number(i, "error", error, b.commits[i].error);
    lib_same_number(i, "there", error == 0 ? 0 : -ENOENT,
                    store_world_look(&b.w, &b.commits[i].place, 3000, &message));
}

/* Three files and one directory are four syncs. */
static void the_directory_is_synced_once(void **state)
{
    static const struct {
        uint64_t first_that_fails;
        int errors[3];
    } rows[] = {
        {1, {-EIO, -EIO, -EIO}}, /* the first file, and all that follows */
        {4, {-EIO, -EIO, -EIO}}, /* the directory: no name is durable */
        {5, {0, 0, 0}},          /* nothing is synced any more */
    };

    (void)state;
    for (size_t row = 0; row < ARRAY_LENGTH(rows); row++) {
        begin(3);
        sim_disk_fail(b.world, SIM_DISK_SYNC, rows[row].first_that_fails, -EIO);
        store_commit_all(b.w.store, b.pointers, b.count);
        sim_disk_fail(b.world, SIM_DISK_SYNC, 0, 0);
        for (size_t i = 0; i < b.count; i++) {
            check(i, rows[row].errors[i]);
            lib_same_number(i, "broken", rows[row].errors[i] != 0, b.messages[i].image.is_broken);
        }
        end();
    }
    lib_end_rows();
}

static void each_fails_for_itself(void **state)
{
    (void)state;
    begin(3);
    b.messages[1].image.is_broken = true;
    store_commit_all(b.w.store, b.pointers, b.count);
    check(0, 0);
    check(1, -EIO);
    check(2, 0);
    lib_end_rows();
    end();
}

static void a_name_that_is_taken(void **state)
{
    struct store_place place;
    struct spool_message message;

    (void)state;
    begin(2);
    place = b.commits[0].place;
    b.commits[1].place = place;
    store_commit_all(b.w.store, b.pointers, b.count);
    assert_int_equal(b.commits[0].error, 0);
    assert_int_equal(b.commits[1].error, -EEXIST);
    assert_int_equal(store_world_look(&b.w, &place, 3000, &message), 0);
    end();
}

static void several_directories(void **state)
{
    static const uint32_t directories[] = {8, 7, 8, 7};

    (void)state;
    begin(ARRAY_LENGTH(directories));
    for (size_t i = 0; i < b.count; i++)
        b.commits[i].place.directory = directories[i];
    /* Four files, the two directories that are made with what they lie in, and one of the two once
     * more fails. */
    sim_disk_fail(b.world, SIM_DISK_SYNC, 10, -EIO);
    store_commit_all(b.w.store, b.pointers, b.count);
    sim_disk_fail(b.world, SIM_DISK_SYNC, 0, 0);
    for (size_t i = 0; i < b.count; i++)
        check(i, directories[i] == 8 ? 0 : -EIO);
    lib_end_rows();
    end();
}

/* ---- on the loop ---- */

static void on_done(struct store_commit *c)
{
    (void)c;
    if (++b.done == b.count)
        loop_stop(b.w.loop);
}

static void commit_soon(void)
{
    for (size_t i = 0; i < b.count; i++) {
        b.commits[i].done = on_done;
        store_commit_soon(b.w.store, &b.commits[i]);
        assert_int_equal(b.done, 0);
    }
    loop_run(b.w.loop);
    assert_int_equal(b.done, b.count);
}

static void those_of_one_moment(void **state)
{
    (void)state;
    begin(MANY);
    commit_soon();
    for (size_t i = 0; i < b.count; i++)
        check(i, 0);
    lib_end_rows();
    end();
}

/* Two jobs are wanted; the first one, or both, cannot be started. */
static void no_memory(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth < 4; nth++) {
        begin(MANY);
        mem_fail_nth(nth);
        commit_soon();
        mem_fail_nth(0);
        for (size_t i = 0; i < b.count; i++) {
            bool is_of_failed = nth == 1 ? i < STORE_BATCH_MAX : nth == 2 && i >= STORE_BATCH_MAX;
            check(i, is_of_failed ? ERR_MEMORY : 0);
        }
        lib_end_rows();
        end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_directory_is_synced_once), cmocka_unit_test(each_fails_for_itself),
        cmocka_unit_test(a_name_that_is_taken),         cmocka_unit_test(several_directories),
        cmocka_unit_test(those_of_one_moment),          cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
