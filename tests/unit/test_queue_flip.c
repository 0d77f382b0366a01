/* SPDX-License-Identifier: BSD-2-Clause */
/* One bit of a spool file flips, whichever: what a runner does then neither loses the message nor
 * delivers what was not sent. First the store alone, bit by bit; then all of a runner, for a part
 * of the bits. And what says by then that it is held is not delivered. */
/* needs: tests/unit/store_world.c shell proxy/io/copy.c proxy/io/copy_file.c */
/* needs: proxy/io/copy_room.c sim */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "proxy/base/error.h"
#include "proxy/config/config.h"
#include "proxy/io/disk.h"
#include "proxy/worker.h"
#include "tests/sim/sim.h"
#include "tests/sim/stage.h"
#include "tests/unit/store_world.h"

#define RECIPIENTS 3

/* ---- the message ---- */

static const char *const names[RECIPIENTS] = {"ann", "bob", "cat"};

/* What has come of it: a target has taken it for the first recipient, put off the second one, and
 * was not asked for the third. `last`: which of that was written last. */
enum last { TAKEN_LAST, PUT_OFF_LAST };

struct written {
    struct store_place place;
    uint64_t records_at, last_at, bytes; /* of the file */
};

static uint8_t octet_of(uint64_t at, size_t body_bytes)
{
    if (at + 2 >= body_bytes)
        return at + 1 == body_bytes ? '\n' : '\r';
    return (uint8_t)('a' + store_world_octet(at) % 26);
}

static void put_first(struct store_world *w, struct written *f, size_t body_bytes)
{
    struct store_world_message m;
    struct spool_recipient r[RECIPIENTS];
    struct spool_view own = {.view.lines = bytes_of("B: 2\r\n"), .is_in_front = true};
    struct spool_message message = {.listener = bytes_of("in"),
                                    .view = {.lines = bytes_of("A: 1\r\n"), .end = VIEW_TO_END},
                                    .views = &own,
                                    .view_count = 1,
                                    .recipient_count = RECIPIENTS};

    store_world_make(w, &m, body_bytes);
    for (size_t i = 0; i < m.image.piece_count; i++)
        for (size_t j = 0; j < m.pieces[i].len; j++)
            ((uint8_t *)(uintptr_t)m.pieces[i].at)[j] =
                octet_of(i * STORE_WORLD_CHUNK + j, body_bytes);
    buf_reset(&m.records);
    f->records_at = spool_records_at(&(struct spool_head){.body_bytes = body_bytes});
    struct spool_writer writer = {.id = m.place.id, .at = f->records_at, .out = &m.records};
    message.envelope.id = m.place.id;
    message.arrived_ms = loop_wall_ms(w->loop);
    message.envelope.from =
        (struct address){.local = bytes_of("joe"), .domain = bytes_of("example.org")};
    spool_put_message(&writer, &message);
    for (int i = 0; i < RECIPIENTS; i++) {
        r[i] = (struct spool_recipient){.target = bytes_of("box"), .view = i == 1};
        r[i].original.local = bytes_of(names[i]);
        r[i].original.domain = bytes_of("box.test");
        r[i].to = r[i].original;
        spool_put_recipient(&writer, &r[i]);
    }
    assert_int_equal(store_commit(w->store, &m.image, &m.place, buf_bytes(&m.records)), 0);
    f->place = m.place;
    store_world_done(&m);
}

static void add_outcome(struct store_world *w, struct written *f, uint32_t index, enum fate fate)
{
    struct spool_message message;
    struct spool_recipient r = {.fate = fate, .tries = 1, .reply = bytes_of("250 2.0.0 or 451")};
    struct spool_writer writer = {.id = f->place.id};
    struct buf records;
    int fd;

    assert_int_equal(store_take(w->store, &f->place, &fd), 0);
    arena_reset(&w->arena);
    assert_int_equal(store_read(fd, &f->place.id, &w->arena, &message), 0);
    buf_init(&records, &w->pool, 10000);
    writer.out = &records;
    writer.at = f->last_at = message.records_end;
    spool_put_outcome(&writer, index, &r);
    f->bytes = f->last_at + buf_length(&records);
    assert_int_equal(store_append(fd, message.records_end, buf_bytes(&records)), 0);
    buf_done(&records);
    disk_close(fd);
}

static void put(struct store_world *w, struct written *f, size_t body_bytes, enum last last)
{
    put_first(w, f, body_bytes);
    if (last == TAKEN_LAST) {
        add_outcome(w, f, 1, FATE_DEFERRED);
        add_outcome(w, f, 0, FATE_ACCEPTED);
    } else {
        add_outcome(w, f, 0, FATE_ACCEPTED);
        add_outcome(w, f, 1, FATE_DEFERRED);
    }
}

/* ---- the store alone ---- */

/* What is read of it is all true, or the last record is missing; or it is found damaged. */
static int judge(struct store_world *w, const struct written *f, size_t body_bytes)
{
    static uint8_t body[300000];
    struct spool_message m;
    int fd, error = store_take(w->store, &f->place, &fd);

    assert_int_equal(error, 0);
    arena_reset(&w->arena);
    error = store_read(fd, &f->place.id, &w->arena, &m);
    if (error == 0)
        error = store_read_body(fd, &m.head, 0, body, body_bytes);
    disk_close(fd);
    if (error != 0)
        return error;
    assert_int_equal(m.head.body_bytes, body_bytes);
    for (size_t i = 0; i < body_bytes; i++)
        if (body[i] != octet_of(i, body_bytes))
            fail_msg("octet %zu is not what was sent", i);
    for (int i = 0; i < RECIPIENTS; i++) {
        assert_true(bytes_is(m.recipients[i].to.local, names[i]));
        assert_int_equal(m.recipients[i].view, i == 1);
    }
    assert_true(bytes_is(m.view.lines, "A: 1\r\n") && m.view.at == 0 && m.view.end == VIEW_TO_END &&
                m.view_count == 1 && bytes_is(m.views[0].view.lines, "B: 2\r\n"));
    assert_int_equal(m.recipients[2].fate, FATE_OPEN);
    if (!m.has_torn_end) {
        assert_int_equal(m.recipients[0].fate, FATE_ACCEPTED);
        assert_int_equal(m.recipients[1].fate, FATE_DEFERRED);
    }
    return m.has_torn_end ? -EAGAIN : 0;
}

/* Of a small file all bits; of a large one all but most of the body. */
static bool is_tried(const struct written *f, uint64_t bit)
{
    uint64_t at = bit / 8, in_block = (at - SPOOL_HEAD_BYTES) % STORE_WORLD_CHUNK;

    return at < SPOOL_HEAD_BYTES || at >= f->records_at - 16 || f->bytes < 10000 || in_block < 2 ||
           in_block >= STORE_WORLD_CHUNK - 2 || bit % 20011 == 0;
}

static void finds_each_bit(void **state)
{
    static const size_t sizes[] = {0, 5, 300, 65536, 70001, 200000};

    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_LENGTH(sizes); i++) {
        size_t size = sizes[i / 2];
        struct sim *world = sim_new(i + 1);
        struct store_world w;
        struct written f;
        char path[128];

        store_world_begin(&w);
        put(&w, &f, size, i % 2 == 0 ? TAKEN_LAST : PUT_OFF_LAST);
        snprintf(path, sizeof(path), "%s/queue/%06u/%s", w.directory, (unsigned)f.place.directory,
                 f.place.id.text);
        assert_int_equal(judge(&w, &f, size), 0);
        for (uint64_t bit = 0; bit < 8 * f.bytes; bit++) {
            uint64_t at = bit / 8;
            bool is_unused = at >= SPOOL_HEAD_BYTES + size && at < f.records_at;
            if (!is_tried(&f, bit))
                continue;
            assert_true(sim_file_flip(world, path, bit));
            int error = judge(&w, &f, size);
            assert_true(sim_file_flip(world, path, bit));
            bool is_right = is_unused         ? error == 0
                            : at >= f.last_at ? error == -EAGAIN
                                              : store_is_damaged(error);
            if (!is_right && !lib_same_number(bit, "what the bit led to", 0, error))
                break;
        }
        assert_int_equal(judge(&w, &f, size), 0);
        store_world_end(&w);
        sim_free(&world);
    }
    lib_end_rows();
}

/* The file of another message under this one's name. */
static void knows_its_name(void **state)
{
    struct sim *world = sim_new(1);
    struct store_world w;
    struct written first, second;
    char from[128], to[128];

    (void)state;
    store_world_begin(&w);
    put(&w, &first, 100, TAKEN_LAST);
    put(&w, &second, 100, TAKEN_LAST);
    snprintf(from, sizeof(from), "%s/queue/000001/%s", w.directory, first.place.id.text);
    snprintf(to, sizeof(to), "%s/queue/000001/%s", w.directory, second.place.id.text);
    assert_int_equal(disk_replace(from, to), 0);
    assert_int_equal(judge(&w, &second, 100), ERR_SYNTAX);
    store_world_end(&w);
    sim_free(&world);
}

/* ---- all of a runner ---- */

static const struct config *config;

struct life {
    struct written file;
    size_t body_bytes;
    enum last last;
    bool is_held; /* by another generation, once it is known */
    bool is_over;
};

static int prepare(void *owner)
{
    struct life *life = owner;
    struct store_world w = {.directory = STAGE_SPOOL, .ids = {.process = 77}};

    disk_make_directories(STAGE_SPOOL);
    pool_init(&w.pool, 4096, 4);
    arena_init(&w.arena, &w.pool, 1 << 20);
    w.loop = loop_new();
    assert_int_equal(store_world_open(&w), 0);
    put(&w, &life->file, life->body_bytes, life->last);
    store_world_close(&w);
    arena_reset(&w.arena);
    pool_done(&w.pool);
    loop_free(&w.loop);
    return 0;
}

static int serve(void *owner)
{
    (void)owner;
    return stage_run(config);
}

static const char *path_of(const struct life *life, const char *folder)
{
    static char path[128];

    snprintf(path, sizeof(path), "%s/%s/%s", STAGE_SPOOL, folder, life->file.place.id.text);
    return path;
}

/* The record is there; the other one has not come to moving the file. */
static void say_held(const struct life *life)
{
    struct spool_writer writer = {.id = life->file.place.id, .at = life->file.bytes};
    struct buf records;
    struct pool pool;
    int fd = disk_open_append(path_of(life, "queue/000001"));

    pool_init(&pool, 4096, 1);
    buf_init(&records, &pool, 1000);
    writer.out = &records;
    spool_put_hold(&writer, &(struct spool_message){.is_held = true});
    assert_int_equal(disk_write_at(fd, writer.at, buf_bytes(&records)), 0);
    disk_close(fd);
    buf_done(&records);
    pool_done(&pool);
}

/* After an hour all was tried that is due. */
static bool on_quiet(void *owner)
{
    struct life *life = owner;

    if (life->is_over)
        sim_signal(sim_current(), SIGTERM);
    else
        sim_wait(sim_current(), 3600000);
    if (!life->is_over && life->is_held)
        say_held(life);
    if (life->is_over)
        sim_on_quiet(sim_current(), NULL, NULL);
    life->is_over = true;
    return true;
}

/* How many files of that mailbox hold just what was sent; others are a fault. */
static unsigned copies_of(struct sim *world, const char *name, size_t body_bytes)
{
    unsigned count = 0;
    char directory[64];
    const char *path;

    snprintf(directory, sizeof(directory), "/mail/%s/new", name);
    for (; (path = sim_file_below(world, directory, count)) != NULL; count++) {
        struct bytes octets, body;
        assert_true(sim_file(world, path, &octets));
        assert_true(octets.len >= body_bytes - 1); /* its line ends with LF there */
        body = bytes_skip(octets, octets.len - (body_bytes - 1));
        for (size_t i = 0; i + 2 < body_bytes; i++)
            if (body.at[i] != octet_of(i, body_bytes))
                fail_msg("octet %zu is not what was sent", i);
    }
    return count;
}

static void deliver(size_t body_bytes, enum last last, uint64_t bit, uint64_t *bits_out)
{
    struct sim *world = sim_new(1);
    struct life life = {.body_bytes = body_bytes, .last = last};
    int code;

    assert_true(sim_process(world, prepare, &life, &code));
    *bits_out = 8 * life.file.bytes;
    if (bit != UINT64_MAX)
        assert_true(sim_file_flip(world, path_of(&life, "queue/000001"), bit));
    sim_on_quiet(world, on_quiet, &life);
    assert_true(sim_process(world, serve, &life, &code));
    assert_int_equal(code, 0);

    struct bytes log = sim_log(world), octets;
    bool is_bad = sim_file(world, path_of(&life, "bad"), &octets);
    bool is_last = bit != UINT64_MAX && bit / 8 >= life.file.last_at;
    unsigned ann = copies_of(world, "ann", body_bytes), bob = copies_of(world, "bob", body_bytes),
             cat = copies_of(world, "cat", body_bytes);
    bool is_told_bad = memmem(log.at, log.len, "moved to bad/", 13) != NULL;
    bool is_told_torn = memmem(log.at, log.len, "duplicate=possible", 18) != NULL;
    if (is_bad) {
        lib_is_true(bit, "nothing of a bad one", ann + bob + cat == 0 && is_told_bad);
    } else {
        lib_is_true(bit, "once to who is left", cat == 1 && bob == 1);
        lib_is_true(bit, "none to who has it, or a duplicate that is logged",
                    ann == 0 || (ann == 1 && is_last && last == TAKEN_LAST));
        lib_is_true(bit, "a torn end is told", is_told_torn == is_last);
    }
    sim_free(&world);
}

static struct config *boxes(void)
{
    struct config *made = stage_config("[smtpd \"mx.test\"]\nlisten-port = 192.0.2.1:25\n"
                                       "[maildir \"box\"]\npath = /mail/${RCPT_LOCAL}\n"
                                       "[route]\n@box.test box\n");
    assert_non_null(made);
    config = made;
    return made;
}

static void delivers_nothing_else(void **state)
{
    static const struct {
        size_t body_bytes;
        enum last last;
        uint64_t step;
    } rows[] = {{300, TAKEN_LAST, 13}, {300, PUT_OFF_LAST, 29}, {70001, TAKEN_LAST, 9001}};
    struct config *made = boxes();

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        uint64_t bits;

        deliver(rows[i].body_bytes, rows[i].last, UINT64_MAX, &bits);
        for (uint64_t bit = 0; bit < bits; bit += rows[i].step)
            deliver(rows[i].body_bytes, rows[i].last, bit, &bits);
    }
    config_free(&made);
    lib_end_rows();
}

static void delivers_nothing_that_is_held(void **state)
{
    struct config *made = boxes();
    struct sim *world = sim_new(1);
    struct life life = {.body_bytes = 300, .is_held = true};
    struct bytes octets;
    int code;

    (void)state;
    assert_true(sim_process(world, prepare, &life, &code));
    sim_on_quiet(world, on_quiet, &life);
    assert_true(sim_process(world, serve, &life, &code));
    assert_null(sim_file_below(world, "/mail", 0));
    assert_true(sim_file(world, path_of(&life, "hold"), &octets));
    assert_false(sim_file(world, path_of(&life, "queue/000001"), &octets));
    sim_free(&world);
    config_free(&made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_each_bit),
        cmocka_unit_test(knows_its_name),
        cmocka_unit_test(delivers_nothing_else),
        cmocka_unit_test(delivers_nothing_that_is_held),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
