/* SPDX-License-Identifier: BSD-2-Clause */
/* The end of a delivery: what came of it is written, and the entry goes back to the schedule. */
#include <assert.h>

#include "proxy/base/error.h"
#include "spool/delivery_private.h"

#define AGAIN_MS       10000
#define DOUBLINGS_MAX  6 /* of that pause: up to more than ten minutes */
#define ASIDE_FAILURES 3 /* in a row: the file is bad, not the moment */
#define ASIDE_MAX      64
#define REPORT_AGAIN_S 60 /* after a report could not be made */
#define PUT_BACK_S     2  /* while all connections are in use */

static void tell_reports(struct delivery *d)
{
    for (int kind = 0; kind < BOUNCE_KINDS; kind++)
        if (delivery_is_arrived(&d->end.reports[kind]))
            runner_arrived(d->runner, &d->end.reports[kind].report.place);
    if (d->end.report_error != 0)
        delivery_log_failed(d, "report", d->end.report_error);
}

/* One address of a group was found down, and another one may take what belongs to it. */
static bool can_go_elsewhere(const struct delivery *d)
{
    const struct runner_host *host = &d->runner->host;
    struct target *target = host->find_target(host->owner, schedule_target_name(d->entry->target));

    return target != NULL && target->member_count != 0 && !target->ops->is_down(target);
}

/* How it went at the target. */
static enum schedule_result result_of(const struct delivery *d)
{
    bool has_come_since = d->up_count != d->runner->up_count;

    if (d->end.is_any_unknown)
        return SCHEDULE_UNKNOWN;
    switch (d->tried) {
    case DELIVERY_FAILED_HERE:
        return SCHEDULE_FAILED_HERE;
    case DELIVERY_NO_TARGET:
        return has_come_since || can_go_elsewhere(d) ? SCHEDULE_PUT_BACK : SCHEDULE_NO_TARGET;
    case DELIVERY_UNTRIED:
    case DELIVERY_NO_ROOM:
        return SCHEDULE_PUT_BACK;
    case DELIVERY_ASKED:
        break;
    }
    if (d->end.is_any_deferred)
        return SCHEDULE_DEFERRED;
    return d->end.is_any_changed ? SCHEDULE_DONE : SCHEDULE_PUT_BACK;
}

/* The message is not in the queue any more: it was delivered, held because nobody can be told, or
 * found damaged. */
static void leave_queue(struct delivery *d, enum schedule_result result)
{
    struct runner *r = d->runner;
    struct store_place was = d->known->place;

    delivery_leave_file(d);
    schedule_report(d->entry, result, runner_now_s(r));
    runner_forget(r, d->known);
    if (d->fate == DELIVERY_HELD) {
        delivery_log_held(d);
        runner_learn(r, &d->place, &d->message);
    } else if (d->fate == DELIVERY_BAD) {
        delivery_log_bad(d, d->end.bad_error);
    } else if (was.folder == STORE_QUEUE) {
        runner_sync_later(r, was.directory);
    }
    delivery_recycle(d);
}

/* One transaction takes only so many recipients. Recipients that were tried less often than those
 * of this transaction do not wait for the pause of these. */
static bool has_others(const struct delivery *d)
{
    uint32_t most = 0;

    for (uint32_t i = 0; i < d->message.recipient_count; i++)
        if (d->end.is_changed[i] && d->message.recipients[i].tries > most)
            most = d->message.recipients[i].tries;
    for (uint32_t i = 0; i < d->message.recipient_count; i++) {
        const struct spool_recipient *s = &d->message.recipients[i];
        if (!d->end.is_changed[i] && runner_is_open(s) && delivery_is_of_entry(d, s) &&
            s->tries < most)
            return true;
    }
    return false;
}

/* Something is left to be done, here or at other targets. */
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

static void on_written(struct delivery *d)
{
    enum schedule_result result = result_of(d);

    for (uint32_t i = 0; i < d->message.recipient_count; i++)
        delivery_log_recipient(d, i);
    tell_reports(d);
    if (d->end.lost_error != 0)
        delivery_log_failed(d, "write", d->end.lost_error);
    if (d->fate == DELIVERY_STAYS)
        stay(d, result);
    else
        leave_queue(d, result);
}

/* A file that cannot be written gives up its place at the target. Only ASIDE_MAX deliveries may do
 * so, hence a disk that takes nothing stops deliveries. */
static void set_aside(struct delivery *d)
{
    struct runner *r = d->runner;

    assert(r->aside_count <= ASIDE_MAX);
    if (d->writing.is_aside || r->aside_count == ASIDE_MAX)
        return;
    d->writing.is_aside = true;
    r->aside_count++;
    schedule_set_aside(d->entry);
    runner_pump_later(r);
}

static void try_again(struct delivery *d)
{
    struct loop *l = d->runner->host.loop;
    unsigned doublings = d->writing.failures < DOUBLINGS_MAX ? d->writing.failures : DOUBLINGS_MAX;

    assert(d->state == DELIVERY_GATHERING || d->state == DELIVERY_RESTING);
    if (++d->writing.failures >= ASIDE_FAILURES)
        set_aside(d);
    deadline_set(l, &d->deadline,
                 loop_now_ms(l) + (d->runner->is_aborted ? 0 : (uint64_t)AGAIN_MS << doublings));
}

static void done_end(struct work *w)
{
    struct delivery *d = CONTAINER_OF(w, struct delivery, work);

    assert(d->state == DELIVERY_WRITING);
    d->state = DELIVERY_RESTING;
    delivery_release_file(d);
    if (d->error == 0) {
        on_written(d);
        return;
    }
    delivery_log_failed(d, "write", d->error);
    if (d->writing.is_last) {
        d->runner->mark.must_stay = true;
        delivery_done(d, SCHEDULE_PUT_BACK);
    } else {
        try_again(d);
    }
}

static void write_soon(struct delivery *d)
{
    assert(d->state == DELIVERY_RESTING && !d->file->is_in_use);
    d->writing.is_last = d->runner->is_aborted;
    d->writing.is_alone = d->file->users == 1;
    d->work = (struct work){.run = delivery_write, .done = done_end};
    if (work_run(d->runner->host.loop, &d->work) == 0) {
        d->state = DELIVERY_WRITING;
        d->file->is_in_use = true;
    } else {
        d->error = ERR_MEMORY;
        try_again(d);
    }
}

void delivery_finish(struct delivery *d)
{
    assert(d->state != DELIVERY_WAITING && d->state != DELIVERY_WRITING);
    if (d->state != DELIVERY_RESTING) {
        d->state = delivery_gather(d) ? DELIVERY_RESTING : DELIVERY_GATHERING;
        d->error = 0;
    } else if (d->writing.is_stuck && d->file->users == 1 && !d->file->is_gone) {
        delivery_gather_rest(d);
    }
    if (d->state == DELIVERY_GATHERING)
        try_again(d);
    else if (d->file->is_in_use)
        d->state = DELIVERY_WAITING;
    else
        write_soon(d);
}

void delivery_hurry(struct delivery *d)
{
    if (d->state != DELIVERY_GATHERING && d->state != DELIVERY_RESTING)
        return;
    deadline_clear(d->runner->host.loop, &d->deadline);
    delivery_finish(d);
}
