/* SPDX-License-Identifier: BSD-2-Clause */
/* What the simulator's disk leaves when the power fails, and what of a process when it is killed:
 * all that may happen does, within some seeds, and nothing else. */
/* needs: sim */
#include <errno.h>
#include <stdio.h>

#include "proxy/base/mem.h"
#include "proxy/io/disk.h"
#include "proxy/io/loop.h"
#include "tests/sim/sim.h"
#include "tests/unit/lib.h"

#define SEEDS 200

/* How the file /d/f looks afterwards, as one letter: `-` missing, `0` empty, `1` its first text
 * "one", `2` its second, "one and two", `t` torn. */
static char look(struct sim *w, const char *path)
{
    struct bytes octets;

    if (!sim_file(w, path, &octets))
        return '-';
    if (octets.len == 0)
        return '0';
    return bytes_is(octets, "one") ? '1' : bytes_is(octets, "one and two") ? '2' : 't';
}

static int make(const char *path, const char *text)
{
    int fd = disk_create(path);

    assert_true(fd >= 0);
    assert_int_equal(disk_write_at(fd, 0, bytes_of(text)), 0);
    return fd;
}

static void make_durable(const char *path, const char *text)
{
    int fd = make(path, text);

    assert_int_equal(disk_sync(fd), 0);
    assert_int_equal(disk_close(fd), 0);
    assert_int_equal(disk_sync_directory("/d"), 0);
}

/* ---- stories ---- */

static int append_unsynced(void *owner)
{
    int fd;

    (void)owner;
    make_durable("/d/f", "one");
    fd = disk_open_append("/d/f");
    assert_int_equal(disk_write_at(fd, 3, bytes_of(" and two")), 0);
    return disk_close(fd);
}

static int append_synced(void *owner)
{
    int fd;

    append_unsynced(owner);
    fd = disk_open_append("/d/f");
    assert_int_equal(disk_sync(fd), 0);
    return disk_close(fd);
}

/* The second sync has nothing to write, and goes well. */
static int append_with_failing_sync(void *owner)
{
    int fd;

    append_unsynced(owner);
    fd = disk_open_append("/d/f");
    sim_disk_fail(sim_current(), SIM_DISK_SYNC, 1, -EIO);
    assert_int_equal(disk_sync(fd), -EIO);
    sim_disk_fail(sim_current(), SIM_DISK_SYNC, 0, 0);
    assert_int_equal(disk_sync(fd), 0);
    return disk_close(fd);
}

static int name_unsynced(void *owner)
{
    int fd = make("/d/f", "one");

    (void)owner;
    assert_int_equal(disk_sync(fd), 0);
    return disk_close(fd);
}

static int name_with_failing_sync(void *owner)
{
    name_unsynced(owner);
    sim_disk_fail(sim_current(), SIM_DISK_SYNC, 1, -EIO);
    assert_int_equal(disk_sync_directory("/d"), -EIO);
    sim_disk_fail(sim_current(), SIM_DISK_SYNC, 0, 0);
    return disk_sync_directory("/d");
}

static int unlink_unsynced(void *owner)
{
    (void)owner;
    make_durable("/d/f", "one");
    return disk_unlink("/d/f");
}

static int unlink_synced(void *owner)
{
    unlink_unsynced(owner);
    return disk_sync_directory("/d");
}

static int truncate_unsynced(void *owner)
{
    int fd;

    (void)owner;
    make_durable("/d/f", "one and two");
    fd = disk_open_append("/d/f");
    assert_int_equal(disk_truncate(fd, 3), 0);
    return disk_close(fd);
}

static int replace_unsynced(void *owner)
{
    (void)owner;
    make_durable("/d/f", "one");
    make_durable("/d/g", "one and two");
    return disk_replace("/d/g", "/d/f");
}

/* The new name is durable before the old one goes. */
static int rename_on_old_disk(void *owner)
{
    (void)owner;
    sim_disk_set_old(sim_current(), true);
    make_durable("/d/g", "one");
    return disk_rename("/d/g", "/d/f");
}

/* Neither that nor the old one may go where the new one is not certain. */
static int rename_with_failing_sync(void *owner)
{
    (void)owner;
    sim_disk_set_old(sim_current(), true);
    make_durable("/d/f", "one");
    sim_disk_fail(sim_current(), SIM_DISK_SYNC, 1, -EIO);
    assert_int_equal(disk_rename("/d/f", "/d/g"), -EIO);
    sim_disk_fail(sim_current(), SIM_DISK_SYNC, 0, 0);
    return 0;
}

/* What is there already is no reason to take the name away. */
static int rename_over_another(void *owner)
{
    (void)owner;
    sim_disk_set_old(sim_current(), true);
    make_durable("/d/f", "one");
    make_durable("/d/g", "one and two");
    assert_int_equal(disk_rename("/d/f", "/d/g"), -EEXIST);
    return disk_sync_directory("/d");
}

static const struct {
    const char *name;
    int (*run)(void *owner);
    const char *may_be; /* every letter is seen, and no other */
} stories[] = {
    {"append_unsynced", append_unsynced, "12t"},
    {"append_synced", append_synced, "2"},
    {"append_with_failing_sync", append_with_failing_sync, "12t"},
    {"name_unsynced", name_unsynced, "-1"},
    {"name_with_failing_sync", name_with_failing_sync, "-1"},
    {"unlink_unsynced", unlink_unsynced, "-1"},
    {"unlink_synced", unlink_synced, "-"},
    {"truncate_unsynced", truncate_unsynced, "12"},
    {"replace_unsynced", replace_unsynced, "12"},
    {"rename_on_old_disk", rename_on_old_disk, "1"},
    {"rename_with_failing_sync", rename_with_failing_sync, "1"},
    {"rename_over_another", rename_over_another, "1"},
};

static int prepare(void *owner)
{
    (void)owner;
    return disk_make_directories("/d");
}

static void leaves_what_may_be_left(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(stories); i++) {
        bool is_seen[128] = {false};
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            struct sim *w = sim_new(seed);
            char letter;
            int code;
            assert_true(sim_process(w, prepare, NULL, &code));
            assert_true(sim_process(w, stories[i].run, NULL, &code));
            assert_int_equal(code, 0);
            sim_power_cut(w);
            letter = look(w, "/d/f");
            if (strchr(stories[i].may_be, letter) == NULL)
                fail_msg("%s: seed %d leaves %c", stories[i].name, (int)seed, letter);
            is_seen[(unsigned char)letter] = true;
            sim_free(&w);
        }
        for (const char *c = stories[i].may_be; *c != '\0'; c++)
            if (!is_seen[(unsigned char)*c])
                fail_msg("%s: never %c", stories[i].name, *c);
    }
}

/* ---- killed ---- */

struct victim {
    bool has_gone_on;
};

static int hold_much(void *owner)
{
    struct victim *v = owner;
    struct loop *l = loop_new();
    void *block = mem_alloc(100);
    int fd = make("/d/f", "one");

    assert_non_null(l);
    assert_non_null(block);
    assert_int_equal(disk_lock(fd), 0);
    sim_kill_at_call(sim_current(), 1);
    disk_sync(fd);
    v->has_gone_on = true;
    return 0;
}

static int take_lock(void *owner)
{
    int fd = disk_open_append("/d/f"), second = disk_open_append("/d/f"), error;

    (void)owner;
    assert_true(fd >= 0 && second >= 0);
    error = disk_lock(fd);
    assert_int_equal(disk_lock(second), -EAGAIN);
    disk_close(second);
    disk_close(fd);
    return error;
}

static void kills(void **state)
{
    struct sim *w = sim_new(1);
    struct victim v = {.has_gone_on = false};
    int code;

    (void)state;
    assert_true(sim_process(w, prepare, NULL, &code));
    assert_false(sim_process(w, hold_much, &v, &code));
    assert_false(v.has_gone_on);
    assert_int_equal(sim_open_files(w), 0);
    assert_int_equal(look(w, "/d/f"), '1'); /* the kernel lives on */
    assert_true(sim_process(w, take_lock, NULL, &code));
    assert_int_equal(code, 0);
    sim_free(&w);
}

static int rename_cut_short(void *owner)
{
    (void)owner;
    make_durable("/d/g", "one");
    sim_disk_set_old(sim_current(), true);
    sim_kill_at_call(sim_current(), 3); /* between the link and the sync of its directory */
    return disk_rename("/d/g", "/d/f");
}

static int rename_again(void *owner)
{
    (void)owner;
    return disk_rename("/d/g", "/d/f");
}

/* What was begun on an old disk is ended by whoever comes next. */
static void ends_a_rename(void **state)
{
    struct sim *w = sim_new(1);
    int code;

    (void)state;
    assert_true(sim_process(w, prepare, NULL, &code));
    assert_false(sim_process(w, rename_cut_short, NULL, &code));
    assert_int_equal(look(w, "/d/f"), '1');
    assert_int_equal(look(w, "/d/g"), '1');
    assert_true(sim_process(w, rename_again, NULL, &code));
    assert_int_equal(code, 0);
    assert_int_equal(look(w, "/d/f"), '1');
    assert_int_equal(look(w, "/d/g"), '-');
    sim_free(&w);
}

static void note_failure(void *owner, const struct sim_disk_failure *failure)
{
    unsigned *count = owner;

    assert_string_equal(failure->path, "/d/f");
    assert_true(bytes_is(failure->octets, "one"));
    ++*count;
}

static int read_spoiled(void *owner)
{
    struct sim *w = sim_current();
    unsigned failures = 0;
    char into[4] = "";
    int fd;

    (void)owner;
    make_durable("/d/f", "one");
    fd = disk_open_append("/d/f");
    sim_on_disk_failure(w, note_failure, &failures);
    assert_true(sim_disk_spoil(w, "/d/f", -EIO));
    assert_int_equal(disk_read_at(fd, 0, into, 3), -EIO);
    assert_int_equal(disk_sync(fd), -EIO);
    assert_int_equal(failures, 2);
    assert_int_equal(disk_rename("/d/f", "/d/g"), 0); /* its name is another matter */
    assert_int_equal(disk_rename("/d/g", "/d/f"), 0);
    sim_on_disk_failure(w, NULL, NULL);
    assert_true(sim_disk_spoil(w, "/d", -EACCES));
    assert_int_equal(disk_create("/d/h"), -EACCES);
    assert_int_equal(disk_rename("/d/f", "/d/h"), -EACCES);
    assert_true(sim_disk_spoil(w, "/d", 0) && sim_disk_spoil(w, "/d/f", 0));
    assert_int_equal(disk_read_at(fd, 0, into, 3), 0);
    return disk_close(fd);
}

static void stays_bad(void **state)
{
    struct sim *w = sim_new(1);
    int code;

    (void)state;
    assert_true(sim_process(w, prepare, NULL, &code));
    assert_true(sim_process(w, read_spoiled, NULL, &code));
    assert_false(sim_disk_spoil(w, "/d/other", -EIO));
    assert_true(sim_file_flip(w, "/d/f", 1));
    assert_int_equal(look(w, "/d/f"), 't');
    sim_power_cut(w);
    assert_int_equal(look(w, "/d/f"), 't'); /* durable */
    assert_false(sim_file_flip(w, "/d/f", 24));
    sim_free(&w);
}

static void sets_the_wall_clock(void **state)
{
    struct sim *w = sim_new(1);
    int64_t wall_ms = sim_wall_ms(w);
    uint64_t now_ms = sim_now_ms(w);

    (void)state;
    sim_wall_jump(w, -5000);
    assert_true(sim_wall_ms(w) == wall_ms - 5000);
    assert_true(sim_now_ms(w) == now_ms);
    sim_free(&w);
}

/* ---- directories, made in steps ---- */

static int make_deep(void *owner)
{
    (void)owner;
    return disk_make_directories("/a/b/c");
}

static int put_deeper(void *owner)
{
    int error = disk_make_directories("/a/b/c/d"), fd;

    (void)owner;
    assert_int_equal(error, 0);
    fd = make("/a/b/c/d/f", "one");
    assert_int_equal(disk_sync(fd), 0);
    assert_int_equal(disk_sync_directory("/a/b/c/d"), 0);
    return disk_close(fd);
}

/* What another one has begun to make, and died, is as good as what is made after it. */
static void makes_what_is_above_durable(void **state)
{
    bool is_killed = true;

    (void)state;
    for (uint64_t nth = 1; is_killed; nth++) {
        for (uint64_t seed = 1; seed <= 20; seed++) {
            struct sim *w = sim_new(seed);
            int code;
            sim_kill_at_call(w, nth);
            is_killed = !sim_process(w, make_deep, NULL, &code);
            assert_true(sim_process(w, put_deeper, NULL, &code));
            sim_power_cut(w);
            assert_int_equal(look(w, "/a/b/c/d/f"), '1');
            sim_free(&w);
        }
    }
}

/* ---- a sync of somebody else ---- */

static int lose_beside(void *owner)
{
    int directory = disk_open_directory("/d"), fd = make("/d/f", "one");

    (void)owner;
    assert_true(directory >= 0);
    assert_int_equal(disk_sync(fd), 0);
    sim_disk_fail(sim_current(), SIM_DISK_SYNC, 1, -EIO);
    assert_int_equal(disk_sync_directory("/d"), -EIO);
    sim_disk_fail(sim_current(), SIM_DISK_SYNC, 0, 0);
    assert_int_equal(disk_sync_directory("/d"), 0); /* knows nothing of it */
    assert_int_equal(disk_sync_open_directory(directory), -EIO);
    assert_int_equal(disk_sync_open_directory(directory), 0); /* told once */
    disk_close(directory);
    return disk_close(fd);
}

static void tells_what_others_have_lost(void **state)
{
    bool is_lost = false;

    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct sim *w = sim_new(seed);
        int code;
        assert_true(sim_process(w, prepare, NULL, &code));
        assert_true(sim_process(w, lose_beside, NULL, &code));
        sim_power_cut(w);
        is_lost = is_lost || look(w, "/d/f") == '-';
        sim_free(&w);
    }
    assert_true(is_lost);
}

struct made {
    bool has_ended, is_durable;
};

static int make_beside(void *owner)
{
    struct made *made = owner;

    if (disk_make_directories("/d/new") != 0)
        return 0;
    int fd = make("/d/new/f", "one");
    made->is_durable = disk_sync(fd) == 0 && disk_sync_directory("/d/new") == 0;
    return disk_close(fd);
}

static int fail_to_sync(void *owner)
{
    (void)owner;
    sim_disk_fail(sim_current(), SIM_DISK_SYNC, 1, -EIO);
    disk_sync_directory("/d");
    sim_disk_fail(sim_current(), SIM_DISK_SYNC, 0, 0);
    return 0;
}

static void note_end(void *owner, const struct sim_process_end *end)
{
    struct made *made = owner;
    made->has_ended = !end->is_killed && end->code == 0;
}

/* While a directory is being made, between any two calls, another process fails to sync the one
 * above. What counts as made is durable all the same. */
static void makes_it_durable_beside_others(void **state)
{
    bool has_hung = true, was_told = false;

    (void)state;
    for (uint64_t nth = 1; has_hung; nth++) {
        for (uint64_t seed = 1; seed <= 20; seed++) {
            struct sim *w = sim_new(seed);
            struct made made = {.has_ended = false}, other = {.has_ended = false};
            int code;
            assert_true(sim_process(w, prepare, NULL, &code));
            sim_hang_at_call(w, nth);
            sim_process_start(w, make_beside, &made, note_end);
            sim_run_for(w, 10);
            has_hung = !made.has_ended;
            sim_process_start(w, fail_to_sync, &other, note_end);
            sim_run_for(w, 10);
            sim_disk_go_on(w);
            sim_run_for(w, 10);
            assert_true(made.has_ended && other.has_ended);
            sim_power_cut(w);
            assert_true(!made.is_durable || !has_hung || look(w, "/d/new/f") == '1');
            was_told = was_told || !made.is_durable;
            sim_free(&w);
        }
    }
    assert_true(was_told);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_what_may_be_left),
        cmocka_unit_test(kills),
        cmocka_unit_test(ends_a_rename),
        cmocka_unit_test(stays_bad),
        cmocka_unit_test(sets_the_wall_clock),
        cmocka_unit_test(makes_what_is_above_durable),
        cmocka_unit_test(tells_what_others_have_lost),
        cmocka_unit_test(makes_it_durable_beside_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
