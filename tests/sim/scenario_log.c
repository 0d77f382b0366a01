/* SPDX-License-Identifier: BSD-2-Clause */
/* The log of a scenario, held against what has happened: line by line, when each is written. */
#include <stdio.h>

#include "tests/sim/scenario.h"

#define STILL_MS 90000 /* what fails then will fail for ever */

/* ---- reading ---- */

/* `key` with its "=", and a blank before it. Without quotes. */
static struct bytes value_of(struct bytes line, const char *key)
{
    const char *at = scenario_search(line, key);
    struct bytes value;

    if (at == NULL)
        return bytes_make(NULL, 0);
    value = bytes_skip(line, (size_t)(at - (const char *)line.at) + strlen(key));
    if (value.len > 0 && value.at[0] == '"') {
        value = bytes_skip(value, 1);
        return bytes_first(value, bytes_find(value, '"'));
    }
    return bytes_first(value, bytes_find(bytes_first(value, bytes_find(value, '\n')), ' '));
}

/* Of "<joe@a.test>". */
static struct bytes address_of(struct bytes line, const char *key)
{
    struct bytes value = value_of(line, key);

    return value.len < 2 ? value : bytes_first(bytes_skip(value, 1), value.len - 2);
}

static int target_of(struct bytes name)
{
    if (bytes_is(name, "box") || bytes_is(name, "shelf"))
        return SCENARIO_BOX;
    return name.len > 0 && name.at[0] == 'b' ? 1 : 0; /* or one of its addresses */
}

/* A line about one recipient of a message in the queue. */
struct told {
    struct message *message; /* NULL: none that is followed */
    struct story *recipient; /* NULL: a report */
    int target;
    bool is_report;
};

static struct message *message_of_transaction(struct scenario *s, struct bytes line)
{
    const struct spool_file *f = spool_file_of(s, value_of(line, " transaction="));

    return f == NULL || f->is_report ? NULL : f->message;
}

static struct told read_line(struct scenario *s, struct bytes line)
{
    struct bytes from = address_of(line, " from="), to = address_of(line, " rcpt=");
    bool is_report = bytes_is(value_of(line, " from="), "<>"); /* "": there was no memory for it */
    struct told told = {.is_report = is_report, .target = target_of(value_of(line, " target="))};

    told.message = message_of_sender(s, told.is_report ? to : from);
    if (from.len == 0 && !is_report)
        told.message = message_of_transaction(s, line);
    if (!told.is_report)
        told.recipient = message_story(told.message, to);
    return told;
}

/* ---- delivered ---- */

static bool is_told(const struct delivery *d, const struct told *told)
{
    return d->message == told->message && d->is_report == told->is_report &&
           d->target == told->target &&
           (told->is_report || &d->message->recipients[d->recipient] == told->recipient);
}

/* What a Maildir took, and the sender is to hear of, lies in the queue until he has a report: the
 * report may be made again, without a delivery. */
static bool is_report_again(struct scenario *s, const struct told *told, struct bytes line)
{
    if (value_of(bytes_first(line, bytes_find(line, '\n')), " report=").len == 0)
        return false;
    LIST_EACH (link, &s->deliveries) {
        const struct delivery *d = LIST_ENTRY(link, struct delivery, link);
        if (is_told(d, told) && ledger_may_come_twice(s, d))
            return true;
    }
    return false;
}

static void on_delivered(struct scenario *s, struct bytes line)
{
    struct told told = read_line(s, line);
    struct delivery *last = NULL;

    if (told.message == NULL || (!told.is_report && told.recipient == NULL))
        return;
    LIST_EACH (link, &s->deliveries) {
        struct delivery *d = LIST_ENTRY(link, struct delivery, link);
        bool may_be = d->line_ms == 0 || (d->is_of_session && last == NULL);
        bool is_worse = last != NULL && last->read_ms != 0 && d->read_ms == 0;
        if (may_be && !is_worse && is_told(d, &told)) /* two reports look the same */
            last = d;
    }
    if (last != NULL) {
        last->line_ms = sim_now_ms(s->world);
        last->is_of_session = false;
    } else if (!is_report_again(s, &told, line)) {
        scenario_fail(s, "it did not arrive: %.*s", (int)bytes_find(line, '\n'),
                      (const char *)line.at);
    }
}

/* The end of a session's transaction tells of all that its targets took; a runner beside it may
 * have begun to deliver what it spooled. */
static void on_transaction(struct scenario *s, struct bytes line)
{
    struct message *m = message_of_sender(s, address_of(line, " from="));

    LIST_EACH (link, &s->deliveries) {
        struct delivery *d = LIST_ENTRY(link, struct delivery, link);
        if (m == NULL || d->message != m || d->is_report || d->line_ms != 0)
            continue;
        d->line_ms = sim_now_ms(s->world);
        d->is_of_session = true;
    }
}

/* ---- given up ---- */

/* Memory was short, or the file could not be read: no target has heard of that try. */
static bool was_tried_here(struct bytes line)
{
    return scenario_search(bytes_first(line, bytes_find(line, '\n')), "4.3.0 Local problem") !=
           NULL;
}

/* There was no memory for its name. */
static void note_nameless(const struct told *told)
{
    for (unsigned i = 0; i < told->message->recipient_count; i++)
        if ((told->message->recipients[i].ways & 1u << told->target) != 0)
            told->message->recipients[i].has_expired = true;
}

static void on_expired(struct scenario *s, struct bytes line)
{
    struct told told = read_line(s, line);

    s->targets.report_refusals += told.is_report;
    if (told.is_report || told.message == NULL)
        return;
    if (told.recipient == NULL) {
        note_nameless(&told);
        return;
    }
    ledger_clock(s);
    told.recipient->has_expired = true;
    if (told.message->old_ms[told.target == SCENARIO_BOX] == 0)
        scenario_fail(s, "message %u to %s has expired too early", told.message->id,
                      told.recipient->address);
    else if (!was_tried_here(line) &&
             !ledger_may_expire(s, told.message, told.recipient, told.target))
        scenario_fail(s, "message %u to %s has expired, and was not tried before", told.message->id,
                      told.recipient->address);
}

/* It had expired before, and died, or could not sync, before that was told. */
static void on_bounced(struct scenario *s, struct bytes line)
{
    struct told told = read_line(s, line);

    if (told.recipient == NULL || scenario_search(line, "Delivery time expired") == NULL)
        return;
    ledger_clock(s);
    if (told.message->old_ms[told.target == SCENARIO_BOX] != 0)
        told.recipient->has_expired = true;
}

/* Of a report the cause is known to be told from here on. One to the postmaster about a message
 * that could not be read does not say itself what it is about. */
static void on_report(struct scenario *s, struct bytes line)
{
    struct spool_file *f = spool_file_of(s, value_of(line, " report="));
    const struct spool_file *cause = spool_file_of(s, value_of(line, " transaction="));

    if (f == NULL)
        return;
    f->told_ms = sim_now_ms(s->world);
    f->is_cause_gone = cause != NULL && !spool_is_in_queue(s, cause);
    if (f->message == NULL)
        f->message = message_of_transaction(s, line);
}

/* ---- all of them ---- */

static bool begins(struct bytes line, const char *event)
{
    size_t len = strlen(event);

    return line.len > len && memcmp(line.at, event, len) == 0;
}

/* queue-file, queue-stray, queue-not-read, queue-not-synced */
static void on_queue(struct scenario *s, struct bytes line)
{
    struct spool_file *f = spool_file_of(s, value_of(line, " transaction="));

    if (f != NULL && begins(line, "queue-file "))
        f->is_told = true;
    if (!begins(line, "queue-stray ")) /* which is there, and no failure */
        s->bad.line_ms = sim_now_ms(s->world);
    if (bytes_is(value_of(line, " error="), "out of memory"))
        spool_note_failure(s, message_of_transaction(s, line), value_of(line, " transaction="));
}

static void on_line(void *owner, struct bytes line)
{
    struct scenario *s = owner;

    if (s->is_loud)
        printf("%9llu %.*s", (unsigned long long)sim_now_ms(s->world), (int)line.len,
               (const char *)line.at);
    switch (line.at[0]) {
    case 'd':
        if (begins(line, "delivered "))
            on_delivered(s, line);
        break;
    case 't':
        if (begins(line, "transaction "))
            on_transaction(s, line);
        return;
    case 'e':
        if (begins(line, "expired "))
            on_expired(s, line);
        break;
    case 'b':
        if (begins(line, "bounced "))
            on_bounced(s, line);
        break;
    case 'q':
        on_queue(s, line);
        return;
    default:
        return;
    }
    on_report(s, line);
}

static bool has_unreadable(const struct scenario *s)
{
    LIST_EACH (link, &s->files)
        if (LIST_ENTRY(link, struct spool_file, link)->is_unreadable)
            return true;
    return false;
}

/* Where all is well nothing fails any more, and certainly not for ever. */
void log_check(struct scenario *s)
{
    secret_check(s, "the log", sim_log(s->world));
    if (s->bad.over_ms > s->heal_ms + STILL_MS && s->bad.line_ms + STILL_MS > s->bad.over_ms &&
        !has_unreadable(s))
        scenario_fail(s, "the queue still fails at %llu ms, and all is well",
                      (unsigned long long)s->bad.line_ms);
}

void log_watch(struct scenario *s)
{
    sim_on_line(s->world, on_line, s);
}
