/* SPDX-License-Identifier: BSD-2-Clause */
/* What somebody else does between looking for the name of a message and locking what was found. */
/* needs: tests/unit/store_world.c spool/store.c spool/store_commit.c spool/store_list.c */
/* needs: spool/store_draft.c spool/store_rewrite.c io */
/* needs: spool/store_own.c spool/store_path.c */
#include "proxy/io/disk.h"

static int lock_later(int fd);
#define disk_lock lock_later
#include "spool/store_message.c"
#undef disk_lock

#include <stdio.h>

#include "tests/unit/store_world.h"

/* ---- somebody else ---- */

static struct store_world w;
static struct store_place place;
static void (*meanwhile)(void); /* NULL: nothing happens */
static bool is_repeated;

static int lock_later(int fd)
{
    void (*fn)(void) = meanwhile;

    meanwhile = NULL;
    if (fn != NULL)
        fn();
    if (is_repeated)
        meanwhile = fn;
    return disk_lock(fd);
}

static void is_removed(void)
{
    assert_int_equal(store_remove(w.store, &place), 0);
}

static void is_held(void)
{
    struct store_place there;

    assert_int_equal(store_move(w.store, &place, STORE_HOLD, 0, &there), 0);
}

static void is_held_and_released(void)
{
    struct store_place there;

    assert_int_equal(store_move(w.store, &place, STORE_HOLD, 0, &there), 0);
    assert_int_equal(store_move(w.store, &there, STORE_QUEUE, place.directory, &there), 0);
}

static void is_rewritten(void)
{
    struct spool_message message;
    struct store_taken taken = {0};
    const struct store_change change = {.place = &place, .message = &message};
    int before;

    assert_int_equal(store_take(w.store, &place, &before), 0);
    arena_reset(&w.arena);
    assert_int_equal(store_read(before, &place.id, &w.arena, &message), 0);
    message.recipients[0].tries++;
    taken.fd = before;
    assert_int_equal(store_rewrite(w.store, &change, &taken), 0);
    disk_close(before);
    disk_close(taken.fd);
}

/* A new file is all that counts here. */
static void is_replaced(void)
{
    struct store_path path = store_message_path(w.store, &place);
    struct store_path beside = store_new_path(w.store, &place);

    disk_close(disk_create(beside.text));
    assert_int_equal(disk_replace(beside.text, path.text), 0);
}

/* ---- the test ---- */

static void takes_what_has_the_name(void **state)
{
    static const struct {
        void (*meanwhile)(void);
        bool is_repeated;
        int error;
        uint32_t tries; /* as the file says that was taken */
    } rows[] = {
        {NULL, false, 0, 0},          {is_removed, false, -ENOENT, 0},
        {is_held, false, -ENOENT, 0}, {is_held_and_released, false, 0, 0},
        {is_rewritten, false, 0, 1},  {is_replaced, true, -EAGAIN, 0},
    };

    (void)state;
    store_world_begin(&w);
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct spool_message message;
        int fd = -1;

        assert_int_equal(store_world_put(&w, 100, &place), 0);
        meanwhile = rows[i].meanwhile;
        is_repeated = rows[i].is_repeated;
        bool is_fine = lib_same_number(i, "error", rows[i].error, store_take(w.store, &place, &fd));
        meanwhile = NULL;
        if (!is_fine || rows[i].error != 0)
            continue;
        assert_int_equal(store_read(fd, &place.id, &w.arena, &message), 0);
        lib_same_number(i, "tries", rows[i].tries, message.recipients[0].tries);
        lib_same_number(i, "name", 0,
                        store_compare_name(fd, store_message_path(w.store, &place).text));
        disk_close(fd);
    }
    lib_end_rows();
    store_world_end(&w);
}

/* A release or a hold was cut short between its link and its unlink. */
static void ends_a_move(void **state)
{
    struct store_place held;
    char from[STORE_PATH_MAX], to[STORE_PATH_MAX];
    int fd;

    (void)state;
    meanwhile = NULL;
    is_repeated = false;
    store_world_begin(&w);
    for (int is_held = 0; is_held < 2; is_held++) {
        assert_int_equal(store_world_put(&w, 10, &place), 0);
        assert_int_equal(store_move(w.store, &place, STORE_HOLD, 0, &held), 0);
        snprintf(from, sizeof(from), "%s/hold/%s", w.directory, place.id.text);
        snprintf(to, sizeof(to), "%s/queue/%06u/%s", w.directory, (unsigned)place.directory,
                 place.id.text);
        assert_int_equal(disk_link(from, to), 0);
        assert_int_equal(store_take(w.store, &place, &fd), 0);
        assert_int_equal(store_end_move(w.store, &place, fd, is_held), 0);
        assert_int_equal(disk_close(fd), 0);
        assert_int_equal(store_take(w.store, &held, &fd), -ENOENT);
        assert_int_equal(store_take(w.store, &place, &fd), 0);
        assert_int_equal(store_end_move(w.store, &place, fd, is_held), 0);
        assert_int_equal(disk_close(fd), 0);
    }
    store_world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_has_the_name),
        cmocka_unit_test(ends_a_move),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
