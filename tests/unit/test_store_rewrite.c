/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages whose records outgrow them, on a real disk: what is written anew says the same, and
 * whoever comes meanwhile finds the file that has the name. */
/* needs: tests/unit/store_world.c spool/store.c spool/store_commit.c spool/store_list.c */
/* needs: spool/store_draft.c spool/store_message.c spool/store_rewrite.c io */
/* needs: spool/store_own.c spool/store_path.c */
#include "spool/store.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/error.h"
#include "proxy/io/disk.h"
#include "tests/unit/store_world.h"

static struct lib_text text;

static char *path_of(const struct store_world *w, const struct store_place *place, const char *end)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/queue/%06u/%s%s", w->directory, (unsigned)place->directory,
             place->id.text, end);
    return path;
}

static uint64_t length_of(int fd)
{
    struct disk_facts facts;

    assert_int_equal(disk_facts_of(fd, &facts), 0);
    return facts.bytes;
}

/* ---- a message that is tried again and again ---- */

/* Of a message that is taken. */
struct trial {
    struct store_world *w;
    struct arena arena;
    struct store_place place;
    struct spool_message message;
    struct store_taken taken;
    unsigned rewrites;
};

static void begin(struct trial *t, struct store_world *w)
{
    *t = (struct trial){.w = w};
    store_world_begin(w);
    arena_init(&t->arena, &w->pool, SIZE_MAX);
}

static void end(struct trial *t)
{
    arena_reset(&t->arena);
    store_world_end(t->w);
}

/* The same spool, and other limits. */
static void open_with(struct store_world *w, uint64_t records_bytes)
{
    struct store_limits limits = {.directory_names = 100, .records_bytes = records_bytes};
    int error = 0;

    store_world_close(w);
    w->store = store_open(w->loop, bytes_of(w->directory), &limits, &error);
    assert_int_equal(error, 0);
}

static void take(struct trial *t)
{
    t->taken = (struct store_taken){0};
    assert_int_equal(store_take(t->w->store, &t->place, &t->taken.fd), 0);
    arena_reset(&t->arena);
    assert_int_equal(store_read(t->taken.fd, &t->place.id, &t->arena, &t->message), 0);
}

/* What the recipients from `first` on have to say is written. */
static int write_from(struct trial *t, uint32_t first, bool is_synced)
{
    struct buf records;
    struct spool_writer writer = {.id = t->place.id, .at = t->message.records_end, .out = &records};
    struct store_change change = {
        .place = &t->place, .message = &t->message, .is_synced = is_synced};
    int before = t->taken.fd, error;

    buf_init(&records, &t->w->pool, SPOOL_RECORDS_MAX);
    for (uint32_t i = first; i < t->message.recipient_count; i++)
        spool_put_outcome(&writer, i, &t->message.recipients[i]);
    change.records = buf_bytes(&records);
    error = store_change(t->w->store, &change, &t->taken);
    if (t->taken.fd != before) {
        t->rewrites++;
        disk_close(before);
    }
    buf_done(&records);
    return error;
}

static void put_large(struct store_world *w, struct store_place *place_out, uint32_t recipients)
{
    struct store_world_message m;
    struct spool_recipient recipient = {.target = bytes_of("exchange")};
    struct spool_message message = {.view = view_whole(), .recipient_count = recipients};

    store_world_make(w, &m, 5000);
    recipient.to.local = recipient.original.local = bytes_of("joe");
    recipient.to.domain = recipient.original.domain = bytes_of("example.com");
    struct spool_writer writer = {.id = m.place.id,
                                  .at = spool_records_at(&(struct spool_head){.body_bytes = 5000}),
                                  .out = &m.records};
    buf_reset(&m.records);
    spool_put_message(&writer, &message);
    for (uint32_t i = 0; i < recipients; i++)
        spool_put_recipient(&writer, &recipient);
    assert_int_equal(store_commit(w->store, &m.image, &m.place, buf_bytes(&m.records)), 0);
    *place_out = m.place;
    store_world_done(&m);
}

/* A target that puts all recipients off with long words, but for one each time. Whatever is
 * written, whoever reads next must see who has it: nobody gets it twice. */
static void knows_who_has_it(void **state)
{
    enum { RECIPIENTS = 400, ROUNDS = 24 };
    static char words[5000];
    struct store_world w;
    struct trial t;

    (void)state;
    memset(words, 'x', sizeof(words));
    begin(&t, &w);
    put_large(&w, &t.place, RECIPIENTS);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        take(&t);
        for (uint32_t i = 0; i < RECIPIENTS; i++) {
            struct spool_recipient *r = &t.message.recipients[i];
            assert_int_equal(r->fate == FATE_ACCEPTED, i < round);
            if (i < round)
                continue;
            r->tries++;
            r->fate = i == round ? FATE_ACCEPTED : FATE_DEFERRED;
            r->reply = bytes_make(words, spool_reply_max(RECIPIENTS));
        }
        assert_int_equal(write_from(&t, round, round % 2 == 0), 0);
        assert_true(length_of(t.taken.fd) < SPOOL_HEAD_BYTES + 5000 + SPOOL_RECORDS_MAX);
        disk_close(t.taken.fd);
    }
    assert_true(t.rewrites >= 2 && t.rewrites <= ROUNDS / 2);
    take(&t);
    for (uint32_t i = 0; i < RECIPIENTS; i++)
        assert_int_equal(t.message.recipients[i].tries, i < ROUNDS ? i + 1 : ROUNDS);
    disk_close(t.taken.fd);
    assert_int_equal(store_world_list(&w, &text), 0);
    assert_null(strstr(text.at, "stray"));
    end(&t);
}

/* Records that nobody writes are no end of the file. */
static void says_what_is_too_long(void **state)
{
    static uint8_t nothing[65536];
    struct store_world w;
    struct trial t;

    (void)state;
    begin(&t, &w);
    assert_int_equal(store_world_put(&w, 100, &t.place), 0);
    take(&t);
    for (uint64_t bytes = 0; bytes <= SPOOL_RECORDS_MAX; bytes += sizeof(nothing))
        assert_int_equal(disk_write_at(t.taken.fd, t.message.records_end + bytes,
                                       bytes_make(nothing, sizeof(nothing))),
                         0);
    assert_int_equal(store_read(t.taken.fd, &t.place.id, &w.arena, &t.message), -EFBIG);
    assert_true(store_is_damaged(-EFBIG));
    disk_close(t.taken.fd);
    end(&t);
}

/* Nor are they written: not where a new file would have no room for them either. */
static void writes_nothing_too_long(void **state)
{
    static char words[8000];
    struct store_world w;
    struct trial t;
    uint64_t length;

    (void)state;
    memset(words, 'x', sizeof(words));
    begin(&t, &w);
    put_large(&w, &t.place, 3000);
    take(&t);
    length = length_of(t.taken.fd);
    for (uint32_t i = 0; i < t.message.recipient_count; i++) {
        t.message.recipients[i].tries++;
        t.message.recipients[i].fate = FATE_DEFERRED;
        t.message.recipients[i].reply = bytes_make(words, sizeof(words));
    }
    struct store_change change = {
        .place = &t.place, .message = &t.message, .records = bytes_make(words, sizeof(words))};
    t.message.records_end += SPOOL_RECORDS_MAX;
    assert_int_equal(store_change(w.store, &change, &t.taken), -EFBIG);
    assert_int_equal(length_of(t.taken.fd), length);
    disk_close(t.taken.fd);
    end(&t);
}

static void is_in_proportion(void **state)
{
    static const struct {
        uint64_t records_bytes;
        size_t body_bytes;
        unsigned least, most; /* rewrites of 40 changes, 160 octets each */
    } rows[] = {{256 << 10, 100, 0, 0},
                {1, 100, 8, 16},
                {1, 20000, 1, 3},
                {1, 200000, 0, 0},
                {0, 200000, 40, 40}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct store_world w;
        struct trial t;

        begin(&t, &w);
        assert_int_equal(store_world_put(&w, rows[i].body_bytes, &t.place), 0);
        open_with(&w, rows[i].records_bytes);
        for (uint32_t round = 0; round < 40; round++) {
            take(&t);
            assert_int_equal(t.message.recipients[1].tries, round);
            for (uint32_t j = 0; j < 2; j++) {
                t.message.recipients[j].tries++;
                t.message.recipients[j].fate = FATE_DEFERRED;
                t.message.recipients[j].reply = bytes_of("451 4.3.0 not now");
            }
            assert_int_equal(write_from(&t, 0, false), 0);
            disk_close(t.taken.fd);
        }
        assert_int_equal(store_world_look(&w, &t.place, rows[i].body_bytes, &t.message), 0);
        lib_is_true(i, "rewrites", t.rewrites >= rows[i].least && t.rewrites <= rows[i].most);
        end(&t);
    }
    lib_end_rows();
}

/* A body that is damaged is not given a fresh file; what is to be said is added nevertheless. */
static void copies_no_damaged_body(void **state)
{
    struct store_world w;
    struct trial t;
    uint8_t octet;

    (void)state;
    begin(&t, &w);
    assert_int_equal(store_world_put(&w, 70000, &t.place), 0);
    open_with(&w, 0);
    take(&t);
    assert_int_equal(disk_read_at(t.taken.fd, 66000, &octet, 1), 0);
    octet ^= 1;
    assert_int_equal(disk_write_at(t.taken.fd, 66000, bytes_make(&octet, 1)), 0);
    t.message.recipients[0].tries = 7;
    assert_int_equal(write_from(&t, 0, true), 0);
    assert_int_equal(t.rewrites, 0);
    t.taken.is_broken = true;
    assert_int_equal(write_from(&t, 0, true),
                     -EBADMSG); /* there is nothing else that can be done */
    disk_close(t.taken.fd);
    take(&t);
    assert_int_equal(t.message.recipients[0].tries, 7);
    assert_int_equal(store_read_body(t.taken.fd, &t.message.head, 0, NULL, 0), -EBADMSG);
    disk_close(t.taken.fd);
    assert_int_equal(store_world_list(&w, &text), 0);
    assert_null(strstr(text.at, "stray"));
    end(&t);
}

/* ---- what is left of a rewrite ---- */

static void removes_what_is_left(void **state)
{
    struct store_world w;
    struct store_place place, gone;
    struct disk_facts facts;
    struct trial t;
    int fd;

    (void)state;
    begin(&t, &w);
    assert_int_equal(store_world_put(&w, 100, &place), 0);
    t.place = place;
    gone = place;
    gone.id.text[0] = 'Z';
    disk_close(disk_create(path_of(&w, &gone, ".new")));
    fd = disk_create(path_of(&w, &place, ".new"));
    assert_int_equal(disk_lock(fd), 0);
    assert_int_equal(store_world_list(&w, &text), 0);
    assert_null(strstr(text.at, "stray"));
    assert_int_equal(disk_facts_of_path(path_of(&w, &gone, ".new"), &facts), -ENOENT);
    assert_int_equal(disk_facts_of_path(path_of(&w, &place, ".new"), &facts), 0); /* at work */
    disk_close(fd);

    /* The next rewrite takes the name. */
    take(&t);
    t.taken.is_broken = true;
    assert_int_equal(write_from(&t, 0, true), 0);
    assert_int_equal(t.rewrites, 1);
    assert_false(t.taken.is_broken);
    disk_close(t.taken.fd);
    assert_int_equal(disk_facts_of_path(path_of(&w, &place, ".new"), &facts), -ENOENT);
    end(&t);
}

/* ---- two at once ---- */

#define COUNT 400

struct racer {
    pthread_t thread;
    const struct store *store;
    struct store_place place;
    struct pool pool;
    struct arena arena;
    unsigned surprises; /* what was locked was not what has the name; or the name was gone */
};

static bool has_name(const struct racer *r, int fd)
{
    struct disk_facts facts, named;
    char path[256];

    snprintf(path, sizeof(path), "%s/queue/%06u/%s", store_directory(r->store),
             (unsigned)r->place.directory, r->place.id.text);
    return disk_facts_of(fd, &facts) == 0 && disk_facts_of_path(path, &named) == 0 &&
           facts.number == named.number;
}

/* One more try is written into a new file. */
static bool count_once(struct racer *r)
{
    struct spool_message message;
    struct store_taken taken = {.is_broken = true};
    const struct store_change change = {.place = &r->place, .message = &message};
    int before, error = store_take(r->store, &r->place, &before);

    if (error != 0) {
        r->surprises += error != -EAGAIN;
        return false;
    }
    r->surprises += !has_name(r, before);
    taken.fd = before;
    arena_reset(&r->arena);
    error = store_read(before, &r->place.id, &r->arena, &message);
    if (error == 0) {
        message.recipients[0].tries++;
        error = store_change(r->store, &change, &taken);
    }
    r->surprises += error != 0;
    if (taken.fd != before)
        disk_close(taken.fd);
    disk_close(before);
    return true;
}

static void *run_rewriting(void *owner)
{
    struct racer *r = owner;

    for (unsigned i = 0; i < COUNT;) {
        if (count_once(r))
            i++;
        else
            sched_yield();
    }
    return NULL;
}

/* A list comes by as well, and must not mistake a new file for one that is left. */
static void *run_listing(void *owner)
{
    struct racer *r = owner;
    static struct lib_text seen;
    struct store_world w = {.store = (struct store *)(uintptr_t)r->store};

    for (unsigned i = 0; i < COUNT; i++)
        r->surprises += store_world_list(&w, &seen) != 0 || strstr(seen.at, "stray") != NULL;
    return NULL;
}

static void counts_for_two(void **state)
{
    static struct racer racers[3];
    struct store_world w;
    struct store_place place;
    struct spool_message message;

    (void)state;
    store_world_begin(&w);
    assert_int_equal(store_world_put(&w, 100, &place), 0);
    for (size_t i = 0; i < ARRAY_LENGTH(racers); i++) {
        racers[i] = (struct racer){.store = w.store, .place = place};
        pool_init(&racers[i].pool, 4096, 4);
        arena_init(&racers[i].arena, &racers[i].pool, 1 << 20);
        assert_int_equal(pthread_create(&racers[i].thread, NULL,
                                        i == 2 ? run_listing : run_rewriting, &racers[i]),
                         0);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(racers); i++) {
        pthread_join(racers[i].thread, NULL);
        arena_reset(&racers[i].arena);
        pool_done(&racers[i].pool);
        lib_same_number(i, "surprises", 0, racers[i].surprises);
    }
    lib_end_rows();
    assert_int_equal(store_world_look(&w, &place, 100, &message), 0);
    assert_int_equal(message.recipients[0].tries, 2 * COUNT);
    store_world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_who_has_it),        cmocka_unit_test(says_what_is_too_long),
        cmocka_unit_test(writes_nothing_too_long), cmocka_unit_test(is_in_proportion),
        cmocka_unit_test(copies_no_damaged_body),  cmocka_unit_test(removes_what_is_left),
        cmocka_unit_test(counts_for_two),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
