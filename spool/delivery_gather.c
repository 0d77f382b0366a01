/* SPDX-License-Identifier: BSD-2-Clause */
/* What came of a delivery, gathered from its transaction: outcomes, and reports that are due. */
#include <assert.h>

#include "proxy/smtp/outcome.h"
#include "spool/delivery_private.h"

static struct spool_recipient *recipient_at(struct delivery *d, uint32_t i)
{
    assert(i < d->message.recipient_count);
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

static enum fate fate_of(const struct recipient *rcpt)
{
    enum fate fate = rcpt->envelope == FATE_ACCEPTED ? rcpt->final : rcpt->envelope;

    if (fate == FATE_OPEN && rcpt->branch != NULL && rcpt->branch->facts.may_be_duplicate)
        return FATE_UNKNOWN; /* dropped after its end of data */
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
    d->end.is_any_unknown = d->end.is_any_unknown || fate == FATE_UNKNOWN;
    d->end.is_any_deferred = d->end.is_any_deferred || fate == FATE_DEFERRED;
}

/* Our own words, and behind them the error that the branch has met. */
static void add_error(struct delivery *d, struct spool_recipient *s, const struct recipient *rcpt)
{
    struct buf text;

    if (rcpt->branch->facts.error.len == 0)
        return;
    buf_init(&text, &loop_pools(d->runner->host.loop)->medium, REPLY_MAX_BYTES);
    outcome_put_words(&text, rcpt);
    set_words(d, s, buf_bytes(&text), NULL);
    buf_done(&text);
}

static void note(struct delivery *d, uint32_t index)
{
    const struct recipient *rcpt = d->asked[index];
    struct spool_recipient *s = recipient_at(d, index);
    enum fate fate = fate_of(rcpt);

    if (fate == FATE_OPEN)
        return;
    note_fate(d, index, fate == FATE_DISCARDED ? FATE_ACCEPTED : fate, &rcpt->reply);
    if (rcpt->branch == NULL)
        return;
    s->remote = bytes_first(rcpt->branch->facts.address, SPOOL_REMOTE_MAX);
    add_error(d, s, rcpt);
    if (fate != FATE_ACCEPTED)
        return;
    s->is_relayed = rcpt->branch->lacks_dsn && bounce_is_wanted(s, BOUNCE_RELAYED);
    s->is_delivered = rcpt->branch->can_prepare && bounce_is_wanted(s, BOUNCE_DELIVERED);
}

/* The text keeps the target's last words. */
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

static bool has_accepted(const struct delivery *d)
{
    for (uint32_t i = 0; i < d->message.recipient_count; i++)
        if (d->asked[i] != NULL && d->asked[i]->envelope == FATE_ACCEPTED)
            return true;
    return false;
}

/* RFC 5321 4.5.3.1.10: there are too many recipients for this transaction. The next one, which
 * follows at once, asks for those; it was no try. */
static bool is_one_too_many(const struct recipient *rcpt)
{
    static const uint8_t detail[] = {4, 5, 3};

    return rcpt->envelope == FATE_DEFERRED && rcpt->reply.code == 452 &&
           memcmp(rcpt->reply.enhanced, detail, sizeof(detail)) == 0;
}

static void note_all(struct delivery *d)
{
    const struct reply words = reply_own(REPLY_LOCAL_PROBLEM);
    bool has_asked = d->carrier.transaction != NULL;
    bool has_failed = !has_asked && d->tried == DELIVERY_FAILED_HERE;
    bool moves_on = has_asked && has_accepted(d);

    for (uint32_t i = 0; i < d->message.recipient_count; i++) {
        const struct spool_recipient *s = recipient_at(d, i);
        bool was_asked = has_asked && d->asked[i] != NULL;
        if (was_asked && !(moves_on && is_one_too_many(d->asked[i])))
            note(d, i);
        else if (has_failed && runner_is_open(s) && delivery_is_of_entry(d, s))
            note_fate(d, i, FATE_DEFERRED, &words);
    }
}

/* Refuses recipients whose time is over: those that were just tried in vain, or all of them when
 * the target is away. */
static void expire_all(struct delivery *d)
{
    if (runner_now_s(d->runner) < d->entry->expires_s ||
        (d->is_look && !schedule_was_missed(d->entry)))
        return;
    for (uint32_t i = 0; i < d->message.recipient_count; i++) {
        const struct spool_recipient *s = recipient_at(d, i);
        if (runner_is_open(s) && delivery_is_of_entry(d, s) && (d->is_look || d->end.is_changed[i]))
            expire(d, i);
    }
}

static bool is_time_over(const struct delivery *d, const struct spool_recipient *s)
{
    LIST_EACH (link, &d->known->entries) {
        const struct schedule_entry *e = LIST_ENTRY(link, struct schedule_entry, in_message);
        if (bytes_equal(schedule_target_name(e->target), s->queue))
            return runner_now_s(d->runner) >= e->expires_s;
    }
    return false;
}

/* What cannot be recorded is not begun. That its body could not be read counts as a try. When the
 * time of all recipients is over, whatever their targets are, the message can be returned and
 * removed in one go. False: that time has not come. */
static bool expire_together(struct delivery *d)
{
    const struct reply words = reply_own(REPLY_LOCAL_PROBLEM);

    for (uint32_t i = 0; i < d->message.recipient_count; i++)
        if (runner_is_open(recipient_at(d, i)) && !is_time_over(d, recipient_at(d, i)))
            return false;
    for (uint32_t i = 0; i < d->message.recipient_count; i++) {
        if (!runner_is_open(recipient_at(d, i)))
            continue;
        if (!d->end.is_changed[i] || d->state == DELIVERY_RESTING)
            note_fate(d, i, FATE_DEFERRED, &words);
        expire(d, i);
    }
    return true;
}

static bool wants_warning(const struct delivery *d, const struct spool_recipient *s)
{
    const struct runner_host *host = &d->runner->host;

    return host->delay_warning_ms != 0 && delivery_is_of_entry(d, s) && runner_is_open(s) &&
           !s->is_warned &&
           d->end.now_ms >= d->message.arrived_ms + (int64_t)host->delay_warning_ms;
}

static void find_reports(struct delivery *d)
{
    struct delivery_report *reports = d->end.reports;

    for (uint32_t i = 0; i < d->message.recipient_count; i++) {
        const struct spool_recipient *s = recipient_at(d, i);
        reports[BOUNCE_FAILED].is_due[i] = runner_is_due(s) && s->fate == FATE_REFUSED;
        reports[BOUNCE_RELAYED].is_due[i] =
            runner_is_due(s) && s->fate == FATE_ACCEPTED && s->is_relayed;
        reports[BOUNCE_DELIVERED].is_due[i] =
            runner_is_due(s) && s->fate == FATE_ACCEPTED && s->is_delivered;
        reports[BOUNCE_DELAYED].is_due[i] = wants_warning(d, s);
    }
}

/* A report lies beside its cause. A cause in hold/ lies in no directory of the queue. */
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

    for (int kind = 0; kind < BOUNCE_KINDS; kind++) {
        struct delivery_report *report = &d->end.reports[kind];
        if (!delivery_is_any_due(d, report))
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

bool delivery_gather(struct delivery *d)
{
    uint32_t count = d->message.recipient_count;

    assert(d->fate == DELIVERY_STAYS);
    d->end = (struct delivery_end){.now_ms = loop_wall_ms(d->runner->host.loop)};
    d->end.is_changed = arena_alloc(&d->arena, count + 1);
    d->end.is_expired = arena_alloc(&d->arena, count + 1);
    if (d->end.is_changed == NULL || d->end.is_expired == NULL)
        return false;
    for (int kind = 0; kind < BOUNCE_KINDS; kind++) {
        d->end.reports[kind].is_due = arena_alloc(&d->arena, count + 1);
        if (d->end.reports[kind].is_due == NULL)
            return false;
    }
    note_all(d);
    if (d->writing.is_stuck && !d->file->is_shared)
        expire_together(d);
    else
        expire_all(d);
    find_reports(d);
    prepare_reports(d);
    return true;
}

void delivery_gather_rest(struct delivery *d)
{
    assert(d->writing.is_stuck && d->file->users == 1);
    d->end.now_ms = loop_wall_ms(d->runner->host.loop);
    if (!expire_together(d))
        return;
    d->end.reports[BOUNCE_FAILED].is_made = false;
    find_reports(d);
    prepare_reports(d);
}

/* ---- for the last job, and the log ---- */

bool delivery_is_of_entry(const struct delivery *d, const struct spool_recipient *s)
{
    return bytes_equal(s->queue, schedule_target_name(d->entry->target));
}

bool delivery_is_any_due(const struct delivery *d, const struct delivery_report *report)
{
    for (uint32_t i = 0; i < d->message.recipient_count; i++)
        if (report->is_due[i])
            return true;
    return false;
}

bool delivery_is_arrived(const struct delivery_report *report)
{
    return report->is_made && report->report.result == BOUNCE_MADE;
}
