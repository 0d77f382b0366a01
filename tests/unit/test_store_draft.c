/* SPDX-License-Identifier: BSD-2-Clause */
/* Where drafts are made, with unnamed files and without. */
/* needs: tests/unit/store_world.c spool/store.c spool/store_list.c spool/store_message.c */
/* needs: spool/store_commit.c spool/store_rewrite.c spool/store_mark.c spool/spool_index.c sim */
/* needs: spool/store_draft.c */
/* needs: spool/store_own.c spool/store_path.c */
#include <errno.h>
#include <stdio.h>

#include "proxy/io/disk.h"
#include "tests/sim/sim.h"
#include "tests/unit/store_world.h"

static const char *path_of(const struct store_world *w, const char *name)
{
    static char path[160];
    snprintf(path, sizeof(path), "%s/%s", w->directory, name);
    return path;
}

static bool is_there(const char *path)
{
    struct disk_facts facts;
    return disk_facts_of_path(path, &facts) == 0;
}

/* What a process left in tmp/ goes when another starts, but nothing of one that lives. */
static void live_beside_another(struct sim *world, bool has_names)
{
    struct store_world w;
    struct store *second;
    int error = 0, one, two;

    if (has_names)
        sim_disk_without_unnamed(world);
    store_world_begin(&w);
    assert_int_equal(store_drafts(w.store)->has_names, has_names);
    one = draft_open(store_drafts(w.store));
    assert_true(one >= 0);
    assert_int_equal(disk_make_directories(path_of(&w, "tmp/000007")), 0);
    assert_int_equal(disk_make_directories(path_of(&w, "tmp/000008")), 0);
    disk_close(disk_create(path_of(&w, "tmp/000007/owner")));
    disk_close(disk_create(path_of(&w, "tmp/000007/5")));
    disk_close(disk_create(path_of(&w, "tmp/000008/new0"))); /* the owner's file was lost */
    second = store_open(w.loop, bytes_of(w.directory), NULL, &error);
    assert_non_null(second);
    assert_false(is_there(path_of(&w, "tmp/000007")));
    assert_false(is_there(path_of(&w, "tmp/000008")));
    two = draft_open(store_drafts(second));
    assert_true(two >= 0);
    assert_int_equal(draft_link(store_drafts(w.store), one, path_of(&w, "one")), 0);
    assert_int_equal(draft_link(store_drafts(second), two, path_of(&w, "two")), 0);
    draft_close(store_drafts(w.store), one);
    draft_close(store_drafts(second), two);
    store_close(second);
    store_free(&second);
    store_world_end(&w);
    assert_null(sim_file_below(world, "/", 0));
}

static void removes_drafts_of_the_dead(void **state)
{
    (void)state;
    for (int has_names = 0; has_names < 2; has_names++) {
        struct sim *world = sim_new(1);
        live_beside_another(world, has_names);
        sim_free(&world);
    }
}

/* The disk fails when it is asked what it can: nobody starts there without knowing. */
static void finds_out_or_fails(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth < 12; nth++) {
        struct sim *world = sim_new(1);
        struct loop *l = loop_new();
        int error = 0;

        sim_disk_without_unnamed(world);
        sim_disk_fail(world, SIM_DISK_OPEN, nth, -EIO);
        struct store *s = store_open(l, bytes_of("/spool"), NULL, &error);
        sim_disk_fail(world, SIM_DISK_OPEN, 1, 0);
        if (s != NULL)
            assert_true(store_drafts(s)->has_names);
        else
            assert_int_equal(error, -EIO);
        store_free(&s);
        assert_int_equal(sim_open_files(world), 0);
        loop_free(&l);
        sim_free(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(removes_drafts_of_the_dead),
        cmocka_unit_test(finds_out_or_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
