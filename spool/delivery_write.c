/* SPDX-License-Identifier: BSD-2-Clause */
/* The last job of a delivery: makes reports, then records them in the file, or removes it. */
#include <errno.h>

#include "proxy/base/error.h"
#include "proxy/io/disk.h"
#include "spool/delivery_private.h"
#include "spool/spool_index.h"

static void leave_to_others(struct delivery_report *report, uint32_t index, bool is_theirs)
{
    if (is_theirs && !report->is_made)
        report->is_due[index] = false;
}

/* Other deliveries have written to the file since it was read. What they wrote stays, and what this
 * delivery knows is added. The texts of changed recipients lie in `arena` since they were
 * gathered. */
static int read_again(struct delivery *d)
{
    const struct spool_message ours = d->message;
    struct arena again;

    arena_init(&again, &d->pool, SIZE_MAX);
    int error = store_read(d->file->taken.fd, &d->place.id, &again, &d->message);
    if (error != 0 || d->message.recipient_count != ours.recipient_count) {
        d->message = ours;
        arena_reset(&again);
        return error != 0 ? error : -EIO;
    }
    runner_assign_queues(d->runner, &d->message);
    for (uint32_t i = 0; i < ours.recipient_count; i++) {
        struct spool_recipient *s = &d->message.recipients[i];
        bool is_reported = s->is_reported, is_warned = s->is_warned;
        if (d->end.is_changed[i])
            *s = ours.recipients[i];
        s->is_reported = is_reported || ours.recipients[i].is_reported;
        s->is_warned = is_warned || ours.recipients[i].is_warned;
        leave_to_others(&d->end.reports[BOUNCE_FAILED], i, is_reported);
        leave_to_others(&d->end.reports[BOUNCE_RELAYED], i, is_reported);
        leave_to_others(&d->end.reports[BOUNCE_DELIVERED], i, is_reported);
        leave_to_others(&d->end.reports[BOUNCE_DELAYED], i, is_warned);
    }
    arena_reset(&d->again); /* `ours` lay there */
    d->again = again;
    return 0;
}

/* The message can be removed. It stays as long as other deliveries use the file. */
static bool needs_nothing(const struct delivery *d)
{
    if (!d->writing.is_alone || d->message.recipient_count == 0)
        return false;
    for (uint32_t i = 0; i < d->message.recipient_count; i++)
        if (runner_is_open(&d->message.recipients[i]) || runner_is_due(&d->message.recipients[i]))
            return false;
    return true;
}

static bool has_open(const struct delivery *d)
{
    for (uint32_t i = 0; i < d->message.recipient_count; i++)
        if (runner_is_open(&d->message.recipients[i]))
            return true;
    return false;
}

static void mark_made(struct delivery *d, struct delivery_report *report)
{
    report->is_made = true;
    for (uint32_t i = 0; i < d->message.recipient_count; i++) {
        if (!report->is_due[i])
            continue;
        if (report->report.kind == BOUNCE_DELAYED)
            d->message.recipients[i].is_warned = true;
        else
            d->message.recipients[i].is_reported = true;
    }
}

/* A report is durable before its cause says so. */
static void make_reports(struct delivery *d)
{
    d->end.report_error = 0;
    for (int kind = 0; kind < BOUNCE_KINDS; kind++) {
        struct delivery_report *report = &d->end.reports[kind];
        if (!delivery_is_any_due(d, report) || report->is_made)
            continue;
        report->report.fd = d->file->taken.fd;
        int error = runner_report_make(&report->report);
        if (error != 0)
            d->end.report_error = error;
        else if (report->report.result != BOUNCE_HELD)
            mark_made(d, report);
        else if (d->writing.is_alone && !has_open(d))
            d->fate = DELIVERY_HELD; /* nobody can be told, so the log tells the operator */
    }
}

static void put_records(struct delivery *d, struct spool_writer *writer)
{
    for (uint32_t i = 0; i < d->message.recipient_count; i++) {
        if (d->end.is_changed[i])
            spool_put_outcome(writer, i, &d->message.recipients[i]);
        for (int kind = 0; kind < BOUNCE_KINDS; kind++) {
            const struct delivery_report *report = &d->end.reports[kind];
            if (!report->is_made || !report->is_due[i])
                continue;
            if (kind == BOUNCE_DELAYED)
                spool_put_warned(writer, i);
            else
                spool_put_reported(writer, i);
        }
    }
    d->message.is_held = d->fate == DELIVERY_HELD;
    d->message.hold = (struct spool_hold){.by = SPOOL_HELD_BY_QUEUE,
                                          .since_ms = d->end.now_ms,
                                          .reason = bytes_of(DELIVERY_HELD_WORDS)};
    if (d->message.is_held)
        spool_put_hold(writer, &d->message);
}

/* A copy that reads the old file keeps it open until the copy ends. */
static int change_file(struct delivery *d, struct bytes records, bool is_synced)
{
    struct delivery_file *file = d->file;
    const struct store_change change = {
        .place = &d->place, .message = &d->message, .records = records, .is_synced = is_synced};
    int before = file->taken.fd;
    int error = store_change(d->runner->host.store, &change, &file->taken);

    if (file->taken.fd == before)
        return error;
    if (!file->is_of_copy)
        disk_close(before);
    file->is_of_copy = false;
    return error;
}

static int write_records(struct delivery *d)
{
    struct buf records;
    struct spool_writer writer = {
        .id = d->message.head.id, .at = d->message.records_end, .out = &records};
    bool must_sync = d->end.must_sync || d->fate == DELIVERY_HELD;
    int error = 0;

    for (int kind = 0; kind < BOUNCE_KINDS; kind++)
        must_sync = must_sync || d->end.reports[kind].is_made;
    buf_init(&records, &d->pool, SPOOL_RECORDS_MAX);
    put_records(d, &writer);
    if (records.has_failed)
        error = ERR_MEMORY;
    else if (buf_length(&records) != 0 && d->place.folder == STORE_QUEUE)
        error = spool_index_forget(d->runner->host.store, d->place.directory);
    if (error == 0 && buf_length(&records) != 0)
        error = change_file(d, buf_bytes(&records), must_sync);
    d->end.has_written = d->end.has_written || (error == 0 && buf_length(&records) != 0);
    buf_done(&records);
    if (must_sync || store_is_damaged(error))
        return error;
    d->end.lost_error = error; /* if a 4xx is lost, the next try comes sooner: no harm */
    return 0;
}

/* The file was found damaged while it was read again, reported or rewritten. */
static int set_aside(struct delivery *d, int error)
{
    d->end.bad_error = error;
    error = d->place.folder == STORE_BAD /* and the sync has failed then */
                ? 0
                : store_move(d->runner->host.store, &d->place, STORE_BAD, 0, &d->place);
    if (error == 0)
        d->fate = DELIVERY_BAD;
    return error;
}

static bool is_unreadable(const struct delivery *d)
{
    return store_read_body(d->file->taken.fd, &d->message.head, 0, NULL, 0) != 0;
}

/* A message that is to be held is moved also if it is stuck: where it lies says the same as its
 * record. */
static int record(struct delivery *d)
{
    int error = 0;

    if (!d->writing.is_stuck || d->fate != DELIVERY_HELD) {
        error = write_records(d);
        d->writing.is_stuck = error != 0 && is_unreadable(d);
    }
    return d->writing.is_stuck && d->fate == DELIVERY_HELD ? 0 : error;
}

static int write_end(struct delivery *d)
{
    const struct store *store = d->runner->host.store;
    bool is_stale = d->file->is_shared || d->end.has_written; /* message.records_end may be */
    int error, damage;

    if (d->file->is_gone) {
        d->fate = d->writing.is_alone ? DELIVERY_REMOVED : DELIVERY_STAYS;
        return 0;
    }
    error = is_stale ? read_again(d) : 0;
    if (store_is_damaged(error) && d->writing.is_alone)
        return set_aside(d, error);
    if (error != 0)
        return error;
    make_reports(d);
    if (needs_nothing(d)) {
        error = store_remove(store, &d->place);
        if (error != 0 && error != -ENOENT)
            return error;
        d->fate = DELIVERY_REMOVED;
        return 0;
    }
    error = record(d);
    damage = error == 0 ? d->end.report_error : error;
    if (store_is_damaged(damage) && d->writing.is_alone)
        return set_aside(d, damage);
    if (error == 0 && d->fate == DELIVERY_HELD && d->place.folder == STORE_QUEUE)
        error = store_move(store, &d->place, STORE_HOLD, 0, &d->place);
    return error;
}

void delivery_write(struct work *w)
{
    struct delivery *d = CONTAINER_OF(w, struct delivery, work);

    d->error = write_end(d);
    if (d->error == 0)
        delivery_end_try(d);
    if ((d->error != 0 && !d->writing.is_last) || !d->writing.is_alone)
        return;
    if (d->file->is_of_copy) { /* the copy closes it later */
        disk_unlock(d->file->taken.fd);
        return;
    }
    disk_close(d->file->taken.fd);
    d->file->taken.fd = -1;
}
