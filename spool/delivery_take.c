/* SPDX-License-Identifier: BSD-2-Clause */
/* The first job of a delivery: takes and reads the file, and mends what is wrong with it. */
#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/disk.h"
#include "spool/delivery_private.h"

#define SMALL_BYTES 65536 /* a body of at most this length is kept in memory */

/* A small body is kept. A large body is only verified here, and read again for the target. An error
 * means that the body is damaged. */
static int read_body(struct delivery *d)
{
    const struct spool_head *head = &d->message.head;
    bool is_small = head->body_bytes <= SMALL_BYTES;
    size_t len = is_small ? (size_t)head->body_bytes : 0;
    int error = 0;

    if (is_small)
        d->body.at = mem_alloc(len + 1);
    if (is_small && d->body.at == NULL)
        error = ERR_MEMORY;
    else
        error = store_read_body(d->file->taken.fd, head, 0, d->body.at, len);
    if (store_is_damaged(error))
        return error;
    d->body.error = error;
    return 0;
}

static int read_message(struct delivery *d)
{
    int error = store_read(d->file->taken.fd, &d->place.id, &d->arena, &d->message);

    if (error == 0)
        runner_assign_queues(d->runner, &d->message);
    if (error == 0 && !d->is_look && !d->message.is_held)
        error = read_body(d);
    d->writing.is_stuck = d->body.error != 0 && store_is_broken(&d->file->taken);
    return error;
}

static int end_hold(struct delivery *d)
{
    const struct store_change change = {.place = &d->place, .message = &d->message};
    int before = d->file->taken.fd;
    int error = store_end_hold(d->runner->host.store, &change, &d->file->taken, &d->place);

    if (d->file->taken.fd != before)
        disk_close(before);
    return error;
}

/* Cuts what a crash left after the last record, and moves a message that says it is held to hold/.
 * The lock is held, and no other delivery uses the file. */
static int mend(struct delivery *d)
{
    const struct store *store = d->runner->host.store;
    int error = store_end_move(store, &d->place, d->file->taken.fd, d->message.is_held);

    if (error == 0 && d->message.has_torn_end) {
        error = store_append(d->file->taken.fd, d->message.records_end, bytes_make(NULL, 0));
        d->file->was_torn = error == 0;
    }
    if (error == 0 && d->message.is_held && d->place.folder == STORE_QUEUE)
        error = end_hold(d);
    return error;
}

/* Another runner has had the message since ours learnt of it, and the records say that the message
 * is not due: it is held, or its target may have taken it, which makes it wait. */
static bool is_outdated(const struct delivery *d)
{
    return d->message.is_held || (!d->is_look && runner_is_outdated(d->entry, &d->message));
}

void delivery_take(struct work *w)
{
    struct delivery *d = CONTAINER_OF(w, struct delivery, work);
    const struct store *store = d->runner->host.store;
    struct store_place bad;

    d->error = d->joins ? 0 : store_take(store, &d->place, &d->file->taken.fd);
    if (d->error != 0)
        return;
    d->error = read_message(d);
    if (d->joins)
        return;
    if (d->error == 0)
        d->error = mend(d);
    if (d->error == 0 && is_outdated(d))
        d->fate = DELIVERY_OUTDATED;
    if (d->error == 0 && d->fate != DELIVERY_OUTDATED) {
        if (!d->is_look)
            store_begin_try(d->file->taken.fd, &d->file->was_left);
        return;
    }
    if (store_is_damaged(d->error) && store_move(store, &d->place, STORE_BAD, 0, &bad) == 0)
        d->fate = DELIVERY_BAD;
    disk_close(d->file->taken.fd);
    d->file->taken.fd = -1;
}

/* The mark that a dead process left stays until the message has gone: the target may have taken the
 * message then, however often it is tried since. */
void delivery_end_try(const struct delivery *d)
{
    bool is_kept = d->fate != DELIVERY_REMOVED && d->writing.is_alone && !d->is_look;

    if (is_kept && !d->file->was_left)
        store_end_try(d->file->taken.fd);
}
