/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages become durable: one, or all that wait at the same moment. Each file is synced for
 * itself, but one job does it, and the directory is synced once for all of them. */
#include <assert.h>
#include <errno.h>

#include "proxy/base/error.h"
#include "proxy/base/hash.h"
#include "proxy/io/disk.h"
#include "spool/store_private.h"

#define BATCH_BYTES (1U << 20) /* of all bodies of a batch: a large one lets no small one wait */

/* ---- one message: jobs ---- */

static int open_file(struct copy_image *image)
{
    if (image->is_broken)
        return -EIO;
    if (image->fd >= 0)
        return 0;

    int fd = draft_open(image->drafts);
    if (fd < 0)
        return fd;
    image->fd = fd;
    return 0;
}

/* What of it does not lie in the file yet. */
static int write_body(struct copy_image *image)
{
    uint64_t sum = image->sum;

    assert(image->file_bytes <= image->length);
    if (image->file_bytes == image->length)
        return 0;
    for (size_t i = 0; i < image->piece_count; i++)
        sum = hash_chain(sum, image->pieces[i]);
    int error = disk_write_pieces_at(image->fd, SPOOL_HEAD_BYTES + image->file_bytes, image->pieces,
                                     (int)image->piece_count);
    if (error != 0)
        return error;
    image->file_bytes = image->length;
    image->sum = sum;
    return 0;
}

/* After a failed sync nobody knows what is on the disk, and a second one may well succeed. */
static int sync_file(struct copy_image *image)
{
    int error = disk_sync(image->fd);

    if (error != 0)
        image->is_broken = true;
    return error;
}

int store_prepare(struct copy_image *image)
{
    int error = open_file(image);

    if (error == 0)
        error = write_body(image);
    return error == 0 ? sync_file(image) : error;
}

static int write_records(const struct copy_image *image, struct bytes records)
{
    const struct spool_head head = {.body_bytes = image->length};
    return disk_write_at(image->fd, spool_records_at(&head), records);
}

static int write_head(const struct copy_image *image, const struct store_place *place)
{
    struct spool_head head = {.id = place->id, .body_bytes = image->length, .body_sum = image->sum};
    uint8_t block[SPOOL_HEAD_BYTES];

    spool_head_put(&head, block);
    return disk_write_at(image->fd, 0, bytes_make(block, sizeof(block)));
}

static int write_file(const struct store_commit *c)
{
    int error = open_file(c->image);

    if (error == 0)
        error = write_body(c->image);
    if (error == 0)
        error = write_records(c->image, c->records);
    return error == 0 ? write_head(c->image, &c->place) : error;
}

static int link_file(const struct store *s, const struct store_commit *c)
{
    return draft_link(c->image->drafts, c->image->fd, store_message_path(s, &c->place).text);
}

/* ---- several: jobs ---- */

/* The name is not durable, and may come back after a power cut. */
static void take_back(const struct store *s, struct store_commit *c)
{
    c->image->is_broken = true;
    disk_unlink(store_message_path(s, &c->place).text);
}

static bool is_together(const struct store_commit *a, const struct store_commit *b)
{
    return a->place.folder == b->place.folder && a->place.directory == b->place.directory;
}

/* All that belong into the directory of the first one. */
static void link_together(const struct store *s, struct store_commit *const *commits, size_t count,
                          bool *is_done)
{
    int fd = store_open_parent(s, &commits[0]->place), error = fd < 0 ? fd : 0;
    struct store_path path = store_parent_path(s, &commits[0]->place);

    for (size_t i = 0; i < count; i++) {
        struct store_commit *c = commits[i];
        is_done[i] = is_done[i] || is_together(commits[0], c);
        if (c->error == 0 && is_together(commits[0], c))
            c->error = error != 0 ? error : link_file(s, c);
    }
    if (error != 0)
        return;
    error = disk_sync_open_directory(fd);
    for (size_t i = 0; i < count && error != 0; i++) {
        struct store_commit *c = commits[i];
        if (c->error != 0 || !is_together(commits[0], c))
            continue;
        c->error = error;
        take_back(s, c);
    }
    if (error != 0)
        disk_sync_directory(path.text);
    disk_close(fd);
}

void store_commit_all(const struct store *s, struct store_commit *const *commits, size_t count)
{
    bool is_done[STORE_BATCH_MAX] = {false};

    assert(count <= STORE_BATCH_MAX);
    for (size_t i = 0; i < count; i++) {
        commits[i]->error = write_file(commits[i]);
        if (commits[i]->error == 0 && count > 1)
            disk_start_writing(commits[i]->image->fd);
    }
    for (size_t i = 0; i < count; i++)
        if (commits[i]->error == 0)
            commits[i]->error = sync_file(commits[i]->image);
    for (size_t i = 0; i < count; i++)
        if (commits[i]->error == 0 && !is_done[i])
            link_together(s, commits + i, count - i, is_done + i);
}

int store_commit(const struct store *s, struct copy_image *image, const struct store_place *place,
                 struct bytes records)
{
    struct store_commit one = {.image = image, .place = *place, .records = records};
    struct store_commit *commits[] = {&one};

    store_commit_all(s, commits, ARRAY_LENGTH(commits));
    return one.error;
}

/* ---- those of one moment: on the loop ---- */

static void start_batches(void *owner);

static void run_batch(struct work *w)
{
    struct store_batch *b = CONTAINER_OF(w, struct store_batch, work);
    store_commit_all(b->store, b->commits, b->count);
}

static void tell(struct store_batch *b)
{
    size_t count = b->count;

    assert(count != 0 && count <= STORE_BATCH_MAX);
    b->count = 0; /* `done` may commit the next one */
    for (size_t i = 0; i < count; i++)
        b->commits[i]->done(b->commits[i]);
}

static void done_batch(struct work *w)
{
    struct store_batch *b = CONTAINER_OF(w, struct store_batch, work);
    struct store *s = b->store;

    tell(b);
    if (!list_is_empty(&s->commits.waiting))
        loop_post(s->loop, &s->commits.post, start_batches, s);
}

/* As many of those that wait as one job takes, the first one in any case. */
static void fill_batch(struct store *s, struct store_batch *b)
{
    uint64_t bytes = 0;

    LIST_EACH (link, &s->commits.waiting) {
        struct store_commit *c = LIST_ENTRY(link, struct store_commit, in_store);
        bytes += c->image->length;
        if (b->count == STORE_BATCH_MAX || (b->count != 0 && bytes > BATCH_BYTES))
            break;
        list_remove(link);
        b->commits[b->count++] = c;
    }
}

static void start_batch(struct store *s, struct store_batch *b)
{
    assert(b->count == 0);
    b->store = s;
    b->work = (struct work){.run = run_batch, .done = done_batch};
    fill_batch(s, b);
    assert(b->count != 0);
    if (work_run(s->loop, &b->work) == 0)
        return;
    for (size_t i = 0; i < b->count; i++)
        b->commits[i]->error = ERR_MEMORY;
    tell(b);
}

static void start_batches(void *owner)
{
    struct store *s = owner;

    for (size_t i = 0; i < STORE_BATCHES && !list_is_empty(&s->commits.waiting); i++)
        if (s->commits.batches[i].count == 0)
            start_batch(s, &s->commits.batches[i]);
}

/* Not at once: what else happens in this turn of the loop is made durable with it. */
void store_commit_soon(struct store *s, struct store_commit *commit)
{
    assert(commit->done != NULL);
    list_append(&s->commits.waiting, &commit->in_store);
    loop_post(s->loop, &s->commits.post, start_batches, s);
}
