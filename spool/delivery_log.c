/* SPDX-License-Identifier: BSD-2-Clause */
/* The log lines of deliveries: one for each recipient that has an outcome. */
#include "spool/delivery_private.h"

static struct log_line begin(const struct delivery *d, enum log_level level, const char *event)
{
    const struct runner_host *host = &d->runner->host;
    struct log_line line = log_begin(host->log, host->log_sinks, level, event);

    if (d->message.envelope.session.text[0] != '\0')
        log_put_text(&line, "session", d->message.envelope.session.text);
    log_put_text(&line, "transaction", d->place.id.text);
    return line;
}

static void put_address(const struct delivery *d, struct log_line *line, const char *key,
                        const struct address *address)
{
    struct buf text;

    buf_init(&text, &loop_pools(d->runner->host.loop)->medium, 4096);
    buf_text(&text, "<");
    address_put(&text, address);
    buf_text(&text, ">");
    log_put(line, key, buf_bytes(&text));
    buf_done(&text);
}

/* What was delivered before, perhaps by a live transaction, is only reported now. */
static const char *event_of(const struct delivery *d, uint32_t index)
{
    switch (d->message.recipients[index].fate) {
    case FATE_ACCEPTED:
    case FATE_DISCARDED:
        return d->end.is_changed[index] ? "delivered" : "reported";
    case FATE_REFUSED:
        return d->end.is_expired[index] ? "expired" : "bounced";
    case FATE_OPEN:
    case FATE_DEFERRED:
    case FATE_LOST:
    case FATE_UNKNOWN:
    case FATE_HELD:
        break;
    }
    return "deferred";
}

static bool is_told(const struct delivery *d, const struct delivery_report *report, uint32_t index)
{
    return report != NULL && delivery_is_arrived(report) &&
           bounce_is_wanted(&d->message.recipients[index], report->report.kind);
}

/* The report that was just made about this recipient; NULL: none. Only one kind can be due for a
 * recipient. A delay that nobody is told of is no event. */
static const struct delivery_report *report_of(const struct delivery *d, uint32_t index)
{
    for (int kind = 0; kind < BOUNCE_KINDS; kind++) {
        const struct delivery_report *report = &d->end.reports[kind];
        if (report->is_made && report->is_due[index] &&
            (kind != BOUNCE_DELAYED || is_told(d, report, index)))
            return report;
    }
    return NULL;
}

void delivery_log_recipient(struct delivery *d, uint32_t index)
{
    const struct spool_recipient *s = &d->message.recipients[index];
    const struct delivery_report *report = report_of(d, index);
    struct log_line line;

    if (!d->end.is_changed[index] && report == NULL)
        return;
    line = begin(d, LOG_LEVEL_INFO, event_of(d, index));
    put_address(d, &line, "from", &d->message.envelope.from);
    put_address(d, &line, "rcpt", &s->original);
    log_put(&line, "target", s->target);
    if (s->remote.len != 0)
        log_put(&line, "address", s->remote);
    log_put(&line, "reply", s->reply);
    log_put_number(&line, "tries", s->tries);
    log_put_number(&line, "delay_s", (d->end.now_ms - d->message.arrived_ms) / 1000);
    if (s->may_be_duplicate || d->file->was_left)
        log_put_text(&line, "duplicate", "possible");
    if (is_told(d, report, index))
        log_put_text(&line, "report", report->report.place.id.text);
    log_end(&line);
}

void delivery_log_held(const struct delivery *d)
{
    struct log_line line = begin(d, LOG_LEVEL_ERROR, "held");

    put_address(d, &line, "from", &d->message.envelope.from);
    log_put_text(&line, "reason", DELIVERY_HELD_WORDS);
    log_end(&line);
}

/* What was written last is lost, and may have said that a target has the message. */
void delivery_log_torn(const struct delivery *d)
{
    struct log_line line = begin(d, LOG_LEVEL_WARNING, "queue-file");

    log_put_text(&line, "result", "a torn end was cut");
    log_put_text(&line, "duplicate", "possible");
    log_end(&line);
}

void delivery_log_bad(const struct delivery *d, int error)
{
    struct log_line line = begin(d, LOG_LEVEL_ERROR, "queue-file");

    log_put_text(&line, "result", "moved to bad/");
    log_put_text(&line, "reason", store_damage(error));
    log_end(&line);
}

void delivery_log_failed(const struct delivery *d, const char *what, int error)
{
    struct log_line line = begin(d, LOG_LEVEL_ERROR, "queue-file");

    log_put_text(&line, "failed", what);
    log_put_error(&line, "error", error);
    log_end(&line);
}
