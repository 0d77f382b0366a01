/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages that are to be written anew, and a disk that has no room for that. */
/* needs: tests/unit/store_world.c spool/store.c spool/store_list.c spool/store_message.c */
/* needs: spool/store_draft.c spool/store_commit.c spool/store_rewrite.c sim */
/* needs: spool/store_own.c spool/store_path.c */
#include <errno.h>

#include "proxy/io/disk.h"
#include "tests/sim/sim.h"
#include "tests/unit/store_world.h"

/* A full disk keeps a message from being written anew: the records are added, as long as there is
 * room, and where there is none, nothing of it is changed. */
static void adds_where_it_cannot_rewrite(void **state)
{
    static const enum sim_disk_call calls[] = {SIM_DISK_OPEN, SIM_DISK_NAME};

    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_LENGTH(calls); i++) {
        struct store_limits limits = {.directory_names = 100, .records_bytes = 0};
        struct sim *world = sim_new(i + 1);
        struct store_world w;
        struct store_place place;
        struct spool_message message;
        struct store_taken taken = {0};
        struct buf records;
        bool has_room = i % 2 == 0;
        int error = 0;

        store_world_begin(&w);
        assert_int_equal(store_world_put(&w, 500, &place), 0);
        store_world_close(&w);
        w.store = store_open(w.loop, bytes_of(w.directory), &limits, &error);
        assert_int_equal(store_take(w.store, &place, &taken.fd), 0);
        assert_int_equal(store_read(taken.fd, &place.id, &w.arena, &message), 0);
        buf_init(&records, &w.pool, 1000);
        struct spool_writer writer = {.id = place.id, .at = message.records_end, .out = &records};
        spool_put_warned(&writer, 0);
        message.recipients[0].is_warned = true;
        message.records_end += has_room ? 0 : SPOOL_RECORDS_MAX;
        const struct store_change change = {.place = &place,
                                            .message = &message,
                                            .records = buf_bytes(&records),
                                            .is_synced = true};
        int fd = taken.fd;
        sim_disk_fail(world, calls[i / 2], 1, -ENOSPC);
        lib_same_number(i, "error", has_room ? 0 : -ENOSPC, store_change(w.store, &change, &taken));
        sim_disk_fail(world, calls[i / 2], 0, 0);
        lib_is_true(i, "the same file", taken.fd == fd && !taken.is_broken);
        buf_done(&records);
        disk_close(taken.fd);
        assert_int_equal(store_world_look(&w, &place, 500, &message), 0);
        lib_same_number(i, "warned", has_room, message.recipients[0].is_warned);
        assert_int_equal(sim_open_files(world), 1);
        store_world_end(&w);
        sim_free(&world);
    }
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(adds_where_it_cannot_rewrite)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
