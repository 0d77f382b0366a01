/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of states in spool/README.md: the disk fails, the process dies, the power is cut, at
 * each call that touches a file. What was acknowledged must be there, and whole. */
/* needs: tests/unit/store_world.c spool/store.c spool/store_list.c spool/store_message.c */
/* needs: spool/store_commit.c spool/store_draft.c spool/store_rewrite.c spool/spool_index.c sim */
/* needs: spool/store_own.c spool/store_path.c */
#include <errno.h>
#include <stdio.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/disk.h"
#include "spool/spool_index.h"
#include "tests/sim/sim.h"
#include "tests/unit/store_world.h"

/* ---- the disk fails ---- */

/* Everything that was asked of the disk from the nth call on failed: was it the file that could
 * not be synced, or its directory? Then it must never be in the queue. */
static bool is_final(enum sim_disk_call call)
{
    return call == SIM_DISK_SYNC;
}

static void try_commit(enum sim_disk_call call, uint64_t nth, bool prepares, bool *has_failed_out)
{
    static struct lib_text seen;
    struct sim *world = sim_new(nth);
    struct store_world w;
    struct store_world_message m;
    struct spool_message message;
    int error = 0, again;

    store_world_begin(&w);
    store_world_make(&w, &m, 70000);
    sim_disk_fail(world, call, nth, -EIO);
    if (prepares)
        error = store_prepare(&m.image);
    if (error == 0)
        error = store_commit(w.store, &m.image, &m.place, buf_bytes(&m.records));
    sim_disk_fail(world, call, 0, 0);

    assert_int_equal(store_world_list(&w, &seen), 0);
    assert_true(error == 0 || error == -EIO);
    assert_true((seen.len != 0) == (error == 0));
    again = store_commit(w.store, &m.image, &m.place, buf_bytes(&m.records));
    store_world_done(&m);
    assert_int_equal(again, error == 0 ? -EEXIST : is_final(call) ? -EIO : 0);
    assert_int_equal(store_world_look(&w, &m.place, 70000, &message),
                     error == 0 || again == 0 ? 0 : -ENOENT);
    assert_int_equal(sim_open_files(world), 1); /* the owner's */
    store_world_end(&w);
    sim_free(&world);
    *has_failed_out = error != 0;
}

static void fails_as_a_whole(void **state)
{
    static const struct {
        enum sim_disk_call call;
        uint64_t calls, prepared_calls; /* at least so many that can fail */
    } rows[] = {{SIM_DISK_OPEN, 1, 1},
                {SIM_DISK_WRITE, 3, 3},
                {SIM_DISK_SYNC, 2, 3},
                {SIM_DISK_NAME, 1, 1}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        for (int prepares = 0; prepares < 2; prepares++) {
            bool has_failed = true;
            uint64_t nth = 0;

            while (has_failed)
                try_commit(rows[i].call, ++nth, prepares == 1, &has_failed);
            lib_is_true(i, "calls that can fail",
                        nth > (prepares == 1 ? rows[i].prepared_calls : rows[i].calls));
        }
    }
    lib_end_rows();
}

/* ---- the disk fails, later ---- */

static int try_append(struct store_world *w, const struct store_place *place)
{
    struct spool_writer writer = {.id = place->id};
    struct spool_message message;
    struct buf records;
    int fd, error = store_take(w->store, place, &fd);

    if (error != 0)
        return error;
    arena_reset(&w->arena);
    error = store_world_read(fd, &place->id, &w->arena, &message);
    if (error == 0) {
        buf_init(&records, &w->pool, 1000);
        writer.out = &records;
        writer.at = message.records_end;
        spool_put_warned(&writer, 0);
        error = store_append(fd, message.records_end, buf_bytes(&records));
        error = error == 0 ? disk_sync(fd) : error;
        buf_done(&records);
    }
    disk_close(fd);
    return error;
}

static int try_rewrite(struct store_world *w, const struct store_place *place)
{
    struct spool_message message;
    struct store_taken taken = {0};
    struct store_change change = {.place = place, .message = &message};
    int before, error = store_take(w->store, place, &before);

    if (error != 0)
        return error;
    arena_reset(&w->arena);
    taken.fd = before;
    error = store_world_read(before, &place->id, &w->arena, &message);
    if (error == 0)
        error = store_rewrite(w->store, &change, &taken);
    assert_true(error != 0 || taken.fd != before);
    if (taken.fd != before)
        disk_close(taken.fd);
    disk_close(before);
    return error;
}

static int try_moves(struct store_world *w, const struct store_place *place)
{
    struct store_place there;
    int error = store_move(w->store, place, STORE_HOLD, 0, &there);

    return error == 0 ? store_move(w->store, &there, STORE_QUEUE, 3, &there) : error;
}

static int try_index(struct store_world *w, const struct store_place *place)
{
    int64_t later_s = loop_wall_ms(w->loop) / 1000 + 1000;
    struct spool_index index = {0};
    int error = spool_index_refresh(w->store, place->directory, later_s);

    if (error == 0)
        error = spool_index_read(w->store, place->directory, &index);
    spool_index_free(&index);
    return error == 0 || error == -ENOENT ? spool_index_forget(w->store, place->directory) : error;
}

static int try_open(struct store_world *w, const struct store_place *place)
{
    int error = 0;
    struct store *second = store_open(w->loop, bytes_of(w->directory), NULL, &error);

    (void)place;
    assert_true((second == NULL) == (error != 0));
    store_free(&second);
    return error;
}

static int try_list(struct store_world *w, const struct store_place *place)
{
    static struct lib_text seen;
    int error = store_world_list(w, &seen);

    if (error == 0 && strstr(seen.at, "unread") != NULL)
        error = -EIO;
    return error == 0 ? store_sync(w->store, place->directory) : error;
}

static unsigned count_of(const struct lib_text *seen, const struct store_place *place)
{
    unsigned count = 0;

    for (const char *at = seen->at; (at = strstr(at, place->id.text)) != NULL; at++)
        count++;
    return count;
}

/* Whatever fails, the message lies in one place, whole; one that is being moved, in both perhaps.
 */
static bool keeps_it(int (*act)(struct store_world *w, const struct store_place *place),
                     enum sim_disk_call call, uint64_t nth)
{
    static struct lib_text seen;
    struct sim *world = sim_new(nth);
    struct store_world w;
    struct store_place place;
    int error;

    store_world_begin(&w);
    for (int i = act == try_index ? 0 : 119; i < 120; i++)
        assert_int_equal(store_world_put(&w, 500, &place), 0);
    sim_disk_fail(world, call, nth, -EIO);
    error = act(&w, &place);
    sim_disk_fail(world, call, 0, 0);
    assert_true(error == 0 || error == -EIO);
    assert_int_equal(sim_open_files(world), 1);
    assert_int_equal(store_world_list(&w, &seen), 0);
    unsigned count = count_of(&seen, &place);
    assert_true(count == 1 || (count == 2 && act == try_moves && error != 0));
    assert_null(strstr(seen.at, "stray"));
    store_world_end(&w);
    sim_free(&world);
    return error == 0;
}

static void keeps_what_is_there(void **state)
{
    static int (*const acts[])(struct store_world * w, const struct store_place *place) = {
        try_append, try_rewrite, try_moves, try_index, try_open, try_list};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(acts); i++) {
        unsigned failures = 0;
        for (int call = 0; call < SIM_DISK_CALLS; call++)
            for (uint64_t nth = 1; !keeps_it(acts[i], (enum sim_disk_call)call, nth); nth++)
                failures++;
        lib_is_true(i, "calls that can fail", failures > 3);
    }
    lib_end_rows();
}

/* ---- the process dies, the power is cut ---- */

/* BORN is held from its beginning; TWIN is committed beside it, with the same body. */
enum { PLAIN, PREPARED, CHANGED, REWRITTEN, HELD, MOVED, RELEASED, REMOVED, BORN, TWIN, LAST, ALL };

/* What the world outside was told; outlives the process. */
struct told {
    struct store_place places[ALL];
    bool is_committed[ALL]; /* 250 */
    bool is_changed, is_rewritten, is_held, is_moved, is_released, is_removing;
};

static uint8_t body[70000];

static size_t length_of(int which)
{
    return which == PLAIN || which == PREPARED ? sizeof(body) : 300;
}

static void put_records(struct store_world *w, struct buf *records, const struct id *id,
                        uint64_t body_bytes, bool is_held)
{
    struct spool_writer writer = {
        .id = *id,
        .at = spool_records_at(&(struct spool_head){.body_bytes = body_bytes}),
        .out = records};
    struct spool_message message = {.view = view_whole(), .is_held = is_held, .recipient_count = 2};
    struct spool_recipient recipient = {.target = bytes_of("exchange")};

    buf_init(records, &w->pool, 1 << 20);
    spool_put_message(&writer, &message);
    for (int i = 0; i < 2; i++)
        spool_put_recipient(&writer, &recipient);
}

static void commit_twin(struct store_world *w, struct told *told, const struct copy_image *of)
{
    struct id id = id_next(&w->ids, 1700000000000);
    struct buf records;

    told->places[TWIN] = store_next_place(w->store, &id);
    put_records(w, &records, &id, of->length, false);
    assert_int_equal(store_commit_again(w->store, of, &told->places[TWIN], buf_bytes(&records)), 0);
    told->is_committed[TWIN] = true;
    buf_done(&records);
}

static void commit(struct store_world *w, struct told *told, int which)
{
    struct bytes all = bytes_make(body, length_of(which));
    struct bytes pieces[] = {bytes_first(all, STORE_WORLD_CHUNK), {NULL, 0}};
    struct copy_image image = {.fd = -1,
                               .length = all.len,
                               .pieces = pieces,
                               .piece_count = all.len > STORE_WORLD_CHUNK ? 2 : 1,
                               .drafts = store_drafts(w->store)};
    struct id id = id_next(&w->ids, 1700000000000);
    struct buf records;

    pieces[1] = bytes_skip(all, pieces[0].len);
    told->places[which] = which == BORN ? (struct store_place){.id = id, .folder = STORE_HOLD}
                                        : store_next_place(w->store, &id);
    put_records(w, &records, &id, all.len, which == BORN);
    if (which == PREPARED)
        assert_int_equal(store_prepare(&image), 0);
    assert_int_equal(store_commit(w->store, &image, &told->places[which], buf_bytes(&records)), 0);
    told->is_committed[which] = true;
    if (which == BORN)
        commit_twin(w, told, &image);
    draft_close(image.drafts, image.fd);
    buf_done(&records);
}

static void change(struct store_world *w, struct told *told)
{
    struct spool_message message;
    struct spool_writer writer = {.id = told->places[CHANGED].id};
    struct buf records;
    int fd;

    assert_int_equal(store_world_look(w, &told->places[CHANGED], length_of(CHANGED), &message), 0);
    buf_init(&records, &w->pool, 1000);
    writer.out = &records;
    writer.at = message.records_end;
    spool_put_warned(&writer, 1);
    assert_int_equal(store_take(w->store, &told->places[CHANGED], &fd), 0);
    assert_int_equal(store_append(fd, message.records_end, buf_bytes(&records)), 0);
    assert_int_equal(disk_sync(fd), 0);
    told->is_changed = true;
    buf_done(&records);
    disk_close(fd);
}

/* The state of the message is what the new file says, whatever stood in the old one. */
static void rewrite(struct store_world *w, const struct store_place *place, bool *is_told)
{
    struct spool_message message;
    struct store_taken taken = {0};
    const struct store_change change = {.place = place, .message = &message};
    int before;

    assert_int_equal(store_take(w->store, place, &before), 0);
    arena_reset(&w->arena);
    assert_int_equal(store_world_read(before, &place->id, &w->arena, &message), 0);
    message.recipients[1].is_warned = true;
    taken.fd = before;
    assert_int_equal(store_rewrite(w->store, &change, &taken), 0);
    *is_told = true;
    disk_close(before);
    disk_close(taken.fd);
}

static void rewrite_both(struct store_world *w, struct told *told)
{
    struct store_place there;

    rewrite(w, &told->places[REWRITTEN], &told->is_rewritten);
    assert_int_equal(store_move(w->store, &told->places[HELD], STORE_HOLD, 0, &there), 0);
    rewrite(w, &there, &told->is_held);
}

static void move(struct store_world *w, struct told *told)
{
    struct store_place there;

    assert_int_equal(store_move(w->store, &told->places[MOVED], STORE_HOLD, 0, &there), 0);
    told->is_moved = true;
    assert_int_equal(store_move(w->store, &told->places[RELEASED], STORE_HOLD, 0, &there), 0);
    assert_int_equal(store_move(w->store, &there, STORE_QUEUE, 99, &there), 0);
    told->is_released = true;
}

static int live(void *owner)
{
    struct told *told = owner;
    struct store_world w;

    store_world_enter(&w);
    for (int i = 0; i < TWIN; i++)
        commit(&w, told, i);
    change(&w, told);
    rewrite_both(&w, told);
    move(&w, told);
    told->is_removing = true;
    assert_int_equal(store_remove(w.store, &told->places[REMOVED]), 0);
    assert_int_equal(store_sync(w.store, told->places[REMOVED].directory), 0);
    commit(&w, told, LAST);
    return store_world_leave(&w);
}

/* ---- what is left ---- */

struct check {
    struct store_world w;
    const struct told *told;
    unsigned seen[ALL];
};

static bool keep_found(void *owner, const struct store_found *found)
{
    struct check *c = owner;
    struct spool_message message;
    int which = 0;

    assert_null(found->stray);
    while (which < ALL && strcmp(c->told->places[which].id.text, found->place.id.text) != 0)
        which++;
    assert_true(which < ALL);
    c->seen[which]++;
    assert_int_equal(store_world_look(&c->w, &found->place, length_of(which), &message), 0);
    if ((which == CHANGED && c->told->is_changed) ||
        (which == REWRITTEN && c->told->is_rewritten) || (which == HELD && c->told->is_held))
        assert_true(message.recipients[1].is_warned);
    assert_true(message.is_held == (which == BORN));
    if (which == BORN || (which == HELD && c->told->is_held) ||
        (which == MOVED && c->told->is_moved))
        assert_int_equal(found->place.folder, STORE_HOLD);
    if (which == RELEASED && c->told->is_released)
        assert_int_equal(found->place.folder, STORE_QUEUE);
    return true;
}

/* In how many places it may lie at most. */
static unsigned most_of(const struct told *told, int which)
{
    bool is_moving = (which == HELD && !told->is_held) || (which == MOVED && !told->is_moved) ||
                     (which == RELEASED && !told->is_released);
    return is_moving ? 2 : 1;
}

static int look(void *owner)
{
    struct check c = {.told = owner};

    store_world_enter(&c.w);
    assert_int_equal(store_list(c.w.store, keep_found, &c), 0);
    for (int i = 0; i < ALL; i++) {
        bool must_be_there = c.told->is_committed[i] && (i != REMOVED || !c.told->is_removing);
        if (c.seen[i] > most_of(c.told, i) || (c.seen[i] == 0 && must_be_there))
            fail_msg("message %d was seen %u times", i, c.seen[i]);
    }
    return store_world_leave(&c.w);
}

/* False: it came to its end before it could be killed. */
static bool die(uint64_t nth, uint64_t seed)
{
    struct sim *world = sim_new(seed);
    static struct told told;
    int code;
    bool is_killed;

    told = (struct told){0};
    if (seed % 2 == 0)
        sim_disk_without_unnamed(world);
    sim_kill_at_call(world, nth);
    is_killed = !sim_process(world, live, &told, &code);
    if (seed != 1)
        sim_power_cut(world);
    assert_true(sim_process(world, look, &told, &code));
    assert_null(sim_file_below(world, "/spool/tmp", 0));
    sim_free(&world);
    return is_killed;
}

static void keeps_what_was_acknowledged(void **state)
{
    uint64_t nth = 1;

    (void)state;
    for (size_t i = 0; i < sizeof(body); i++)
        body[i] = store_world_octet(i);
    for (bool is_killed = true; is_killed; nth++)
        for (uint64_t seed = 1; seed <= 16; seed++)
            is_killed = die(nth, seed);
    assert_true(nth > 80);
}

static int live_moving(void *owner)
{
    struct told *told = owner;
    struct store_place there;
    struct store_world w;

    store_world_enter(&w);
    commit(&w, told, MOVED);
    assert_int_equal(store_move(w.store, &told->places[MOVED], STORE_HOLD, 0, &there), 0);
    told->is_moved = true;
    return store_world_leave(&w);
}

/* It dies; the next one sees a directory that is empty and removes it; the power is cut. */
static bool leave_empty(uint64_t nth, uint64_t seed)
{
    struct sim *world = sim_new(seed);
    static struct told told;
    int code;
    bool is_killed;

    told = (struct told){0};
    sim_kill_at_call(world, nth);
    is_killed = !sim_process(world, live_moving, &told, &code);
    assert_true(sim_process(world, look, &told, &code));
    sim_power_cut(world);
    assert_true(sim_process(world, look, &told, &code));
    sim_free(&world);
    return is_killed;
}

static void keeps_what_left_a_directory(void **state)
{
    uint64_t nth = 1;

    (void)state;
    for (bool is_killed = true; is_killed; nth++)
        for (uint64_t seed = 1; seed <= 16; seed++)
            is_killed = leave_empty(nth, seed);
    assert_true(nth > 20);
}

static int live_and_leave_one(void *owner)
{
    struct store_world w;

    store_world_enter(&w);
    commit(&w, owner, REMOVED);
    return store_world_leave(&w);
}

/* A listing finds the directory empty before the removal is synced. */
static int live_removing(void *owner)
{
    static struct lib_text seen;
    struct told *told = owner;
    struct store_world w;

    store_world_enter(&w);
    assert_int_equal(store_remove(w.store, &told->places[REMOVED]), 0);
    assert_int_equal(store_world_list(&w, &seen), 0);
    assert_int_equal(store_sync(w.store, told->places[REMOVED].directory), 0);
    return store_world_leave(&w);
}

static int look_for_nothing(void *owner)
{
    static struct lib_text seen;
    struct store_world w;

    (void)owner;
    store_world_enter(&w);
    assert_int_equal(store_world_list(&w, &seen), 0);
    assert_string_equal(seen.at, "");
    return store_world_leave(&w);
}

static void brings_back_nothing_that_was_synced(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 32; seed++) {
        struct sim *world = sim_new(seed);
        static struct told told;
        int code;

        assert_true(sim_process(world, live_and_leave_one, &told, &code));
        assert_true(sim_process(world, live_removing, &told, &code));
        sim_power_cut(world);
        assert_true(sim_process(world, look_for_nothing, NULL, &code));
        sim_free(&world);
    }
}

/* ---- a move whose directories could not be synced ---- */

static bool is_moved_after_failure(uint64_t nth)
{
    struct sim *world = sim_new(nth);
    struct store_world w;
    struct store_place place, there = {.folder = STORE_QUEUE};
    struct spool_message message;

    store_world_begin(&w);
    assert_int_equal(store_world_put(&w, 100, &place), 0);
    sim_disk_fail(world, SIM_DISK_SYNC, nth, -EIO);
    int error = store_move(w.store, &place, STORE_HOLD, 0, &there);
    sim_disk_fail(world, SIM_DISK_SYNC, 0, 0);
    if (there.folder != STORE_HOLD)
        assert_int_equal(store_move(w.store, &place, STORE_HOLD, 0, &there), 0);
    assert_int_equal(store_world_look(&w, &there, 100, &message), 0);
    store_world_end(&w);
    sim_free(&world);
    assert_true(error == 0 || error == -EIO);
    return error == 0;
}

static void finishes_a_move(void **state)
{
    uint64_t nth = 1;

    (void)state;
    while (!is_moved_after_failure(nth))
        nth++;
    assert_int_equal(nth, 3); /* both directories */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fails_as_a_whole),
        cmocka_unit_test(keeps_what_is_there),
        cmocka_unit_test(keeps_what_was_acknowledged),
        cmocka_unit_test(keeps_what_left_a_directory),
        cmocka_unit_test(brings_back_nothing_that_was_synced),
        cmocka_unit_test(finishes_a_move),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
