/* SPDX-License-Identifier: BSD-2-Clause */
/* A spool and messages for tests. */
#include "tests/unit/store_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/base/hash.h"
#include "proxy/io/disk.h"

/* ---- the place ---- */

struct names {
    char at[64][64];
    size_t count;
};

static bool keep_name(void *owner, const char *name)
{
    struct names *n = owner;

    assert_true(strlen(name) < sizeof(n->at[0]));
    memcpy(n->at[n->count++], name, strlen(name) + 1);
    return n->count < ARRAY_LENGTH(n->at);
}

void store_world_remove(const char *path)
{
    struct names names = {.count = 1};

    while (names.count != 0) {
        names.count = 0;
        if (disk_list(path, keep_name, &names) != 0)
            break;
        for (size_t i = 0; i < names.count; i++) {
            char below[256];
            snprintf(below, sizeof(below), "%s/%s", path, names.at[i]);
            if (disk_unlink(below) != 0)
                store_world_remove(below);
        }
    }
    disk_remove_directory(path);
}

int store_world_open(struct store_world *w)
{
    int error = 0;

    w->store = store_open(w->loop, bytes_of(w->directory), NULL, &error);
    return error;
}

void store_world_close(struct store_world *w)
{
    if (w->store != NULL)
        store_close(w->store);
    store_free(&w->store);
}

static void start(struct store_world *w)
{
    pool_init(&w->pool, 4096, 4);
    arena_init(&w->arena, &w->pool, 1 << 20);
    w->loop = loop_new();
    assert_non_null(w->loop);
    assert_int_equal(store_world_open(w), 0);
}

static void stop(struct store_world *w)
{
    arena_reset(&w->arena);
    pool_done(&w->pool);
    loop_free(&w->loop);
}

void store_world_begin(struct store_world *w)
{
    struct disk_facts facts;

    *w = (struct store_world){.ids = {.process = 77}};
    /* In memory, where there is such a place: syncs are many, and slow. */
    snprintf(w->directory, sizeof(w->directory), "%s/postern-store-%ld",
             disk_facts_of_path("/dev/shm", &facts) == 0 ? "/dev/shm" : "/tmp", (long)getpid());
    store_world_remove(w->directory);
    start(w);
}

void store_world_end(struct store_world *w)
{
    store_world_close(w);
    store_world_remove(w->directory);
    stop(w);
}

void store_world_enter(struct store_world *w)
{
    *w = (struct store_world){.directory = "/spool", .ids = {.process = 77}};
    start(w);
}

int store_world_leave(struct store_world *w)
{
    store_world_close(w);
    stop(w);
    return 0;
}

/* ---- messages ---- */

static void put_records(struct store_world *w, struct store_world_message *m)
{
    struct spool_writer writer = {
        .id = m->place.id,
        .at = spool_records_at(&(struct spool_head){.body_bytes = m->image.length}),
        .out = &m->records};
    struct spool_recipient recipient = {.target = bytes_of("exchange")};
    struct spool_message message = {
        .listener = bytes_of("in"), .view = view_whole(), .recipient_count = 2};

    recipient.to.local = recipient.original.local = bytes_of("joe");
    recipient.to.domain = recipient.original.domain = bytes_of("example.com");
    message.envelope.id = m->place.id;
    buf_init(&m->records, &w->pool, 1 << 20);
    spool_put_message(&writer, &message);
    spool_put_recipient(&writer, &recipient);
    spool_put_recipient(&writer, &recipient);
}

void store_world_make(struct store_world *w, struct store_world_message *m, size_t body_bytes)
{
    struct id id = id_next(&w->ids, 1700000000000);

    *m = (struct store_world_message){.place = store_next_place(w->store, &id)};
    m->image = (struct copy_image){
        .fd = -1, .length = body_bytes, .pieces = m->pieces, .drafts = store_drafts(w->store)};
    for (size_t at = 0; at < body_bytes; at += STORE_WORLD_CHUNK) {
        struct bytes *piece = &m->pieces[m->image.piece_count++];
        size_t len = body_bytes - at < STORE_WORLD_CHUNK ? body_bytes - at : STORE_WORLD_CHUNK;
        uint8_t *octets = malloc(len);
        for (size_t i = 0; i < len; i++)
            octets[i] = store_world_octet(at + i);
        *piece = bytes_make(octets, len);
    }
    put_records(w, m);
}

void store_world_done(struct store_world_message *m)
{
    for (size_t i = 0; i < ARRAY_LENGTH(m->pieces); i++)
        free((void *)(uintptr_t)m->pieces[i].at);
    if (m->image.fd >= 0)
        draft_close(m->image.drafts, m->image.fd);
    buf_done(&m->records);
}

int store_world_put(struct store_world *w, size_t body_bytes, struct store_place *place_out)
{
    struct store_world_message m;

    store_world_make(w, &m, body_bytes);
    int error = store_commit(w->store, &m.image, &m.place, buf_bytes(&m.records));
    *place_out = m.place;
    store_world_done(&m);
    return error;
}

int store_world_read(int fd, const struct id *id, struct arena *arena,
                     struct spool_message *message_out)
{
    int error = store_read(fd, id, arena, message_out);
    return error == 0 ? store_read_body(fd, &message_out->head, 0, NULL, 0) : error;
}

int store_world_look(struct store_world *w, const struct store_place *place, size_t body_bytes,
                     struct spool_message *message_out)
{
    uint8_t block[4096];
    int fd, error = store_take(w->store, place, &fd);

    if (error != 0)
        return error;
    arena_reset(&w->arena);
    error = store_world_read(fd, &place->id, &w->arena, message_out);
    if (error == 0) {
        assert_string_equal(message_out->head.id.text, place->id.text);
        assert_int_equal(message_out->head.body_bytes, body_bytes);
        assert_int_equal(message_out->recipient_count, 2);
    }
    for (size_t at = 0; error == 0 && at < body_bytes; at += sizeof(block)) {
        size_t len = body_bytes - at < sizeof(block) ? body_bytes - at : sizeof(block);
        error = disk_read_at(fd, SPOOL_HEAD_BYTES + at, block, len);
        for (size_t i = 0; error == 0 && i < len; i++)
            if (block[i] != store_world_octet(at + i))
                fail_msg("octet %zu is wrong", at + i);
    }
    disk_close(fd);
    return error;
}

static bool put_found(void *owner, const struct store_found *found)
{
    static const char *const folders[] = {"queue", "hold", "bad"};

    if (found->stray != NULL)
        lib_put(owner, found->error == 0 ? "stray %s\n" : "unread %s\n",
                strstr(found->stray, "/queue/") != NULL ? strstr(found->stray, "/queue/")
                                                        : strrchr(found->stray, '/'));
    else
        lib_put(owner, "%s %s\n", folders[found->place.folder], found->place.id.text);
    return true;
}

int store_world_list(struct store_world *w, struct lib_text *seen)
{
    seen->len = 0;
    seen->at[0] = '\0';
    return store_list(w->store, put_found, seen);
}
