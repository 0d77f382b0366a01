/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages become durable: one, or all that wait at the same moment. One job syncs each file, and
 * then the directory once for all of them. */
#include <assert.h>
#include <errno.h>

#include "proxy/base/error.h"
#include "proxy/base/hash.h"
#include "proxy/io/disk.h"
#include "spool/store_private.h"

#define BATCH_BYTES (1U << 20) /* of all bodies of a batch: no small one waits for a large one */

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

/* Writes what does not lie in the file yet. */
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

/* After a failed sync nobody knows what is on the disk, though a second sync may succeed. */
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

static int write_head(const struct copy_image *image, const struct store_place *place,
                      struct bytes records)
{
    struct spool_head head = {.id = place->id,
                              .body_bytes = image->length,
                              .body_sum = image->sum,
                              .is_version_2 = spool_is_version_2(records)};
    uint8_t block[SPOOL_HEAD_BYTES];

    spool_head_put(&head, block);
    return disk_write_at(image->fd, 0, bytes_make(block, sizeof(block)));
}

static int write_file(const struct store_commit *commit)
{
    int error = open_file(commit->image);

    if (error == 0)
        error = write_body(commit->image);
    if (error == 0)
        error = write_records(commit->image, commit->records);
    return error == 0 ? write_head(commit->image, &commit->place, commit->records) : error;
}

static int link_file(const struct store *store, const struct store_commit *commit)
{
    return draft_link(commit->image->drafts, commit->image->fd,
                      store_message_path(store, &commit->place).text);
}

/* ---- several: jobs ---- */

/* Removes a name that is not durable. It may come back after a power cut. */
static void take_back(const struct store *store, struct store_commit *commit)
{
    commit->image->is_broken = true;
    disk_unlink(store_message_path(store, &commit->place).text);
}

static bool is_together(const struct store_commit *a, const struct store_commit *b)
{
    return a->place.folder == b->place.folder && a->place.directory == b->place.directory;
}

/* Links all that belong into the directory of the first one. */
static void link_together(const struct store *store, struct store_commit *const *commits,
                          size_t count, bool *is_done)
{
    int fd = store_open_parent(store, &commits[0]->place), error = fd < 0 ? fd : 0;
    struct store_path path = store_parent_path(store, &commits[0]->place);

    for (size_t i = 0; i < count; i++) {
        struct store_commit *commit = commits[i];
        is_done[i] = is_done[i] || is_together(commits[0], commit);
        if (commit->error == 0 && is_together(commits[0], commit))
            commit->error = error != 0 ? error : link_file(store, commit);
    }
    if (error != 0)
        return;
    error = disk_sync_open_directory(fd);
    for (size_t i = 0; i < count && error != 0; i++) {
        struct store_commit *commit = commits[i];
        if (commit->error != 0 || !is_together(commits[0], commit))
            continue;
        commit->error = error;
        take_back(store, commit);
    }
    if (error != 0)
        disk_sync_directory(path.text);
    disk_close(fd);
}

void store_commit_all(const struct store *store, struct store_commit *const *commits, size_t count)
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
            link_together(store, commits + i, count - i, is_done + i);
}

int store_commit(const struct store *store, struct copy_image *image,
                 const struct store_place *place, struct bytes records)
{
    struct store_commit one = {.image = image, .place = *place, .records = records};
    struct store_commit *commits[] = {&one};

    store_commit_all(store, commits, ARRAY_LENGTH(commits));
    return one.error;
}

static int copy_block(void *owner, uint64_t at, struct bytes block)
{
    const struct copy_image *image = owner;
    return disk_write_at(image->fd, SPOOL_HEAD_BYTES + at, block);
}

int store_commit_again(const struct store *store, const struct copy_image *committed,
                       const struct store_place *place, struct bytes records)
{
    const struct spool_head head = {.body_bytes = committed->length, .body_sum = committed->sum};
    struct copy_image image = {.fd = -1,
                               .file_bytes = committed->length,
                               .length = committed->length,
                               .sum = committed->sum,
                               .drafts = committed->drafts};

    assert(committed->file_bytes == committed->length);
    int error = open_file(&image);
    if (error != 0)
        return error;
    error = store_each_block(committed->fd, &head, copy_block, &image);
    if (error == 0)
        error = store_commit(store, &image, place, records);
    draft_close(image.drafts, image.fd);
    return error;
}

/* ---- those of one moment: on the loop ---- */

static void start_batches(void *owner);

static void run_batch(struct work *w)
{
    struct store_batch *batch = CONTAINER_OF(w, struct store_batch, work);
    store_commit_all(batch->store, batch->commits, batch->count);
}

static void tell(struct store_batch *batch)
{
    size_t count = batch->count;

    assert(count != 0 && count <= STORE_BATCH_MAX);
    batch->count = 0; /* `done` may commit the next one */
    for (size_t i = 0; i < count; i++)
        batch->commits[i]->done(batch->commits[i]);
}

static void done_batch(struct work *w)
{
    struct store_batch *batch = CONTAINER_OF(w, struct store_batch, work);
    struct store *store = batch->store;

    tell(batch);
    if (!list_is_empty(&store->commits.waiting))
        loop_post(store->loop, &store->commits.post, start_batches, store);
}

/* Takes as many of the waiting commits as one job can do, the first one in any case. */
static void fill_batch(struct store *store, struct store_batch *batch)
{
    uint64_t bytes = 0;

    LIST_EACH (link, &store->commits.waiting) {
        struct store_commit *commit = LIST_ENTRY(link, struct store_commit, in_store);
        bytes += commit->image->length;
        if (batch->count == STORE_BATCH_MAX || (batch->count != 0 && bytes > BATCH_BYTES))
            break;
        list_remove(link);
        batch->commits[batch->count++] = commit;
    }
}

static void start_batch(struct store *store, struct store_batch *batch)
{
    assert(batch->count == 0);
    batch->store = store;
    batch->work = (struct work){.run = run_batch, .done = done_batch};
    fill_batch(store, batch);
    assert(batch->count != 0);
    if (work_run(store->loop, &batch->work) == 0)
        return;
    for (size_t i = 0; i < batch->count; i++)
        batch->commits[i]->error = ERR_MEMORY;
    tell(batch);
}

static void start_batches(void *owner)
{
    struct store *store = owner;

    for (size_t i = 0; i < STORE_BATCHES && !list_is_empty(&store->commits.waiting); i++)
        if (store->commits.batches[i].count == 0)
            start_batch(store, &store->commits.batches[i]);
}

/* The job starts after this turn of the loop, and takes what else comes in this turn. */
void store_commit_soon(struct store *store, struct store_commit *commit)
{
    assert(commit->done != NULL);
    list_append(&store->commits.waiting, &commit->in_store);
    loop_post(store->loop, &store->commits.post, start_batches, store);
}
