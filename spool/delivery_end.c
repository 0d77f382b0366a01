/* SPDX-License-Identifier: BSD-2-Clause */
/* What came of a delivery: gathered from its transaction, reported to senders, and written. */
#include <errno.h>

#include "proxy/base/error.h"
#include "proxy/io/disk.h"
#include "spool/delivery_private.h"
#include "spool/spool_index.h"

#define REPORT_AGAIN_S 60 /* a report could not be made */
#define PUT_BACK_S     2  /* all connections are in use */

/* ---- gathering ---- */

static struct spool_recipient *recipient_at(struct delivery *d, uint32_t i)
{
    return &d->message.recipients[i];
}

static void set_words(struct delivery *d, struct spool_recipient *s, struct bytes first,
                      const struct reply *reply)
{
    struct buf text;
    struct bytes words = bytes_make(NULL, 0);

    buf_init(&text, &loop_pools(d->runner->host.loop)->medium, REPLY_MAX_BYTES);
    buf_put(&text, first);
    if (reply != NULL && reply->code != 0)
        reply_put_text(&text, reply);
    arena_copy(&d->arena,
               bytes_first(buf_bytes(&text), spool_reply_max(d->message.recipient_count)), &words);
    s->reply = words;
    buf_done(&text);
}

static enum fate fate_of(const struct recipient *r)
{
    enum fate fate = r->envelope == FATE_ACCEPTED ? r->final : r->envelope;

    if (fate == FATE_OPEN && r->branch != NULL && r->branch->facts.may_be_duplicate)
        return FATE_UNKNOWN; /* dropped behind its end of data */
    return fate == FATE_LOST ? FATE_DEFERRED : fate;
}

static void note_fate(struct delivery *d, uint32_t index, enum fate fate, const struct reply *words)
{
    struct spool_recipient *s = recipient_at(d, index);

    s->fate = fate;
    s->tries++;
    s->tried_ms = d->end.now_ms;
    s->may_be_duplicate = s->may_be_duplicate || fate == FATE_UNKNOWN;
    set_words(d, s, bytes_make(NULL, 0), words);
    s->remote = bytes_make(NULL, 0);
    d->end.is_changed[index] = true;
    d->end.is_any_changed = true;
    d->end.must_sync = d->end.must_sync || fate != FATE_DEFERRED;
    d->end.is_unknown = d->end.is_unknown || fate == FATE_UNKNOWN;
    d->end.is_deferred = d->end.is_deferred || fate == FATE_DEFERRED;
}

static void note(struct delivery *d, uint32_t index)
{
    const struct recipient *r = d->asked[index];
    struct spool_recipient *s = recipient_at(d, index);
    enum fate fate = fate_of(r);

    if (fate == FATE_OPEN)
        return;
    note_fate(d, index, fate == FATE_DISCARDED ? FATE_ACCEPTED : fate, &r->reply);
    if (r->branch == NULL)
        return;
    s->remote = bytes_first(r->branch->facts.address, SPOOL_REMOTE_MAX);
    s->is_relayed =
        fate == FATE_ACCEPTED && r->branch->lacks_dsn && bounce_is_wanted(s, BOUNCE_RELAYED);
}

/* The last words stay in the text. */
static void expire(struct delivery *d, uint32_t index)
{
    struct spool_recipient *s = recipient_at(d, index);
    struct buf text;

    buf_init(&text, &loop_pools(d->runner->host.loop)->medium, REPLY_MAX_BYTES);
    buf_text(&text, "554 5.4.7 Delivery time expired");
    if (s->reply.len != 0)
        buf_text(&text, ", last: ");
    buf_put(&text, s->reply);
    set_words(d, s, buf_bytes(&text), NULL);
    buf_done(&text);
    s->fate = FATE_REFUSED;
    s->remote = bytes_make(NULL, 0);
    d->end.is_changed[index] = true;
    d->end.is_expired[index] = true;
    d->end.is_any_changed = true;
    d->end.must_sync = true;
}

static bool is_of_entry(const struct delivery *d, const struct spool_recipient *s)
{
    return bytes_equal(s->target, schedule_target_name(d->entry->target));
}

static void note_all(struct delivery *d)
{
    const struct reply words = reply_own(REPLY_LOCAL_PROBLEM);

    for (uint32_t i = 0; i < d->message.recipient_count; i++) {
        const struct spool_recipient *s = recipient_at(d, i);
        if (d->has_transaction && d->asked[i] != NULL)
            note(d, i);
        else if (!d->has_transaction && d->miss.is_here && runner_is_open(s) && is_of_entry(d, s))
            note_fate(d, i, FATE_DEFERRED, &words);
    }
}

/* Tried in vain now, or the target is away: and that for too long. */
static void expire_all(struct delivery *d)
{
    if (runner_now_s(d->runner) < d->entry->expires_s ||
        (d->is_look && !schedule_was_missed(d->entry)))
        return;
    for (uint32_t i = 0; i < d->message.recipient_count; i++) {
        const struct spool_recipient *s = recipient_at(d, i);
        if (runner_is_open(s) && is_of_entry(d, s) && (d->is_look || d->end.is_changed[i]))
            expire(d, i);
    }
}

static bool wants_warning(const struct delivery *d, const struct spool_recipient *s)
{
    const struct runner_host *host = &d->runner->host;

    return host->delay_warning_ms != 0 && is_of_entry(d, s) && runner_is_open(s) && !s->is_warned &&
           d->end.now_ms >= d->message.arrived_ms + (int64_t)host->delay_warning_ms;
}

static void mark_due(struct delivery_report *report, uint32_t index, bool is_due)
{
    report->is_due[index] = is_due;
    report->is_any = report->is_any || is_due;
}

static void find_reports(struct delivery *d)
{
    struct delivery_report *reports = d->end.reports;

    for (uint32_t i = 0; i < d->message.recipient_count; i++) {
        const struct spool_recipient *s = recipient_at(d, i);
        mark_due(&reports[BOUNCE_FAILED], i, runner_is_due(s) && s->fate == FATE_REFUSED);
        mark_due(&reports[BOUNCE_RELAYED], i, runner_is_due(s) && s->fate == FATE_ACCEPTED);
        mark_due(&reports[BOUNCE_DELAYED], i, wants_warning(d, s));
    }
}

/* A report lies beside its cause. One that is held lies in no directory of the queue. */
static struct store_place place_of_report(struct delivery *d)
{
    if (d->place.folder == STORE_QUEUE)
        return d->place;
    return store_next_place(d->runner->host.store, &d->place.id);
}

static void prepare_reports(struct delivery *d)
{
    const struct runner_host *host = &d->runner->host;
    const struct schedule_policy *policy = schedule_policy(d->entry->target);

    for (int kind = 0; kind < DELIVERY_REPORTS; kind++) {
        struct delivery_report *report = &d->end.reports[kind];
        if (!report->is_any)
            continue;
        report->report = (struct runner_report){
            .store = host->store,
            .conf = &host->bounce,
            .message = &d->message,
            .kind = (enum bounce_kind)kind,
            .is_due = report->is_due,
            .now_ms = d->end.now_ms,
            .will_retry_s = policy->expire_ms == 0
                                ? 0
                                : (d->message.arrived_ms + (int64_t)policy->expire_ms) / 1000,
            .place = place_of_report(d),
        };
        runner_report_address(host, &d->arena, &report->report);
    }
}

/* False: no memory. */
static bool gather(struct delivery *d)
{
    uint32_t count = d->message.recipient_count;

    d->end = (struct delivery_end){.now_ms = loop_wall_ms(d->runner->host.loop)};
    d->end.is_changed = arena_alloc(&d->arena, count + 1);
    d->end.is_expired = arena_alloc(&d->arena, count + 1);
    if (d->end.is_changed == NULL || d->end.is_expired == NULL)
        return false;
    for (int kind = 0; kind < DELIVERY_REPORTS; kind++) {
        d->end.reports[kind].is_due = arena_alloc(&d->arena, count + 1);
        if (d->end.reports[kind].is_due == NULL)
            return false;
    }
    note_all(d);
    expire_all(d);
    find_reports(d);
    prepare_reports(d);
    return true;
}

/* ---- writing: the second job ---- */

static void leave_to_others(struct delivery_report *report, uint32_t index, bool is_theirs)
{
    if (is_theirs && !report->is_made)
        report->is_due[index] = false;
}

/* Others have written since it was read: what they know stays, what we know is added. Texts of what
 * is changed lie in `arena` since they were gathered. */
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
    for (uint32_t i = 0; i < ours.recipient_count; i++) {
        struct spool_recipient *s = &d->message.recipients[i];
        bool is_reported = s->is_reported, is_warned = s->is_warned;
        if (d->end.is_changed[i])
            *s = ours.recipients[i];
        s->is_reported = is_reported || ours.recipients[i].is_reported;
        s->is_warned = is_warned || ours.recipients[i].is_warned;
        leave_to_others(&d->end.reports[BOUNCE_FAILED], i, is_reported);
        leave_to_others(&d->end.reports[BOUNCE_RELAYED], i, is_reported);
        leave_to_others(&d->end.reports[BOUNCE_DELAYED], i, is_warned);
    }
    arena_reset(&d->again); /* `ours` lay there */
    d->again = again;
    return 0;
}

/* As long as others deliver it, it is not taken away. */
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
    report->is_arrived = report->report.result == BOUNCE_MADE;
    for (uint32_t i = 0; i < d->message.recipient_count; i++) {
        if (!report->is_due[i])
            continue;
        if (report->report.kind == BOUNCE_DELAYED)
            d->message.recipients[i].is_warned = true;
        else
            d->message.recipients[i].is_reported = true;
    }
}

static bool is_any_due(const struct delivery *d, const struct delivery_report *report)
{
    for (uint32_t i = 0; i < d->message.recipient_count; i++)
        if (report->is_due[i])
            return true;
    return false;
}

/* It is durable before its cause says so. */
static void make_reports(struct delivery *d)
{
    d->end.report_error = 0;
    for (int kind = 0; kind < DELIVERY_REPORTS; kind++) {
        struct delivery_report *report = &d->end.reports[kind];
        if (!is_any_due(d, report) || report->is_made)
            continue;
        report->report.fd = d->file->taken.fd;
        int error = runner_report_make(&report->report);
        if (error != 0)
            d->end.report_error = error;
        else if (report->report.result != BOUNCE_HELD)
            mark_made(d, report);
        else if (d->writing.is_alone && !has_open(d))
            d->end.is_held = true; /* nobody can be told: the operator is */
    }
}

static void put_records(struct delivery *d, struct spool_writer *w)
{
    for (uint32_t i = 0; i < d->message.recipient_count; i++) {
        if (d->end.is_changed[i])
            spool_put_outcome(w, i, &d->message.recipients[i]);
        for (int kind = 0; kind < DELIVERY_REPORTS; kind++) {
            const struct delivery_report *report = &d->end.reports[kind];
            if (!report->is_made || !report->is_due[i])
                continue;
            if (kind == BOUNCE_DELAYED)
                spool_put_warned(w, i);
            else
                spool_put_reported(w, i);
        }
    }
    if (d->end.is_held)
        spool_put_hold(w, true);
    d->message.is_held = d->end.is_held;
}

/* A copy that reads the file before keeps it until it ends. */
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
    struct spool_writer w = {
        .id = d->message.head.id, .at = d->message.records_end, .out = &records};
    bool must_sync = d->end.must_sync || d->end.is_held;
    int error = 0;

    for (int kind = 0; kind < DELIVERY_REPORTS; kind++)
        must_sync = must_sync || d->end.reports[kind].is_made;
    buf_init(&records, &d->pool, SPOOL_RECORDS_MAX);
    put_records(d, &w);
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
    d->end.lost_error = error; /* a 4xx that is lost is tried sooner: no harm */
    return 0;
}

/* What it is found to be while it is read again, reported or written anew. */
static int set_aside(struct delivery *d, int error)
{
    struct store_place bad;

    d->end.bad_error = error;
    error = store_move(d->runner->host.store, &d->place, STORE_BAD, 0, &bad);
    d->end.is_bad = error == 0;
    return error;
}

static int write_end(struct delivery *d)
{
    const struct store *store = d->runner->host.store;
    bool is_stale = d->file->is_shared || d->end.has_written; /* where the records end */
    int error, damage;

    if (d->file->is_gone) {
        d->end.is_removed = d->writing.is_alone;
        d->end.is_held = false;
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
        d->end.is_removed = error == 0 || error == -ENOENT;
        return d->end.is_removed ? 0 : error;
    }
    error = write_records(d);
    damage = error == 0 ? d->end.report_error : error;
    if (store_is_damaged(damage) && d->writing.is_alone)
        return set_aside(d, damage);
    if (error == 0 && d->end.is_held && d->place.folder == STORE_QUEUE)
        error = store_move(store, &d->place, STORE_HOLD, 0, &d->place);
    return error;
}

static void run_end(struct work *w)
{
    struct delivery *d = CONTAINER_OF(w, struct delivery, work);

    d->error = write_end(d);
    if (d->error == 0)
        delivery_end_try(d);
    if ((d->error != 0 && !d->writing.is_last) || !d->writing.is_alone)
        return;
    if (d->file->is_of_copy) { /* who closes it, later */
        disk_unlock(d->file->taken.fd);
        return;
    }
    disk_close(d->file->taken.fd);
    d->file->taken.fd = -1;
}

/* ---- afterwards ---- */

static void tell_reports(struct delivery *d)
{
    for (int kind = 0; kind < DELIVERY_REPORTS; kind++)
        if (d->end.reports[kind].is_arrived)
            runner_arrived(d->runner, &d->end.reports[kind].report.place);
    if (d->end.report_error != 0)
        delivery_log_failed(d, "report", d->end.report_error);
}

/* How it went at the target. */
static enum schedule_result result_of(const struct delivery *d)
{
    if (d->end.is_unknown)
        return SCHEDULE_UNKNOWN;
    if (d->miss.is_here)
        return SCHEDULE_FAILED_HERE;
    if (d->is_look || !d->has_transaction)
        return SCHEDULE_PUT_BACK;
    if (d->miss.is_no_target) /* or it has come since */
        return d->miss.up_count == d->runner->up_count ? SCHEDULE_NO_TARGET : SCHEDULE_PUT_BACK;
    if (d->miss.is_busy)
        return SCHEDULE_PUT_BACK;
    if (d->end.is_deferred)
        return SCHEDULE_DEFERRED;
    return d->end.is_any_changed ? SCHEDULE_DONE : SCHEDULE_PUT_BACK;
}

/* It is in the queue no more: delivered, held since nobody can be told, or found damaged. */
static void leave_queue(struct delivery *d, enum schedule_result result)
{
    struct runner *r = d->runner;
    struct store_place was = d->known->place;

    delivery_leave_file(d);
    schedule_report(d->entry, result, runner_now_s(r));
    runner_forget(r, d->known);
    if (d->end.is_held) {
        delivery_log_held(d);
        runner_learn(r, &d->place, &d->message);
    } else if (d->end.is_bad) {
        delivery_log_bad(d, d->end.bad_error);
    } else if (was.folder == STORE_QUEUE) {
        runner_sync_later(r, was.directory);
    }
    delivery_recycle(d);
}

/* A transaction takes only so many recipients: others were tried less often than those of this one,
 * and do not wait for them. */
static bool has_others(const struct delivery *d)
{
    uint32_t most = 0;

    for (uint32_t i = 0; i < d->message.recipient_count; i++)
        if (d->end.is_changed[i] && d->message.recipients[i].tries > most)
            most = d->message.recipients[i].tries;
    for (uint32_t i = 0; i < d->message.recipient_count; i++) {
        const struct spool_recipient *s = &d->message.recipients[i];
        if (!d->end.is_changed[i] && runner_is_open(s) && is_of_entry(d, s) && s->tries < most)
            return true;
    }
    return false;
}

/* Something is left, be it at other targets. */
static void stay(struct delivery *d, enum schedule_result result)
{
    struct runner *r = d->runner;
    struct schedule_entry *e = d->entry;
    bool is_left = runner_refresh(r, e, &d->message);
    bool goes_on = (result == SCHEDULE_DONE && e->recipient_count != 0) ||
                   (result == SCHEDULE_DEFERRED && has_others(d));

    if (!is_left) {
        schedule_report(e, result, runner_now_s(r));
        delivery_leave_file(d);
        runner_forget_entry(r, e);
        delivery_recycle(d);
        return;
    }
    if (d->end.report_error != 0)
        e->look_s = runner_now_s(r) + REPORT_AGAIN_S;
    if (result == SCHEDULE_PUT_BACK && !d->is_look)
        e->due_s = runner_now_s(r) + PUT_BACK_S;
    if (goes_on || e->recipient_count == 0)
        result = SCHEDULE_PUT_BACK;
    delivery_done(d, result);
}

static void settle(struct delivery *d)
{
    enum schedule_result result = result_of(d);

    for (uint32_t i = 0; i < d->message.recipient_count; i++)
        delivery_log_recipient(d, i);
    tell_reports(d);
    if (d->end.lost_error != 0)
        delivery_log_failed(d, "write", d->end.lost_error);
    if (d->end.is_removed || d->end.is_held || d->end.is_bad)
        leave_queue(d, result);
    else
        stay(d, result);
}

void delivery_release_file(struct delivery *d)
{
    d->file->is_in_use = false;
    LIST_EACH (link, &d->runner->deliveries) {
        struct delivery *other = LIST_ENTRY(link, struct delivery, in_runner);
        if (other->file != d->file || !other->writing.is_waiting)
            continue;
        other->writing.is_waiting = false;
        deadline_set(d->runner->host.loop, &other->deadline, 0);
        return;
    }
}

static void done_end(struct work *w)
{
    struct delivery *d = CONTAINER_OF(w, struct delivery, work);

    d->writing.is_running = false;
    delivery_release_file(d);
    if (d->error == 0) {
        settle(d);
        return;
    }
    delivery_log_failed(d, "write", d->error);
    if (d->writing.is_last) {
        d->runner->mark.must_stay = true;
        delivery_done(d, SCHEDULE_PUT_BACK);
    } else {
        delivery_again(d);
    }
}

void delivery_finish(struct delivery *d)
{
    if (!d->writing.is_gathered)
        d->writing.is_gathered = gather(d);
    d->writing.is_waiting = d->file->is_in_use;
    if (d->writing.is_waiting)
        return;
    d->writing.is_last = d->runner->is_aborted;
    d->writing.is_alone = d->file->users == 1;
    d->work = (struct work){.run = run_end, .done = done_end};
    d->writing.is_running = d->writing.is_gathered && work_run(d->runner->host.loop, &d->work) == 0;
    d->file->is_in_use = d->writing.is_running;
    if (!d->writing.is_running)
        delivery_again(d);
}

void delivery_hurry(struct delivery *d)
{
    if (d->writing.is_gathered && !d->writing.is_running && !d->writing.is_waiting) {
        deadline_clear(d->runner->host.loop, &d->deadline);
        delivery_finish(d);
    }
}
