/* SPDX-License-Identifier: BSD-2-Clause */
/* The files of the spool, on a real disk: committed, taken, changed, moved, listed. */
/* needs: tests/unit/store_world.c spool/store.c spool/store_list.c spool/store_message.c */
/* needs: spool/store_commit.c spool/store_rewrite.c spool/store_mark.c spool/spool_index.c io */
/* needs: spool/store_draft.c */
/* needs: spool/store_own.c spool/store_path.c */
#include "spool/store.h"

#include <errno.h>
#include <stdio.h>

#include "proxy/base/error.h"
#include "proxy/base/hash.h"
#include "proxy/base/mem.h"
#include "proxy/io/disk.h"
#include "spool/spool_index.h"
#include "tests/unit/store_world.h"

static struct lib_text text;

static char *path_of(const struct store_world *w, const char *name)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/%s", w->directory, name);
    return path;
}

static char *message_path(const struct store_world *w, const struct store_place *place)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/queue/%06u/%s", w->directory, (unsigned)place->directory,
             place->id.text);
    return path;
}

static bool is_there(const char *path)
{
    struct disk_facts facts;
    return disk_facts_of_path(path, &facts) == 0;
}

/* ---- committing ---- */

static void commits(void **state)
{
    static const size_t sizes[] = {0, 1, 7, 8, 4096, 65535, 65536, 65537, 300000};
    struct store_world w;
    struct spool_message message;
    struct store_place place;

    (void)state;
    store_world_begin(&w);
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        lib_same_number(i, "commit", 0, store_world_put(&w, sizes[i], &place));
        lib_same_number(i, "look", 0, store_world_look(&w, &place, sizes[i], &message));
    }
    lib_end_rows();
    store_world_end(&w);
}

/* Part of the body lies in the file, as a copy leaves it, or all of it was prepared. */
static void commits_what_has_begun(void **state)
{
    struct store_world w;
    struct spool_message message;

    (void)state;
    store_world_begin(&w);
    for (unsigned way = 0; way < 4; way++) {
        struct store_world_message m;
        struct bytes all[8];

        store_world_make(&w, &m, 200000);
        memcpy(all, m.pieces, sizeof(all));
        if (way % 2 == 1) {
            m.image.fd = draft_open(store_drafts(w.store));
            m.image.file_bytes = 2 * STORE_WORLD_CHUNK;
            m.image.sum = hash_chain(hash_chain(0, all[0]), all[1]);
            m.image.pieces = m.pieces + 2;
            m.image.piece_count -= 2;
            assert_int_equal(disk_write_pieces_at(m.image.fd, SPOOL_HEAD_BYTES, all, 2), 0);
        }
        if (way >= 2) {
            assert_int_equal(store_prepare(&m.image), 0);
            assert_int_equal(m.image.file_bytes, 200000);
            m.image.piece_count = 0;
        }
        lib_same_number(way, "commit", 0,
                        store_commit(w.store, &m.image, &m.place, buf_bytes(&m.records)));
        store_world_done(&m);
        lib_same_number(way, "look", 0, store_world_look(&w, &m.place, 200000, &message));
    }
    lib_end_rows();
    store_world_end(&w);
}

static void commits_a_name_once(void **state)
{
    struct store_world w;
    struct store_world_message m;
    struct store_place place;
    struct spool_message message;

    (void)state;
    store_world_begin(&w);
    assert_int_equal(store_world_put(&w, 100, &place), 0);
    store_world_make(&w, &m, 50);
    assert_int_equal(store_commit(w.store, &m.image, &place, buf_bytes(&m.records)), -EEXIST);
    store_world_done(&m);
    assert_int_equal(store_world_look(&w, &place, 100, &message), 0);
    store_world_end(&w);
}

/* Its directory was taken for one that nobody fills. */
static void makes_the_directory_again(void **state)
{
    struct store_world w;
    struct store_place place;
    struct spool_message message;

    (void)state;
    store_world_begin(&w);
    store_world_remove(path_of(&w, "queue"));
    assert_false(is_there(path_of(&w, "queue")));
    assert_int_equal(store_world_put(&w, 100, &place), 0);
    assert_int_equal(store_world_look(&w, &place, 100, &message), 0);
    store_world_end(&w);
}

/* ---- delivering ---- */

static void is_taken_once(void **state)
{
    struct store_world w;
    struct store_place place;
    int fd = -1, second = -1;

    (void)state;
    store_world_begin(&w);
    assert_int_equal(store_world_put(&w, 100, &place), 0);
    assert_int_equal(store_take(w.store, &place, &fd), 0);
    assert_int_equal(store_take(w.store, &place, &second), -EAGAIN);
    assert_int_equal(second, -1);
    disk_close(fd);
    assert_int_equal(store_take(w.store, &place, &fd), 0);
    assert_int_equal(store_remove(w.store, &place), 0);
    assert_int_equal(store_take(w.store, &place, &second), -ENOENT);
    disk_close(fd);
    assert_int_equal(store_remove(w.store, &place), -ENOENT);
    store_world_end(&w);
}

static void appends_behind_what_is_whole(void **state)
{
    struct store_world w;
    struct store_place place;
    struct spool_message message;
    struct buf records;
    int fd = -1;

    (void)state;
    store_world_begin(&w);
    assert_int_equal(store_world_put(&w, 100, &place), 0);
    assert_int_equal(store_world_look(&w, &place, 100, &message), 0);
    for (int i = 0; i < 3; i++) {
        struct spool_writer writer = {.id = place.id, .at = message.records_end, .out = &records};
        uint64_t end = message.records_end;

        assert_int_equal(store_take(w.store, &place, &fd), 0);
        /* A torn tail, longer than what is appended. */
        assert_int_equal(disk_write_at(fd, end, bytes_make(text.at, 100)), 0);
        buf_init(&records, &w.pool, 1000);
        if (i == 0)
            spool_put_warned(&writer, 1);
        else
            spool_put_hold(&writer, &(struct spool_message){.is_held = i == 1});
        assert_int_equal(store_append(fd, end, buf_bytes(&records)), 0);
        end += buf_length(&records);
        buf_done(&records);
        disk_close(fd);
        assert_int_equal(store_world_look(&w, &place, 100, &message), 0);
        assert_int_equal(message.records_end, end);
        assert_true(message.recipients[1].is_warned);
        assert_int_equal(message.is_held, i == 1);
    }
    assert_int_equal(store_take(w.store, &place, &fd), 0);
    assert_int_equal(store_append(fd, 1000000, bytes_of("x")), -EIO); /* what stood there is gone */
    disk_close(fd);
    store_world_end(&w);
}

static void sees_damage(void **state)
{
    static const struct {
        uint64_t at;
        int error;
        bool is_of_body;
    } rows[] = {{0, ERR_SYNTAX, false},    {33, ERR_SYNTAX, false}, {64, -EBADMSG, true},
                {70000, -EBADMSG, true},   {70066, 0, false}, /* fills the last eight octets */
                {70072, ERR_SYNTAX, false}};
    struct store_world w;

    (void)state;
    store_world_begin(&w);
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct store_place place;
        struct spool_message message;
        uint8_t octet;
        int fd = -1;

        assert_int_equal(store_world_put(&w, 70001, &place), 0);
        fd = disk_open_append(message_path(&w, &place));
        assert_int_equal(disk_read_at(fd, rows[i].at, &octet, 1), 0);
        octet ^= 0x10;
        assert_int_equal(disk_write_at(fd, rows[i].at, bytes_make(&octet, 1)), 0);
        lib_same_number(i, "error", rows[i].error,
                        store_world_read(fd, &place.id, &w.arena, &message));
        lib_same_number(i, "error without a look at the body",
                        rows[i].is_of_body ? 0 : rows[i].error,
                        store_read(fd, &place.id, &w.arena, &message));
        assert_int_equal(disk_truncate(fd, i < 3 ? 63 * i / 2 : 70071), 0);
        lib_same_number(i, "error of a short file", ERR_SYNTAX,
                        store_world_read(fd, &place.id, &w.arena, &message));
        disk_close(fd);
    }
    lib_end_rows();
    store_world_end(&w);
}

/* ---- names ---- */

static void moves(void **state)
{
    struct store_world w;
    struct store_place place, there, back;
    struct spool_message message;
    char expected[128];

    (void)state;
    store_world_begin(&w);
    assert_int_equal(store_world_put(&w, 100, &place), 0);
    assert_int_equal(store_move(w.store, &place, STORE_HOLD, 0, &there), 0);
    assert_int_equal(store_world_look(&w, &place, 100, &message), -ENOENT);
    assert_int_equal(store_world_look(&w, &there, 100, &message), 0);
    assert_int_equal(store_world_list(&w, &text), 0);
    snprintf(expected, sizeof(expected), "hold %s\n", place.id.text);
    assert_string_equal(text.at, expected);
    assert_int_equal(store_move(w.store, &place, STORE_BAD, 0, &back), -ENOENT);
    /* Into a directory that is not there (any more). */
    assert_int_equal(store_move(w.store, &there, STORE_QUEUE, 4711, &back), 0);
    assert_int_equal(back.directory, 4711);
    assert_int_equal(store_world_look(&w, &back, 100, &message), 0);
    assert_int_equal(store_move(w.store, &back, STORE_BAD, 0, &there), 0);
    /* Over what another move has left there before the message was written anew. */
    assert_int_equal(store_world_put(&w, 100, &place), 0);
    assert_int_equal(disk_close(disk_create(path_of(&w, "hold/x"))), 0);
    snprintf(expected, sizeof(expected), "%s/hold/%s", w.directory, place.id.text);
    assert_int_equal(disk_rename(path_of(&w, "hold/x"), expected), 0);
    assert_int_equal(store_move(w.store, &place, STORE_HOLD, 0, &there), 0);
    assert_int_equal(store_world_look(&w, &there, 100, &message), 0);
    assert_int_equal(store_sync(w.store, 4711), 0);
    assert_false(is_there(path_of(&w, "queue/004711")));
    assert_int_equal(store_sync(w.store, 4711), 0);
    store_world_end(&w);
}

static void lists_in_order(void **state)
{
    static const char *const strays[] = {"queue/stray", "queue/000001/short", "hold/index",
                                         "bad/0123456789ABCDEF"};
    struct store_world w;
    struct store_place places[100];
    static struct lib_text expected;

    (void)state;
    store_world_begin(&w);
    expected.len = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(places); i++) {
        assert_int_equal(store_world_put(&w, 1, &places[i]), 0);
        lib_put(&expected, "queue %s\n", places[i].id.text);
    }
    assert_int_equal(store_world_list(&w, &text), 0);
    assert_string_equal(text.at, expected.at);
    for (size_t i = 0; i < ARRAY_LENGTH(strays); i++)
        disk_close(disk_create(path_of(&w, strays[i])));
    assert_int_equal(store_world_list(&w, &text), 0);
    assert_non_null(strstr(text.at, "stray /queue/stray\n"));
    assert_non_null(strstr(text.at, "stray /queue/000001/short\n"));
    assert_non_null(strstr(text.at, "stray /index\n"));
    assert_non_null(strstr(text.at, "stray /0123456789ABCDEF\n"));
    assert_int_equal(text.len, expected.len + 82);
    store_world_end(&w);
}

/* ---- directories ---- */

static void removes_what_nobody_fills(void **state)
{
    struct store_world w;
    struct store *second;
    struct store_place place;
    int error = 0;

    (void)state;
    store_world_begin(&w);
    second = store_open(w.loop, bytes_of(w.directory), NULL, &error);
    assert_non_null(second);
    assert_true(is_there(path_of(&w, "queue/000002")));
    /* Both are empty, and both are filled by somebody. */
    assert_int_equal(store_sync(w.store, 1), 0);
    assert_int_equal(store_sync(w.store, 2), 0);
    assert_int_equal(store_world_list(&w, &text), 0);
    assert_true(is_there(path_of(&w, "queue/000001")));
    assert_true(is_there(path_of(&w, "queue/000002")));
    store_close(second);
    store_free(&second);
    assert_false(is_there(path_of(&w, "queue/000002")));

    assert_int_equal(store_world_put(&w, 1, &place), 0);
    store_world_close(&w);
    assert_true(is_there(path_of(&w, "queue/000001")));
    assert_int_equal(store_world_open(&w), 0);
    assert_int_equal(store_sync(w.store, 1), 0);
    assert_true(is_there(path_of(&w, "queue/000001")));
    assert_int_equal(store_remove(w.store, &place), 0);
    disk_close(disk_create(path_of(&w, "queue/000001/index")));
    assert_int_equal(store_sync(w.store, 1), 0);
    assert_false(is_there(path_of(&w, "queue/000001")));
    /* What a process left that died before it had made its directory its own. */
    assert_int_equal(disk_make_directories(path_of(&w, "queue/000007")), 0);
    disk_close(disk_create(path_of(&w, "queue/000007/index.new")));
    assert_int_equal(store_world_list(&w, &text), 0);
    assert_false(is_there(path_of(&w, "queue/000007")));
    store_world_end(&w);
}

static void end_loop(void *owner)
{
    loop_stop(owner);
}

static void makes_the_next_directory(void **state)
{
    struct store_world w;
    struct store_place place = {0};
    struct loop_post post = {0};

    (void)state;
    store_world_begin(&w);
    /* While the loop has not heard of the next one, the old one is filled further. */
    for (size_t i = 0; i < 1100; i++) {
        struct id id = id_next(&w.ids, 1700000000000);
        place = store_next_place(w.store, &id);
        assert_int_equal(place.directory, 1);
    }
    loop_post(w.loop, &post, end_loop, w.loop);
    assert_int_equal(loop_run(w.loop), 0);
    assert_true(is_there(path_of(&w, "queue/000002")));
    assert_int_equal(store_world_put(&w, 10, &place), 0);
    assert_int_equal(place.directory, 2);
    /* Commits may still be under way there. */
    assert_int_equal(store_sync(w.store, 1), 0);
    assert_true(is_there(path_of(&w, "queue/000001")));
    store_world_end(&w);
}

/* ---- the index ---- */

#define INDEXED 120

static int64_t now_s(const struct store_world *w)
{
    return loop_wall_ms(w->loop) / 1000;
}

static void put_many(struct store_world *w, struct store_place *places)
{
    for (size_t i = 0; i < INDEXED; i++)
        assert_int_equal(store_world_put(w, i, &places[i]), 0);
}

static void check_indexed(struct store_world *w, const struct spool_index *index,
                          const struct store_place *place, size_t body_bytes)
{
    struct spool_message message;

    arena_reset(&w->arena);
    assert_int_equal(spool_index_find(index, &place->id, &w->arena, &message), 0);
    assert_string_equal(message.head.id.text, place->id.text);
    assert_int_equal(message.head.body_bytes, body_bytes);
    assert_int_equal(message.recipient_count, 2);
    assert_true(bytes_is(message.recipients[1].target, "exchange"));
    assert_true(bytes_is(message.recipients[1].to.domain, "example.com"));
    assert_true(bytes_is(message.recipients[0].original.domain, "example.com"));
    assert_int_equal(message.recipients[0].fate, FATE_OPEN);
}

static void keeps_an_index(void **state)
{
    static struct store_place places[INDEXED];
    struct store_world w;
    struct spool_index index;
    struct spool_message message;
    struct store_place late;

    (void)state;
    store_world_begin(&w);
    assert_int_equal(spool_index_read(w.store, 1, &index), -ENOENT);
    assert_int_equal(spool_index_forget(w.store, 1), 0);
    assert_int_equal(spool_index_refresh(w.store, 4711, now_s(&w) + 1000), 0);
    put_many(&w, places);
    assert_int_equal(spool_index_refresh(w.store, 1, now_s(&w)), 0); /* too early */
    assert_int_equal(spool_index_read(w.store, 1, &index), -ENOENT);
    assert_int_equal(spool_index_refresh(w.store, 1, now_s(&w) + 1000), 0);
    assert_int_equal(spool_index_read(w.store, 1, &index), 0);
    assert_int_equal(index.count, INDEXED);
    assert_true(index.len < INDEXED * 200);
    for (size_t i = 0; i < INDEXED; i++)
        check_indexed(&w, &index, &places[i], i);
    assert_int_equal(store_world_put(&w, 0, &late), 0);
    assert_int_equal(spool_index_find(&index, &late.id, &w.arena, &message), -ENOENT);
    spool_index_free(&index);
    assert_int_equal(store_world_list(&w, &text), 0);
    assert_null(strstr(text.at, "stray"));
    /* Damaged ones are found damaged below; here it is just not made again while it is good. */
    assert_int_equal(spool_index_refresh(w.store, 1, now_s(&w) + 2000), 0);
    assert_int_equal(spool_index_read(w.store, 1, &index), 0);
    assert_int_equal(index.count, INDEXED);
    spool_index_free(&index);
    assert_int_equal(spool_index_forget(w.store, 1), 0);
    assert_int_equal(spool_index_read(w.store, 1, &index), -ENOENT);
    store_world_end(&w);
}

static void believes_no_damaged_index(void **state)
{
    static struct store_place places[INDEXED];
    struct store_world w;
    struct spool_index index;
    uint8_t octet;
    size_t len;
    int fd;

    (void)state;
    store_world_begin(&w);
    put_many(&w, places);
    assert_int_equal(spool_index_refresh(w.store, 1, now_s(&w) + 1000), 0);
    assert_int_equal(spool_index_read(w.store, 1, &index), 0);
    len = index.len;
    spool_index_free(&index);
    fd = disk_open_append(path_of(&w, "queue/000001/index"));
    for (size_t i = 0; i < len; i += i < 90 ? 1 : 37) {
        bool is_unused = (i >= 12 && i < 16) || (i >= 24 && i < 56);
        assert_int_equal(disk_read_at(fd, i, &octet, 1), 0);
        octet ^= 4;
        assert_int_equal(disk_write_at(fd, i, bytes_make(&octet, 1)), 0);
        lib_same_number(i, is_unused ? "an unused octet" : "a damaged octet", ERR_SYNTAX,
                        spool_index_read(w.store, 1, &index));
        octet ^= 4;
        assert_int_equal(disk_write_at(fd, i, bytes_make(&octet, 1)), 0);
    }
    assert_int_equal(spool_index_read(w.store, 1, &index), 0);
    spool_index_free(&index);
    for (size_t i = len - 1; i > 0; i -= i < 100 || i > len - 30 ? 1 : 37) {
        assert_int_equal(disk_truncate(fd, i), 0);
        lib_same_number(i, "a short one", ERR_SYNTAX, spool_index_read(w.store, 1, &index));
    }
    lib_end_rows();
    disk_close(fd);
    store_world_end(&w);
}

/* ---- shortage ---- */

struct shortage {
    struct store_world w;
    struct store_place place;
};

static bool run_short_of_memory(void *given)
{
    struct shortage *s = given;
    struct store *store;
    struct spool_message message;
    struct spool_index index = {0};
    int error = 0, fd;

    store = store_open(s->w.loop, bytes_of(s->w.directory), NULL, &error);
    assert_true((store == NULL) == (error != 0));
    store_free(&store);
    arena_reset(&s->w.arena);
    if (error == 0)
        error = store_world_list(&s->w, &text);
    if (error == 0)
        error = spool_index_forget(s->w.store, 1);
    if (error == 0)
        error = spool_index_refresh(s->w.store, 1, now_s(&s->w) + 1000);
    if (error == 0)
        error = spool_index_read(s->w.store, 1, &index);
    if (error == 0)
        error = spool_index_find(&index, &s->place.id, &s->w.arena, &message);
    spool_index_free(&index);
    if (error == 0) {
        fd = disk_open_read(message_path(&s->w, &s->place));
        error = store_world_read(fd, &s->place.id, &s->w.arena, &message);
        disk_close(fd);
    }
    if (error != 0)
        assert_int_equal(error, ERR_MEMORY);
    return error == 0;
}

static void survives_shortage(void **state)
{
    static struct store_place places[INDEXED];
    struct shortage s;

    (void)state;
    store_world_begin(&s.w);
    put_many(&s.w, places);
    s.place = places[INDEXED - 1];
    assert_true(lib_fail_each_allocation(run_short_of_memory, &s) > 5);
    store_world_end(&s.w);
}

/* One at work is no crash; one that closed its file without a word is, and that is told once. */
static void marks_who_is_at_work(void **state)
{
    static const struct id first = {.text = "06H4TZ0BC00F3X01"},
                           second = {.text = "06H4TZ0BC00F3X02"};
    struct store_world w;
    bool was_left = true;
    int one, two;

    (void)state;
    store_world_begin(&w);
    one = store_mark(w.store, &first, &was_left);
    assert_true(one >= 0 && !was_left);
    two = store_mark(w.store, &second, &was_left);
    assert_true(two >= 0 && !was_left);
    store_unmark(w.store, &first, one);
    disk_close(two);
    one = store_mark(w.store, &first, &was_left);
    assert_true(one >= 0 && was_left);
    two = store_mark(w.store, &second, &was_left);
    assert_true(two >= 0 && !was_left);
    store_unmark(w.store, &first, one);
    store_unmark(w.store, &second, two);
    assert_int_equal(disk_remove_directory(path_of(&w, "running")), 0);
    store_world_end(&w);
}

#ifndef SETUP
#define SETUP NULL
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commits),
        cmocka_unit_test(commits_what_has_begun),
        cmocka_unit_test(commits_a_name_once),
        cmocka_unit_test(makes_the_directory_again),
        cmocka_unit_test(is_taken_once),
        cmocka_unit_test(appends_behind_what_is_whole),
        cmocka_unit_test(sees_damage),
        cmocka_unit_test(moves),
        cmocka_unit_test(lists_in_order),
        cmocka_unit_test(removes_what_nobody_fills),
        cmocka_unit_test(makes_the_next_directory),
        cmocka_unit_test(keeps_an_index),
        cmocka_unit_test(believes_no_damaged_index),
        cmocka_unit_test(survives_shortage),
        cmocka_unit_test(marks_who_is_at_work),
    };

    return cmocka_run_group_tests(tests, SETUP, NULL);
}
