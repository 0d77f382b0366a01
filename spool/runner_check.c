/* SPDX-License-Identifier: BSD-2-Clause */
/* fsck: every file of the spool is read whole, and what can be repaired is. */
#include <assert.h>
#include <errno.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/disk.h"
#include "spool/runner_private.h"

#define BATCH 16 /* messages of one job */

/* What a job has found. */
struct finding {
    struct store_place place;
    char *what; /* ours */
};

struct checking {
    struct work work;
    struct runner *runner;
    struct runner_fsck *fsck;
    struct store_place *places; /* of all messages */
    size_t count, capacity;
    size_t next; /* the first that the next job reads */
    struct finding *findings;
    size_t finding_count, finding_capacity;
    uint64_t problems;
    int error;
};

/* ---- on a pool thread ---- */

static void find(struct checking *c, const struct store_place *place, const char *what,
                 const char *detail)
{
    size_t len = strlen(what), detail_len = strlen(detail);
    struct finding *grown =
        mem_make_room(c->findings, c->finding_count, &c->finding_capacity, sizeof(*c->findings));
    char *text = grown == NULL ? NULL : mem_zalloc(len + detail_len + 1);

    if (grown != NULL)
        c->findings = grown;
    if (text == NULL) {
        c->error = ERR_MEMORY;
        return;
    }
    memcpy(text, what, len);
    memcpy(text + len, detail, detail_len);
    c->findings[c->finding_count++] = (struct finding){.place = *place, .what = text};
}

static bool on_listed(void *owner, const struct store_found *found)
{
    struct checking *c = owner;
    struct store_place *grown;

    if (found->stray != NULL) {
        find(c, &found->place,
             found->error == 0 ? "is no message: " : "cannot be listed: ", found->stray);
        return c->error == 0;
    }
    grown = mem_make_room(c->places, c->count, &c->capacity, sizeof(*grown));
    if (grown == NULL) {
        c->error = ERR_MEMORY;
        return false;
    }
    c->places = grown;
    c->places[c->count++] = found->place;
    return true;
}

static void run_list(struct work *w)
{
    struct checking *c = CONTAINER_OF(w, struct checking, work);
    int error = store_list(c->runner->host.store, on_listed, c);

    if (error != 0)
        c->error = error;
}

/* What a crash left behind the last whole record. */
static void check_tail(struct checking *c, int fd, const struct store_place *place,
                       const struct spool_message *message)
{
    if (!message->has_torn_end)
        return;
    if (store_append(fd, message->records_end, bytes_make(NULL, 0), true) == 0)
        find(c, place, "had a torn end: it was cut", "");
    else
        find(c, place, "has a torn end that cannot be cut", "");
}

static void set_aside(struct checking *c, const struct store_place *place, const char *what)
{
    struct store_place bad;

    if (place->folder == STORE_BAD ||
        store_move(c->runner->host.store, place, STORE_BAD, 0, &bad) != 0)
        find(c, place, what, "");
    else
        find(c, place, what, ": it was moved to bad/");
}

static void judge(struct checking *c, const struct store_place *place, int error)
{
    const char *text = error_text(error);

    if (store_is_damaged(error))
        set_aside(c, place, store_damage(error));
    else if (error == ERR_RANGE)
        find(c, place, "is of a later version", "");
    else
        find(c, place, "cannot be read: ", text != NULL ? text : strerror(-error));
}

static void check(struct checking *c, const struct store_place *place)
{
    struct spool_message message;
    struct pool pool;
    struct arena arena;
    int fd, error = store_take(c->runner->host.store, place, &fd);

    if (error == -ENOENT || error == -EAGAIN) /* gone, or being delivered: then it was read */
        return;
    if (error != 0) {
        judge(c, place, error);
        return;
    }
    pool_init(&pool, 4096, 4);
    arena_init(&arena, &pool, SIZE_MAX);
    error = store_read(fd, &place->id, &arena, &message);
    if (error == 0)
        error = store_read_body(fd, &message.head, NULL, 0);
    if (error != 0)
        judge(c, place, error);
    else if (place->folder == STORE_BAD)
        find(c, place, "lies in bad/, and is whole", "");
    else
        check_tail(c, fd, place, &message);
    arena_reset(&arena);
    pool_done(&pool);
    disk_close(fd);
}

static void run_check(struct work *w)
{
    struct checking *c = CONTAINER_OF(w, struct checking, work);

    for (int i = 0; i < BATCH && c->next < c->count; i++)
        check(c, &c->places[c->next++]);
}

/* ---- on the loop ---- */

static void tell(struct checking *c)
{
    for (size_t i = 0; i < c->finding_count; i++) {
        struct finding *f = &c->findings[i];
        c->problems++;
        c->fsck->found(c->fsck, &f->place, f->what);
        mem_free(f->what);
    }
    c->finding_count = 0;
}

static void end(struct checking *c)
{
    struct runner *r = c->runner;
    struct store_place nowhere = {.folder = STORE_QUEUE};

    if (c->error != 0) {
        const char *text = error_text(c->error);
        c->problems++;
        c->fsck->found(c->fsck, &nowhere, text != NULL ? text : strerror(-c->error));
    }
    c->fsck->done(c->fsck, c->next, c->problems);
    mem_free(c->places);
    mem_free(c->findings);
    mem_free(c);
    runner_job_done(r);
}

static void done_check(struct work *w)
{
    struct checking *c = CONTAINER_OF(w, struct checking, work);
    struct runner *r = c->runner;

    tell(c);
    assert(c->next <= c->count);
    c->work = (struct work){.run = run_check, .done = done_check};
    if (c->error != 0 || c->next == c->count || r->is_stopping) {
        end(c);
    } else if (work_run(r->host.loop, &c->work) != 0) {
        c->error = ERR_MEMORY;
        end(c);
    }
}

static void refuse(void *owner)
{
    struct runner_fsck *f = owner;
    struct store_place nowhere = {.folder = STORE_QUEUE};

    f->found(f, &nowhere, "out of memory");
    f->done(f, 0, 1);
}

void runner_check(struct runner *r, struct runner_fsck *f)
{
    struct checking *c = mem_zalloc(sizeof(*c));

    if (c != NULL) {
        c->runner = r;
        c->fsck = f;
        c->work = (struct work){.run = run_list, .done = done_check};
        if (work_run(r->host.loop, &c->work) == 0) {
            r->job_count++;
            return;
        }
    }
    mem_free(c);
    loop_post(r->host.loop, &f->post, refuse, f);
}
