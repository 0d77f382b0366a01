/* SPDX-License-Identifier: BSD-2-Clause */
/* The ledger of a scenario: what clients were promised, what arrived, and whether that is right. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/hash.h"
#include "tests/sim/scenario.h"

#define ACTION_FIELD "Action:"
#define STATUS_FIELD "Status:"
#define FINAL_FIELD  "Final-Recipient: rfc822;"
#define UNKNOWN_WAITS_MS                                                                           \
    599000 /* ten minutes in whole seconds, before the next try of what may have been taken */
#define AGE_SLACK_MS  60000
#define TRY_SLACK_MS  150000 /* from the begin of a try to its end */
#define BOX_EXPIRE_MS (INT64_C(5) * 24 * 3600 * 1000)

/* ---- refusals ---- */

void ledger_refuse(struct scenario *s, int target, const char *sender, const char *to)
{
    struct message *m = message_of_sender(s, bytes_of(sender));

    if (sender[0] == '\0')
        s->targets.report_refusals++;
    for (unsigned i = 0; m != NULL && i < m->recipient_count; i++) {
        struct story *r = &m->recipients[i];
        if ((to == NULL || strcmp(r->address, to) == 0) && (r->ways & 1u << target) != 0)
            r->was_refused = true;
    }
}

void ledger_put_off(struct scenario *s, const char *sender, const char *to)
{
    struct message *m = message_of_sender(s, bytes_of(sender));
    uint64_t now_ms = sim_now_ms(s->world);

    for (unsigned i = 0; m != NULL && i < m->recipient_count; i++)
        if ((to == NULL || strcmp(m->recipients[i].address, to) == 0) &&
            m->recipients[i].tried_ms < now_ms)
            m->recipients[i].tried_ms = now_ms;
}

bool ledger_may_expire(const struct scenario *s, const struct message *m, const struct story *r,
                       int target)
{
    uint64_t tried_ms = backend_outage_ms(s, target, r->address),
             old_ms = m->old_ms[target == SCENARIO_BOX];

    if (tried_ms < r->tried_ms)
        tried_ms = r->tried_ms;
    return old_ms != 0 && tried_ms + TRY_SLACK_MS >= old_ms;
}

/* The report is durable before the cause says so. Where death comes between the two, or the disk,
 * no line tells that it has expired, and the next process may deliver it as well. Nor does anything
 * tell then of a try that has come to no target. */
static bool has_expired_untold(struct scenario *s, const struct message *m, const struct story *r)
{
    bool is_tried_here = s->plan.has_memory_trouble || spool_is_bodiless(s, m);

    for (int target = 0; target <= SCENARIO_BOX; target++) {
        uint64_t old_ms = m->old_ms[target == SCENARIO_BOX];
        bool may_expire = old_ms != 0 && (is_tried_here || ledger_may_expire(s, m, r, target));
        if ((r->ways & 1u << target) != 0 && may_expire && spool_has_untold_report(s, m, old_ms))
            return true;
    }
    return false;
}

/* Is there a reason to tell the sender that it has failed? */
static bool may_have_failed(const struct scenario *s, const struct message *m,
                            const struct story *r)
{
    return r->was_refused || r->has_expired || m->bounces > 0 || s->targets.hello_refusals > 0;
}

/* ---- reports ---- */

/* A report that cannot be delivered is reported to the postmaster: that is for all recipients. */
static bool note_double(struct scenario *s, struct bytes address)
{
    struct message *m = message_of_sender(s, address);

    for (unsigned i = 0; m != NULL && i < m->recipient_count; i++)
        m->recipients[i].is_bounced = true;
    return m != NULL;
}

/* What stands behind the next field of that name; *rest_out is what follows. */
static struct bytes value_of(struct bytes in, const char *field, struct bytes *rest_out)
{
    const char *at = scenario_search(in, field);
    size_t skipped = at == NULL ? in.len : (size_t)(at - (const char *)in.at) + strlen(field);
    size_t end;

    in = bytes_skip(in, skipped);
    while (in.len > 0 && in.at[0] == ' ')
        in = bytes_skip(in, 1);
    *rest_out = in;
    in = bytes_first(in, bytes_find(in, '\n'));
    end = bytes_find(in, '\r');
    return bytes_first(in, end);
}

static void note_failure(struct scenario *s, struct message *m, struct story *r)
{
    const char *objection = filter_objection(s, m, r, -1);

    if (objection != NULL)
        scenario_fail(s, "message %u to %s is reported, %s", m->id, r->address, objection);
    if (r->wants_no_report)
        scenario_fail(s, "a report on %u to %s, which wants none", m->id, r->address);
    if (!may_have_failed(s, m, r) && !has_expired_untold(s, m, r))
        scenario_fail(s, "message %u to %s is reported, and no target has refused it", m->id,
                      r->address);
    if (!r->is_bounced)
        scenario_count(s, COUNT_BOUNCED);
    r->is_bounced = r->is_returned = true;
}

/* By the operator, or where no target has heard of it; or it had expired by a clock that was set
 * back since, and death came before the line. */
static bool may_have_failed_all(struct scenario *s, struct bytes sender)
{
    return message_of_sender(s, sender)->bounces > 0 || s->targets.hello_refusals > 0 ||
           (s->plan.has_clock_trouble && !list_is_empty(&s->deaths));
}

struct message *ledger_cause(struct scenario *s, struct bytes report)
{
    return message_of_sender(s, value_of(report, FINAL_FIELD, &report));
}

unsigned ledger_legs(struct message *m, struct bytes content)
{
    unsigned legs = UINT_MAX;

    while (scenario_search(content, FINAL_FIELD) != NULL) {
        const struct story *r = message_story(m, value_of(content, FINAL_FIELD, &content));
        if (r == NULL || r->legs < legs)
            legs = r == NULL ? 1 : r->legs;
    }
    return legs;
}

uint64_t ledger_telling(struct bytes content)
{
    uint64_t hash = 1;

    while (scenario_search(content, FINAL_FIELD) != NULL) {
        hash = hash_chain(hash, value_of(content, FINAL_FIELD, &content));
        hash = hash_chain(hash, value_of(content, ACTION_FIELD, &content));
        hash = hash_chain(hash, value_of(content, STATUS_FIELD, &content));
    }
    return hash;
}

struct story *ledger_report(struct scenario *s, struct message *m, struct bytes content)
{
    struct story *first = NULL;

    while (scenario_search(content, FINAL_FIELD) != NULL) {
        struct bytes address = value_of(content, FINAL_FIELD, &content);
        bool is_failure = bytes_is(value_of(content, ACTION_FIELD, &content), "failed");
        struct story *r = message_story(m, address);
        if (first == NULL)
            first = r;
        if (is_failure && r != NULL)
            note_failure(s, m, r);
        else if (is_failure && note_double(s, address) && s->targets.report_refusals == 0 &&
                 !may_have_failed_all(s, address))
            scenario_fail(s, "the report to %.*s has failed, and no target has refused it",
                          (int)address.len, (const char *)address.at);
    }
    return first;
}

/* ---- deliveries ---- */

bool ledger_may_be_undone(struct scenario *s, uint64_t done_ms, uint64_t line_ms)
{
    bool was_killed = false;

    LIST_EACH (link, &s->deaths) {
        const struct death *death = LIST_ENTRY(link, struct death, link);
        if (death->at_ms < done_ms)
            continue;
        if (line_ms == 0 || death->at_ms < line_ms || (was_killed && death->is_power))
            return true;
        if (death->at_ms - line_ms > SCENARIO_REMOVAL_MS + s->plan.disk_slack_ms)
            continue;
        if (death->is_power)
            return true;
        was_killed = true;
    }
    return false;
}

static bool has_died_near(struct scenario *s, const struct delivery *d)
{
    return ledger_may_be_undone(s, d->taken_ms, d->line_ms);
}

bool ledger_may_come_twice(struct scenario *s, const struct delivery *d)
{
    uint64_t until_ms =
        d->line_ms == 0 ? UINT64_MAX : d->line_ms + SCENARIO_REMOVAL_MS + s->plan.disk_slack_ms;

    return d->is_orphan || d->message->has_torn_end || has_died_near(s, d) ||
           spool_has_failed(s, d, until_ms) || (d->is_report && spool_makes_again(s, d));
}

/* Without memory an answer that was read may still be lost. */
static bool is_heard(struct scenario *s, const struct delivery *d)
{
    return d->read_ms != 0 && !s->plan.has_memory_trouble;
}

static bool is_excused(struct scenario *s, const struct delivery *d)
{
    return ledger_may_come_twice(s, d) || !is_heard(s, d);
}

static bool is_like(const struct delivery *d, const struct message *m, unsigned recipient,
                    bool is_report)
{
    return d->message == m && d->recipient == recipient && d->is_report == is_report;
}

/* Of a list each leg may have a report of its own, and each of those comes once. */
static struct delivery *last_report(struct scenario *s, const struct message *m, unsigned index,
                                    const struct spool_file *report)
{
    struct delivery *last = NULL, *same = NULL;
    unsigned count = 0;

    LIST_EACH (link, &s->deliveries) {
        struct delivery *d = LIST_ENTRY(link, struct delivery, link);
        if (!is_like(d, m, index, true))
            continue;
        count++;
        last = d;
        if (d->report == report)
            same = d;
    }
    return same == NULL && count >= m->recipients[index].legs ? last : same;
}

/* Of two deliveries of which one is repeated: is it the other one that may come again? */
static bool is_excused_rather(struct scenario *s, const struct delivery *d,
                              const struct delivery *than)
{
    if (ledger_may_come_twice(s, than))
        return false;
    return ledger_may_come_twice(s, d) || !is_excused(s, than);
}

/* What the next delivery would repeat. NULL: one more is as it should be. */
static struct delivery *last_delivery(struct scenario *s, const struct message *m, unsigned index,
                                      int target)
{
    const struct story *r = &m->recipients[index];
    bool is_mixed = r->legs > 1 && r->was_rerouted; /* a leg may go anywhere */
    struct delivery *last = NULL;
    unsigned count = 0;

    LIST_EACH (link, &s->deliveries) {
        struct delivery *d = LIST_ENTRY(link, struct delivery, link);
        if (!is_like(d, m, index, false) || (r->legs > 1 && !is_mixed && d->target != target))
            continue;
        if (last == NULL || !is_mixed || is_excused_rather(s, d, last))
            last = d;
        count++;
    }
    return count >= (is_mixed ? r->legs : 1) ? last : NULL;
}

static void check_duplicate(struct scenario *s, const struct delivery *d)
{
    uint64_t since_ms = sim_now_ms(s->world) - d->taken_ms;
    bool has_waited = (int64_t)since_ms + d->ahead_ms >= UNKNOWN_WAITS_MS;
    const char *address = d->message->recipients[d->recipient].address;
    const char *what = d->is_report ? "the report on" : "message";

    scenario_count(s, COUNT_DUPLICATES);
    if (ledger_may_come_twice(s, d))
        return;
    if (is_heard(s, d))
        scenario_fail(s, "%s %u is delivered to %s twice; taken at %llu, told at %llu ms", what,
                      d->message->id, address, (unsigned long long)d->taken_ms,
                      (unsigned long long)d->read_ms);
    else if (!has_waited && !d->message->was_flushed)
        scenario_fail(s, "%s %u goes to %s again after %llu ms", what, d->message->id, address,
                      (unsigned long long)since_ms);
}

/* Whoever has read the wall clock when it was ahead goes on from there, though it is set back. */
static bool is_old(struct message *m, int64_t age_ms, uint64_t now_ms, int64_t wall_ms)
{
    int64_t ahead_ms = wall_ms - m->walls.end_ms - (int64_t)(now_ms - m->end_ms);

    if (m->walls.ahead_ms < ahead_ms)
        m->walls.ahead_ms = ahead_ms;
    return (int64_t)(now_ms - m->end_ms) + m->walls.ahead_ms >= age_ms - AGE_SLACK_MS;
}

/* The time of a message may be over by a clock that is set back afterwards. It begins when postern
 * takes the message over, which may be long after the end of data: when its target fell silent. */
void ledger_clock(struct scenario *s)
{
    const int64_t ages_ms[] = {(int64_t)s->plan.expire_ms, BOX_EXPIRE_MS};
    int64_t wall_ms = sim_wall_ms(s->world);
    uint64_t now_ms = sim_now_ms(s->world);

    LIST_EACH (link, &s->messages) {
        struct message *m = LIST_ENTRY(link, struct message, link);
        if (m->is_end_sent && !m->is_answered && m->walls.end_ms > wall_ms)
            m->walls.end_ms = wall_ms;
        if (m->is_end_sent && !m->is_answered && m->walls.late_ms < wall_ms)
            m->walls.late_ms = wall_ms;
        for (size_t i = 0; i < ARRAY_LENGTH(ages_ms); i++)
            if (m->old_ms[i] == 0 && m->is_end_sent && is_old(m, ages_ms[i], now_ms, wall_ms))
                m->old_ms[i] = now_ms;
    }
    LIST_EACH (link, &s->deliveries) {
        struct delivery *d = LIST_ENTRY(link, struct delivery, link);
        if (d->first_wall_ms > wall_ms)
            d->first_wall_ms = wall_ms;
        int64_t ahead_ms = wall_ms - d->first_wall_ms - (int64_t)(now_ms - d->taken_ms);
        if (d->ahead_ms < ahead_ms)
            d->ahead_ms = ahead_ms;
    }
}

/* `report`: NULL: it is none. */
static struct delivery *note_delivery(struct scenario *s, struct message *m, const struct story *r,
                                      int target, const struct spool_file *report)
{
    unsigned index = r == NULL ? 0 : (unsigned)(r - m->recipients);
    struct delivery *before =
        report != NULL ? last_report(s, m, index, report) : last_delivery(s, m, index, target);
    struct delivery *d = sim_alloc(sizeof(*d));

    ledger_clock(s);
    if (before != NULL)
        check_duplicate(s, before);
    *d = (struct delivery){.message = m,
                           .recipient = index,
                           .target = target,
                           .is_report = report != NULL,
                           .report = report,
                           .was_held = spool_is_on_hold(s, m, report != NULL),
                           .was_damaged =
                               report == NULL && target != SCENARIO_BOX && spool_is_damaged(s, m),
                           .taken_ms = sim_now_ms(s->world),
                           .first_wall_ms = sim_wall_ms(s->world)};
    list_append(&s->deliveries, &d->link);
    return d;
}

static void check_arrival(struct scenario *s, struct message *m, struct story *r, int target,
                          struct bytes content)
{
    const char *objection = filter_objection(s, m, r, target);

    if (!m->is_end_sent)
        scenario_fail(s, "message %u is delivered, its end was not sent", m->id);
    if (objection != NULL)
        scenario_fail(s, "message %u is delivered to %s, %s", m->id, r->address, objection);
    if (edit_holds(m) && !m->was_released)
        scenario_fail(s, "message %u is delivered to %s, and was quarantined", m->id, r->address);
    filter_check_lines(s, m, r, target, content);
}

static const struct spool_file *file_of_report(struct scenario *s, struct bytes content)
{
    struct bytes rest, id = value_of(content, "Message-ID: <", &rest);
    return spool_file_of(s, bytes_first(id, bytes_find(id, '@')));
}

static struct message *message_reported(struct scenario *s, struct bytes content,
                                        const struct spool_file *report)
{
    struct message *m = message_find(s, content);
    return m == NULL && report != NULL ? report->message : m;
}

static struct delivery *take_report(struct scenario *s, int target, const char *to,
                                    struct bytes content)
{
    struct message *of_sender = message_of_sender(s, bytes_of(to));
    const struct spool_file *report = file_of_report(s, content);
    struct message *m = of_sender != NULL ? of_sender : message_reported(s, content, report);
    struct story *r = ledger_report(s, m, content);

    if (report == NULL)
        scenario_fail(s, "a report to %s comes from nowhere", to);
    if (scenario_search(content, SCENARIO_WORD_LOGIN) != NULL)
        scenario_fail(s, "a report tells %s of our login", to);
    return of_sender == NULL || report == NULL ? NULL : note_delivery(s, m, r, target, report);
}

struct delivery *ledger_take(struct scenario *s, int target, const char *sender, const char *to,
                             struct bytes content)
{
    struct message *m = message_find(s, content);
    struct story *r = message_story(m, bytes_of(to));

    scenario_heard(s, "T=", (unsigned)target, content);
    if (sender[0] == '\0')
        return take_report(s, target, to, content);
    if (r == NULL || (r->ways & 1u << target) == 0 || strcmp(sender, m->sender) != 0) {
        scenario_fail(s, "target %d takes mail from %s for %s that nobody sent", target, sender,
                      to);
        return NULL;
    }
    check_arrival(s, m, r, target, content);
    if (!message_is_whole(s, m, r, target, content))
        scenario_fail(s, "message %u is not what was sent", m->id);
    if (r->taken_count++ == 0)
        scenario_count(s, COUNT_DELIVERED);
    return note_delivery(s, m, r, target, NULL);
}

/* The address whose Maildir that is: /mail/DOMAIN/LOCAL/new/NAME. */
static void address_of_box(const char *path, char address[128])
{
    char domain[48] = "", local[48] = "";

    if (sscanf(path, "/mail/%47[^/]/%47[^/]/", domain, local) == 2)
        snprintf(address, 128, "%s@%s", local, domain);
}

void ledger_box(struct scenario *s, const char *path, struct bytes content)
{
    struct message *m = message_find(s, content);
    char address[128] = "";
    struct delivery *d;
    struct story *r;

    address_of_box(path, address);
    r = message_story(m, bytes_of(address));
    scenario_heard(s, "B=", 0, bytes_of(address));
    if (r == NULL)
        return; /* spool_check() says what is wrong with it */
    check_arrival(s, m, r, SCENARIO_BOX, content);
    d = note_delivery(s, m, r, SCENARIO_BOX, NULL);
    d->read_ms = d->taken_ms;
    snprintf(d->path, sizeof(d->path), "%s", path);
}

/* ---- the end ---- */

/* A recipient that wants no report is let go without one, but only for a reason. */
static bool is_let_go(struct scenario *s, const struct message *m, const struct story *r)
{
    if (edit_holds(m) && s->plan.has_clock_trouble) /* the time of a quarantine ends */
        return true;
    return m->was_deleted || ((r->wants_no_report || m->was_report_deleted) &&
                              (may_have_failed(s, m, r) || has_expired_untold(s, m, r)));
}

static bool is_there(struct scenario *s, struct message *m, const struct story *r)
{
    unsigned excused = filter_excuses(s, m, r);

    if (r->legs == 1 || r->was_rerouted || excused > 0)
        return r->taken_count + r->box_count + excused >= r->legs;
    return r->taken_count > 0 && r->box_count > 0;
}

/* Only where the disk has failed may it have gone on behind a refusal. */
static bool is_out(struct scenario *s, const struct message *m, const struct story *r)
{
    bool is_refused = r->code >= 400 || (r->is_refused && r->legs == 1);
    return is_refused && !s->plan.has_memory_trouble && !spool_has_refused(s, m);
}

static void check_story(struct scenario *s, struct message *m, const struct story *r)
{
    bool is_safe = r->is_bounced || r->is_queued || is_let_go(s, m, r) || is_there(s, m, r);

    if (r->code / 100 == 2 && !is_safe)
        scenario_fail(s, "message %u to %s was acknowledged, and is lost", m->id, r->address);
    /* A list may be refused for one leg where the target of another has taken its RCPT already. */
    if (r->is_refused && r->taken_count + r->box_count > 0 && r->legs == 1)
        scenario_fail(s, "message %u to %s was refused, and delivered", m->id, r->address);
    if (r->is_returned && is_out(s, m, r))
        scenario_fail(s, "message %u to %s was refused, and returned", m->id, r->address);
}

/* One leg of a list that is all or nothing has failed when the target of the other one had its RCPT
 * already, and gets the message for others. */
static bool is_split(struct scenario *s, struct message *m, const struct story *r)
{
    bool has_others = false;

    for (unsigned i = 0; i < m->recipient_count; i++)
        if (&m->recipients[i] != r && m->recipients[i].is_accepted)
            has_others = true;
    return r->legs > 1 && has_others && s->targets.is_strict &&
           filter_is_against(s, m, SCENARIO_BOX);
}

/* What the client was refused may have been delivered only where the target's word was not heard,
 * or a commit has failed behind it. */
static void check_refused(struct scenario *s, const struct delivery *d)
{
    struct message *m = d->message;
    const struct story *r = &m->recipients[d->recipient];

    if (!d->is_report && r->code >= 400 && is_heard(s, d) && !spool_has_refused(s, m) &&
        !is_split(s, m, r))
        scenario_fail(s, "message %u to %s was refused with %d, and delivered", m->id, r->address,
                      r->code);
}

/* What a target took, and was heard to have taken, is in the log. */
static void check_logged(struct scenario *s, const struct delivery *d)
{
    if (d->was_held && !d->is_orphan)
        scenario_fail(s, "message %u is on hold, and taken at %llu ms", d->message->id,
                      (unsigned long long)d->taken_ms);
    if (d->was_damaged && !d->is_orphan)
        scenario_fail(s, "message %u is damaged, and taken at %llu ms", d->message->id,
                      (unsigned long long)d->taken_ms);
    if (d->line_ms == 0 && is_heard(s, d) && !d->is_orphan && !has_died_near(s, d) &&
        !spool_has_failed(s, d, UINT64_MAX))
        scenario_fail(s, "message %u to %s was taken at %llu ms, and no line says so",
                      d->message->id, d->message->recipients[d->recipient].address,
                      (unsigned long long)d->taken_ms);
}

void ledger_check(struct scenario *s)
{
    spool_check(s);
    log_check(s);
    filter_check(s);
    LIST_EACH (link, &s->messages) {
        struct message *m = LIST_ENTRY(link, struct message, link);
        for (unsigned i = 0; i < m->recipient_count; i++)
            check_story(s, m, &m->recipients[i]);
    }
    LIST_EACH (link, &s->deliveries) {
        check_refused(s, LIST_ENTRY(link, struct delivery, link));
        check_logged(s, LIST_ENTRY(link, struct delivery, link));
    }
}

void ledger_free(struct scenario *s)
{
    LIST_EACH (link, &s->deliveries)
        free(LIST_ENTRY(link, struct delivery, link));
    LIST_EACH (link, &s->deaths)
        free(LIST_ENTRY(link, struct death, link));
}
