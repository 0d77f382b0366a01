/* SPDX-License-Identifier: BSD-2-Clause */
/* Writes a change of a message: at the end of its file, or, if the records outgrow the message,
 * into a new file that takes its place. README.md has the states R1 to R4. */
#include <assert.h>
#include <errno.h>

#include "proxy/base/error.h"
#include "proxy/io/disk.h"
#include "spool/store_private.h"

#define SMALL_BYTES 4096
#define SMALL_KEPT  4
/* Octets of records that are not needed: from this many on even the longest body is copied. */
#define WASTE_MAX (SPOOL_RECORDS_MAX / 4)

/* All that the message must say. */
static int put_message(struct buf *out, const struct spool_message *m)
{
    struct spool_writer writer = {.id = m->head.id, .at = spool_records_at(&m->head), .out = out};

    spool_put_message(&writer, m);
    for (uint32_t i = 0; i < m->recipient_count; i++)
        spool_put_recipient(&writer, &m->recipients[i]);
    spool_put_session(&writer, &m->envelope.session);
    if (out->has_failed)
        return ERR_MEMORY;
    return buf_length(out) <= SPOOL_RECORDS_MAX ? 0 : -EFBIG;
}

/* ---- R1: a file without a name ---- */

static int copy_block(void *owner, uint64_t at, struct bytes block)
{
    const int *fd = owner;
    return disk_write_at(*fd, SPOOL_HEAD_BYTES + at, block);
}

static int write_file(int fd, int from, const struct spool_head *head, struct bytes records)
{
    struct spool_head fresh = *head;
    uint8_t block[SPOOL_HEAD_BYTES];
    int error = store_each_block(from, head, copy_block, &fd);

    fresh.is_version_2 = spool_is_version_2(records);
    spool_head_put(&fresh, block);
    if (error == 0)
        error = disk_write_at(fd, spool_records_at(head), records);
    if (error == 0)
        error = disk_write_at(fd, 0, bytes_make(block, sizeof(block)));
    return error == 0 ? disk_sync(fd) : error;
}

/* The new file is locked before it has a name, so that nobody else can take it. A descriptor, or an
 * error. */
static int make_file(const struct store *store, int from, const struct spool_head *head,
                     struct bytes records)
{
    int fd = draft_open(store_drafts(store));

    if (fd < 0)
        return fd;
    int error = disk_lock(fd);
    if (error == 0)
        error = write_file(fd, from, head, records);
    if (error == 0)
        return fd;
    draft_close(store_drafts(store), fd);
    return error;
}

/* ---- syncs that fail ---- */

/* Whoever takes the file next must know of a sync that has failed, also if this process dies. A
 * disk that fails may not take a mark any more: another mark is therefore made before the sync, and
 * taken away after it. An error: there is no mark, so there must be no sync. */
static int begin_syncs(struct store_taken *taken)
{
    int error = store_set_mark(taken->fd, DISK_MARK_SYNCING, true);

    taken->is_broken = error != 0;
    return error;
}

static int sync_taken(struct store_taken *taken)
{
    int error = disk_sync(taken->fd);

    taken->is_broken = error != 0;
    return error;
}

static void end_syncs(const struct store_taken *taken)
{
    if (taken->is_broken)
        store_set_mark(taken->fd, DISK_MARK_UNSYNCED, true);
    else
        store_set_mark(taken->fd, DISK_MARK_SYNCING, false);
}

/* What is not known counts as a failed sync. */
static unsigned marks_of(int fd)
{
    struct disk_facts facts;

    return disk_facts_of(fd, &facts) == 0 ? facts.marks : DISK_MARK_UNSYNCED;
}

bool store_is_broken(const struct store_taken *taken)
{
    return taken->is_broken || (marks_of(taken->fd) & DISK_MARK_UNSYNCED) != 0;
}

/* ---- R2 to R4: the name ---- */

/* A file that a failed rewrite left may have the name. Nobody works on it, because we hold the lock
 * of the message. */
static int link_beside(const struct store *store, int fd, const char *path)
{
    int error = draft_link(store_drafts(store), fd, path);

    if (error != -EEXIST)
        return error;
    error = disk_unlink(path);
    return error == 0 || error == -ENOENT ? draft_link(store_drafts(store), fd, path) : error;
}

/* If the sync after the rename fails, the new file has the name, but a power cut may bring the old
 * one back. */
static int take_place(const struct store *store, const struct store_place *place, int fd,
                      struct store_taken *taken)
{
    struct store_path beside = store_new_path(store, place);
    struct store_taken fresh = {.fd = fd};
    int error = begin_syncs(&fresh);

    if (error == 0)
        error = link_beside(store, fd, beside.text);
    if (error != 0)
        return error;
    /* Open before the rename, so that its sync is told what another one has failed at meanwhile. */
    int parent = disk_open_directory(store_parent_path(store, place).text);
    error = parent < 0 ? parent : disk_replace(beside.text, store_message_path(store, place).text);
    if (error != 0) {
        disk_unlink(beside.text);
        if (parent >= 0)
            disk_close(parent);
        return error;
    }
    error = disk_sync_open_directory(parent);
    disk_close(parent);
    fresh.is_broken = error != 0;
    end_syncs(&fresh);
    *taken = fresh;
    return error;
}

static int rewrite(const struct store *store, const struct store_change *change,
                   struct store_taken *taken, struct bytes records)
{
    int fd = make_file(store, taken->fd, &change->message->head, records);

    if (fd < 0)
        return fd;
    int error = take_place(store, change->place, fd, taken);
    if (taken->fd != fd)
        draft_close(store_drafts(store), fd);
    return error;
}

int store_rewrite(const struct store *store, const struct store_change *change,
                  struct store_taken *taken)
{
    struct pool pool;
    struct buf records;

    pool_init(&pool, SMALL_BYTES, SMALL_KEPT);
    buf_init(&records, &pool, 2 * SPOOL_RECORDS_MAX);
    int error = put_message(&records, change->message);
    if (error == 0)
        error = rewrite(store, change, taken, buf_bytes(&records));
    buf_done(&records);
    pool_done(&pool);
    return error;
}

/* ---- which of both ---- */

/* Octets of records with the change appended. */
static uint64_t records_bytes(const struct store_change *change)
{
    const struct spool_message *m = change->message;
    return m->records_end - spool_records_at(&m->head) + change->records.len;
}

/* How many octets of records the message would have in a new file. */
static uint64_t needed_bytes(const struct spool_message *m)
{
    uint64_t bytes = 0;
    struct pool pool;
    struct buf records;

    pool_init(&pool, SMALL_BYTES, SMALL_KEPT);
    buf_init(&records, &pool, 2 * SPOOL_RECORDS_MAX);
    if (put_message(&records, m) == 0)
        bytes = buf_length(&records);
    buf_done(&records);
    pool_done(&pool);
    return bytes;
}

/* A rewrite costs the body and the needed records, and saves the rest: it must save enough for
 * that. */
static bool is_worth_it(const struct store *store, const struct store_change *change)
{
    const struct spool_message *m = change->message;
    uint64_t bytes = records_bytes(change), needed, least;

    if (store->limits.records_bytes == 0)
        return true;
    if (bytes <= store->limits.records_bytes)
        return false;
    needed = needed_bytes(m);
    if (needed == 0)
        return false;
    least = needed > m->head.body_bytes / 8 ? needed : m->head.body_bytes / 8;
    return bytes > needed + (least < WASTE_MAX ? least : WASTE_MAX);
}

/* What stands before the new records must be durable, or a power cut could leave a gap, which looks
 * like damage. The first records were synced at the commit. Later ones mostly are durable too,
 * which makes this sync cheap. */
static int append(const struct store_change *change, struct store_taken *taken)
{
    const struct spool_message *m = change->message;
    bool must_sync = m->has_later_records || change->is_synced;
    int error = must_sync ? begin_syncs(taken) : 0;

    if (error != 0)
        return error;
    if (m->has_later_records)
        error = sync_taken(taken);
    if (error == 0)
        error = store_append(taken->fd, m->records_end, change->records);
    if (error == 0 && change->is_synced)
        error = sync_taken(taken);
    if (must_sync)
        end_syncs(taken);
    return error;
}

static bool is_readable(const struct store_change *change, int fd)
{
    return store_read_body(fd, &change->message->head, 0, NULL, 0) == 0;
}

static bool is_suspect(int fd)
{
    return (marks_of(fd) & DISK_MARK_SYNCING) != 0;
}

/* If the end of a sync is not known, a new file is the safe way. Without the body there can be
 * none; then the sync was most probably cut short by death, which does no harm. */
int store_change(const struct store *store, const struct store_change *change,
                 struct store_taken *taken)
{
    bool has_room = records_bytes(change) <= SPOOL_RECORDS_MAX;

    assert(taken->fd >= 0);
    taken->is_broken = store_is_broken(taken);
    bool must_be_fresh = is_suspect(taken->fd);
    if (taken->is_broken || !has_room || must_be_fresh || is_worth_it(store, change)) {
        int error = store_rewrite(store, change, taken);
        if (error == 0 || taken->is_broken || !has_room ||
            (must_be_fresh && is_readable(change, taken->fd)))
            return error;
    }
    int error = append(change, taken);
    return taken->is_broken ? store_rewrite(store, change, taken) : error;
}

/* A rewrite may have come no further than R3. Then a power cut brings the old file back, and would
 * leave the new one at its goal as well. */
int store_end_hold(const struct store *store, const struct store_change *change,
                   struct store_taken *taken, struct store_place *place_out)
{
    bool is_in_doubt = store_is_broken(taken) || is_suspect(taken->fd);
    int error = is_in_doubt ? store_rewrite(store, change, taken) : 0;

    if (error != 0 && is_readable(change, taken->fd))
        return error;
    return store_move(store, change->place, STORE_HOLD, 0, place_out);
}
