/* SPDX-License-Identifier: BSD-2-Clause */
/* What the runner knows of the messages in the queue. */
#include <assert.h>

#include "proxy/base/mem.h"
#include "spool/runner_private.h"

#define REPORT_AGAIN_S 60 /* a report could not be made */
#define LOOK_AGAIN_S   60 /* after an expired entry was given back untried */

/* ---- entries ---- */

void runner_assign_queues(const struct runner *r, struct spool_message *message)
{
    for (uint32_t i = 0; i < message->recipient_count; i++) {
        struct spool_recipient *s = &message->recipients[i];
        s->queue = r->host.find_queue(r->host.owner, s->target, s->to.mailbox);
    }
}

static bool is_of(const struct spool_recipient *s, struct bytes queue)
{
    return (runner_is_open(s) || runner_is_due(s)) && bytes_equal(s->queue, queue);
}

/* Mail for this target waits until the target is configured again, or an operator reroutes it. */
static void log_missing(struct runner *r, const struct schedule_target *t)
{
    struct log_line line =
        log_begin(r->host.log, r->host.log_sinks, LOG_LEVEL_ERROR, "target-missing");

    log_put(&line, "target", schedule_target_name(t));
    log_put_text(&line, "reason", "mail is queued for it, and it is not configured");
    log_end(&line);
}

static void set_policy(struct runner *r, struct schedule_target *t)
{
    struct target *target = r->host.find_target(r->host.owner, schedule_target_name(t));
    struct schedule_policy policy = {0};

    if (target != NULL) {
        policy.retry_ms = target->queue->retry_ms;
        policy.retry_count = target->queue->retry_count;
        policy.expire_ms = target->queue->expire_ms;
        policy.connections_max = r->host.is_cold ? 0 : target->queue->connections_max;
    } else {
        log_missing(r, t);
    }
    schedule_set_policy(t, &policy);
}

static uint64_t sender_hash(const struct runner *r, const struct address *from)
{
    struct hash_key key = loop_hash_key(r->host.loop);
    return hash_bytes(&key, from->domain) ^ hash_bytes(&key, from->local);
}

static int64_t seconds(uint64_t ms)
{
    return (int64_t)(ms / 1000);
}

/* A time of the wall clock as one of the schedule's clock. */
static int64_t from_wall_s(const struct runner *r, int64_t wall_s)
{
    return runner_now_s(r) + wall_s - loop_wall_ms(r->host.loop) / 1000;
}

static int64_t expires_s(const struct runner *r, const struct schedule_entry *e)
{
    uint64_t expire_ms = schedule_policy(e->target)->expire_ms;

    return expire_ms == 0 ? INT64_MAX : from_wall_s(r, e->arrived_s + seconds(expire_ms));
}

/* When the entry must be looked at even if its target stays away: it expires, or its sender is to
 * be warned. */
static int64_t next_look_s(const struct runner *r, const struct schedule_entry *e, bool may_warn)
{
    int64_t now_s = runner_now_s(r), look_s = e->expires_s;
    int64_t warn_s = from_wall_s(r, e->arrived_s + seconds(r->host.delay_warning_ms));

    if (look_s == INT64_MAX)
        return INT64_MAX;
    if (look_s <= now_s) /* the schedule may have chosen a sooner time */
        look_s = now_s < e->look_s && e->look_s < now_s + LOOK_AGAIN_S ? e->look_s
                                                                       : now_s + LOOK_AGAIN_S;
    if (warn_s <= now_s)
        warn_s = now_s + 1;
    return may_warn && r->host.delay_warning_ms != 0 && warn_s < look_s ? warn_s : look_s;
}

/* The numbers of the recipients that are left at its target. */
struct rest {
    uint32_t open, due;
    uint32_t tries;
    int64_t tried_s;
    bool may_be_duplicate, waits, may_warn;
};

static bool may_be_duplicate(const struct spool_recipient *s)
{
    return s->may_be_duplicate || s->fate == FATE_UNKNOWN;
}

static struct rest rest_of(const struct spool_message *message, struct bytes target)
{
    struct rest rest = {0};

    for (uint32_t i = 0; i < message->recipient_count; i++) {
        const struct spool_recipient *s = &message->recipients[i];
        if (!is_of(s, target))
            continue;
        if (!runner_is_open(s)) {
            rest.due++;
            continue;
        }
        rest.open++;
        rest.may_warn = rest.may_warn || !s->is_warned;
        rest.may_be_duplicate = rest.may_be_duplicate || may_be_duplicate(s);
        rest.waits = rest.waits || s->fate == FATE_DEFERRED || may_be_duplicate(s);
        if (s->tries > rest.tries)
            rest.tries = s->tries;
        if (s->tried_ms / 1000 > rest.tried_s)
            rest.tried_s = s->tried_ms / 1000;
    }
    return rest;
}

bool runner_refresh(struct runner *r, struct schedule_entry *e, const struct spool_message *message)
{
    struct rest rest = rest_of(message, schedule_target_name(e->target));

    e->recipient_count = (uint16_t)(rest.open < UINT16_MAX ? rest.open : UINT16_MAX);
    e->may_be_duplicate = rest.may_be_duplicate;
    e->tried_s = rest.tried_s;
    e->look_s = next_look_s(r, e, rest.may_warn);
    runner_set_domains(r, e, message);
    if (rest.open == 0) {
        e->due_s = e->expires_s = INT64_MAX;
        e->look_s = runner_now_s(r) + REPORT_AGAIN_S;
    }
    return rest.open + rest.due != 0;
}

bool runner_is_outdated(const struct schedule_entry *e, const struct spool_message *message)
{
    struct rest rest = rest_of(message, schedule_target_name(e->target));

    return rest.may_be_duplicate && (!e->may_be_duplicate || rest.tried_s != e->tried_s);
}

/* The wall clock may have been set back since. */
static int64_t when_tried_s(const struct runner *r, const struct schedule_entry *e, int64_t wall_s)
{
    int64_t now_s = runner_now_s(r), tried_s = from_wall_s(r, wall_s == 0 ? e->arrived_s : wall_s);

    return tried_s < now_s ? tried_s : now_s;
}

/* Adds an entry of this message at a target that has none of it yet. */
static struct schedule_entry *add_entry(struct runner *r, struct runner_message *known,
                                        const struct spool_message *message, struct bytes target)
{
    struct schedule_target *t = schedule_target_of(r->schedule, target);
    struct rest rest = rest_of(message, target);
    struct schedule_entry fresh = {
        .target = t,
        .id = known->place.id,
        .directory = known->place.directory,
        .sender = (uint32_t)sender_hash(r, &message->envelope.from),
        .tries = (uint16_t)(rest.tries < UINT16_MAX ? rest.tries : UINT16_MAX),
        .is_held = message->is_held || known->place.folder == STORE_HOLD,
        .may_be_duplicate = rest.may_be_duplicate,
        .arrived_s = message->arrived_ms / 1000,
        .body_bytes = message->head.body_bytes,
    };

    if (t == NULL)
        return NULL;
    if (schedule_next_entry(t, NULL) == NULL)
        set_policy(r, t);
    fresh.expires_s = expires_s(r, &fresh);
    if (rest.waits)
        schedule_set_due(t, &fresh, when_tried_s(r, &fresh, rest.tried_s));
    runner_refresh(r, &fresh, message);
    if (rest.open == 0)
        fresh.look_s = 0; /* a crash came before the report, or before the removal */
    struct schedule_entry *e = schedule_add(t, &fresh);
    if (e == NULL)
        runner_leave_domains(r, &fresh);
    else
        list_append(&known->entries, &e->in_message);
    return e;
}

static bool has_entry(const struct runner_message *known, struct bytes target)
{
    LIST_EACH (link, &known->entries) {
        const struct schedule_entry *e = LIST_ENTRY(link, struct schedule_entry, in_message);
        if (bytes_equal(schedule_target_name(e->target), target))
            return true;
    }
    return false;
}

static bool add_entries(struct runner *r, struct runner_message *known,
                        const struct spool_message *message)
{
    for (uint32_t i = 0; i < message->recipient_count; i++) {
        const struct spool_recipient *s = &message->recipients[i];
        if (is_of(s, s->queue) && !has_entry(known, s->queue) &&
            add_entry(r, known, message, s->queue) == NULL)
            return false;
    }
    return !list_is_empty(&known->entries) || message->recipient_count == 0 ||
           add_entry(r, known, message, message->recipients[0].queue) != NULL;
}

static struct runner_message *add_message(struct runner *r, const struct store_place *place)
{
    struct runner_message *known = mem_zalloc(sizeof(*known));

    if (known == NULL)
        return NULL;
    known->place = *place;
    list_init(&known->entries);
    if (runner_table_add(r, known))
        return known;
    mem_free(known);
    return NULL;
}

bool runner_learn(struct runner *r, const struct store_place *place, struct spool_message *message)
{
    struct runner_message *known = runner_find(r, &place->id);

    if (known != NULL)
        return true;
    runner_assign_queues(r, message);
    known = add_message(r, place);
    if (known == NULL)
        return false;
    bool is_quarantined = message->is_held && message->hold.by == SPOOL_HELD_BY_FILTER;
    if ((!is_quarantined || runner_quarantine_begin(r, known, &message->hold)) &&
        add_entries(r, known, message)) {
        runner_pump_later(r);
        return true;
    }
    runner_forget(r, known);
    return false;
}

void runner_ignore(struct runner *r, const struct store_place *place)
{
    if (runner_find(r, &place->id) == NULL)
        add_message(r, place);
}

/* ---- forgetting ---- */

void runner_forget(struct runner *r, struct runner_message *known)
{
    assert(!known->is_busy);
    LIST_EACH (link, &known->entries) {
        struct schedule_entry *e = LIST_ENTRY(link, struct schedule_entry, in_message);
        runner_leave_domains(r, e);
        schedule_remove(e);
    }
    runner_quarantine_end(known);
    runner_table_remove(r, known);
    mem_free(known);
}

void runner_forget_entry(struct runner *r, struct schedule_entry *e)
{
    struct runner_message *known = runner_find(r, &e->id);

    runner_leave_domains(r, e);
    schedule_remove(e);
    if (known != NULL && list_is_empty(&known->entries))
        runner_forget(r, known);
}

void runner_forget_all(struct runner *r)
{
    struct runner_message *known;

    while ((known = runner_table_any(r)) != NULL)
        runner_forget(r, known);
    runner_table_done(r);
    hash_table_done(&r->domains);
    schedule_free(&r->schedule);
}
