/* SPDX-License-Identifier: BSD-2-Clause */
/* fsck: reads every file of the spool whole, and repairs what can be repaired. */
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

static void find(struct checking *checking, const struct store_place *place, const char *what,
                 const char *detail)
{
    size_t len = strlen(what), detail_len = strlen(detail);
    struct finding *grown = mem_make_room(checking->findings, checking->finding_count,
                                          &checking->finding_capacity, sizeof(*checking->findings));
    char *text = grown == NULL ? NULL : mem_zalloc(len + detail_len + 1);

    if (grown != NULL)
        checking->findings = grown;
    if (text == NULL) {
        checking->error = ERR_MEMORY;
        return;
    }
    memcpy(text, what, len);
    memcpy(text + len, detail, detail_len);
    checking->findings[checking->finding_count++] = (struct finding){.place = *place, .what = text};
}

static bool on_listed(void *owner, const struct store_found *found)
{
    struct checking *checking = owner;
    struct store_place *grown;

    if (found->stray != NULL) {
        find(checking, &found->place,
             found->error == 0 ? "is no message: " : "cannot be listed: ", found->stray);
        return checking->error == 0;
    }
    grown = mem_make_room(checking->places, checking->count, &checking->capacity, sizeof(*grown));
    if (grown == NULL) {
        checking->error = ERR_MEMORY;
        return false;
    }
    checking->places = grown;
    checking->places[checking->count++] = found->place;
    return true;
}

static void run_list(struct work *w)
{
    struct checking *checking = CONTAINER_OF(w, struct checking, work);
    int error = store_list(checking->runner->host.store, on_listed, checking);

    if (error != 0)
        checking->error = error;
}

/* Cuts what a crash left after the last whole record. */
static void check_tail(struct checking *checking, int fd, const struct store_place *place,
                       const struct spool_message *message)
{
    if (!message->has_torn_end)
        return;
    if (store_append(fd, message->records_end, bytes_make(NULL, 0)) == 0)
        find(checking, place, "had a torn end: it was cut", "");
    else
        find(checking, place, "has a torn end that cannot be cut", "");
}

static void set_aside(struct checking *checking, const struct store_place *place, const char *what)
{
    struct store_place bad;

    if (place->folder == STORE_BAD ||
        store_move(checking->runner->host.store, place, STORE_BAD, 0, &bad) != 0)
        find(checking, place, what, "");
    else
        find(checking, place, what, ": it was moved to bad/");
}

static void judge(struct checking *checking, const struct store_place *place, int error)
{
    const char *text = error_text(error);

    if (store_is_damaged(error))
        set_aside(checking, place, store_damage(error));
    else if (error == ERR_RANGE)
        find(checking, place, "is of a later version", "");
    else
        find(checking, place, "cannot be read: ", text != NULL ? text : strerror(-error));
}

static void check(struct checking *checking, const struct store_place *place)
{
    struct spool_message message;
    struct pool pool;
    struct arena arena;
    int fd, error = store_take(checking->runner->host.store, place, &fd);

    if (error == -ENOENT || error == -EAGAIN) /* gone, or being delivered, which means that it can
                                               * be read */
        return;
    if (error != 0) {
        judge(checking, place, error);
        return;
    }
    pool_init(&pool, 4096, 4);
    arena_init(&arena, &pool, SIZE_MAX);
    error = store_read(fd, &place->id, &arena, &message);
    if (error == 0)
        error = store_read_body(fd, &message.head, 0, NULL, 0);
    if (error != 0)
        judge(checking, place, error);
    else if (place->folder == STORE_BAD)
        find(checking, place, "lies in bad/, and is whole", "");
    else
        check_tail(checking, fd, place, &message);
    arena_reset(&arena);
    pool_done(&pool);
    disk_close(fd);
}

static void run_check(struct work *w)
{
    struct checking *checking = CONTAINER_OF(w, struct checking, work);

    for (int i = 0; i < BATCH && checking->next < checking->count; i++)
        check(checking, &checking->places[checking->next++]);
}

/* ---- on the loop ---- */

static void tell(struct checking *checking)
{
    for (size_t i = 0; i < checking->finding_count; i++) {
        struct finding *finding = &checking->findings[i];
        checking->problems++;
        checking->fsck->found(checking->fsck, &finding->place, finding->what);
        mem_free(finding->what);
    }
    checking->finding_count = 0;
}

static void end(struct checking *checking)
{
    struct runner *r = checking->runner;
    struct store_place nowhere = {.folder = STORE_QUEUE};

    if (checking->error != 0) {
        const char *text = error_text(checking->error);
        checking->problems++;
        checking->fsck->found(checking->fsck, &nowhere,
                              text != NULL ? text : strerror(-checking->error));
    }
    checking->fsck->done(checking->fsck, checking->next, checking->problems);
    mem_free(checking->places);
    mem_free(checking->findings);
    mem_free(checking);
    runner_job_done(r);
}

static void done_check(struct work *w)
{
    struct checking *checking = CONTAINER_OF(w, struct checking, work);
    struct runner *r = checking->runner;

    tell(checking);
    assert(checking->next <= checking->count);
    checking->work = (struct work){.run = run_check, .done = done_check};
    if (checking->error != 0 || checking->next == checking->count || r->is_stopping) {
        end(checking);
    } else if (work_run(r->host.loop, &checking->work) != 0) {
        checking->error = ERR_MEMORY;
        end(checking);
    }
}

static void refuse(void *owner)
{
    struct runner_fsck *fsck = owner;
    struct store_place nowhere = {.folder = STORE_QUEUE};

    fsck->found(fsck, &nowhere, "out of memory");
    fsck->done(fsck, 0, 1);
}

void runner_check(struct runner *r, struct runner_fsck *fsck)
{
    struct checking *checking = mem_zalloc(sizeof(*checking));

    if (checking != NULL) {
        checking->runner = r;
        checking->fsck = fsck;
        checking->work = (struct work){.run = run_list, .done = done_check};
        if (work_run(r->host.loop, &checking->work) == 0) {
            r->job_count++;
            return;
        }
    }
    mem_free(checking);
    loop_post(r->host.loop, &fsck->post, refuse, fsck);
}
