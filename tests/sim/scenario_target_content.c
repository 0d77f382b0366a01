/* SPDX-License-Identifier: BSD-2-Clause */
/* The content that targets of a scenario hear, and what they say at its end: SMTP for all
 * recipients, LMTP for each. */
#include <stdio.h>

#include "tests/sim/scenario_target.h"

/* It has the message for this recipient. */
static void take(struct server *v, const char *to)
{
    struct bytes content = bytes_make(v->mail.content.at, v->mail.content.len);
    struct delivery *d = ledger_take(v->scenario, v->target, v->mail.sender, to, content);

    if (v->target == 1)
        backend_check(v->scenario, v->backend, to);
    if (d == NULL)
        return;
    d->is_orphan = sim_is_orphan(v->peer);
    v->deliveries[v->delivery_count++] = d;
}

static bool is_heard(const struct server *v)
{
    return !v->is_over && !v->is_silent && !v->holds;
}

static void answer_all(struct server *v)
{
    if (!server_answer(v, PLACE_END, NULL, "250 2.0.0 taken\r\n"))
        return;
    for (unsigned i = 0; i < v->mail.recipient_count; i++)
        take(v, v->mail.recipients[i]);
    if (is_heard(v))
        v->said_count = v->delivery_count;
}

enum liking { TAKES, DEFERS, REFUSES };

/* Of each recipient something else, now and then. */
static enum liking choose_liking(const struct server *v)
{
    struct scenario *s = v->scenario;

    if (s->is_healthy || !scenario_chance(s, s->targets.pick_percent))
        return TAKES;
    return scenario_chance(s, 50) ? DEFERS : REFUSES;
}

static void answer_one(struct server *v, const char *to, enum liking liking)
{
    static const char *const words[] = {[TAKES] = "250 2.0.0 taken",
                                        [DEFERS] = "452 4.2.2 mailbox full",
                                        [REFUSES] = "554 5.7.1 unwanted"};
    char text[120];

    snprintf(text, sizeof(text), "%s" SCENARIO_WORD_FOR "%s>\r\n", words[liking], to);
    if (liking != TAKES) {
        server_note_no(v, to, liking == REFUSES);
        server_say(v, text);
    } else if (server_answer(v, PLACE_END, to, text)) {
        take(v, to);
        if (is_heard(v))
            v->said_count = v->delivery_count;
    }
}

/* Where it takes them, and does not say so, it takes all that are left. */
static void answer_each(struct server *v)
{
    for (unsigned i = 0; i < v->mail.recipient_count; i++) {
        enum fault fault = v->weak.fault;
        answer_one(v, v->mail.recipients[i], is_heard(v) ? choose_liking(v) : TAKES);
        bool is_struck = fault != FAULT_NONE && v->weak.fault == FAULT_NONE;
        if (is_struck && server_is_end(fault))
            return;
    }
}

static void on_end(struct server *v)
{
    v->mail.is_content = v->mail.is_last = v->mail.has_sender = false;
    v->delivery_count = v->said_count = 0;
    if (v->is_silent || v->is_over || v->mail.recipient_count == 0)
        server_say(v, "554 5.5.1 no recipients\r\n");
    else if (v->is_lmtp)
        answer_each(v);
    else
        answer_all(v);
    v->mail.recipient_count = 0;
    v->mail.content.len = 0;
}

/* ---- its octets ---- */

void server_take_line(struct server *v, struct bytes line)
{
    if (bytes_is(line, ".\r\n")) {
        on_end(v);
        return;
    }
    if (line.at[0] == '.')
        line = bytes_skip(line, 1);
    sim_put(&v->mail.content, line);
    server_breaks_in_content(v);
}

void server_take_chunk(struct server *v, struct bytes heard)
{
    struct bytes part = bytes_first(heard, (size_t)v->mail.chunk_left);

    sim_put(&v->mail.content, part);
    v->mail.chunk_left -= part.len;
    sim_take(v->peer, part.len);
    if (server_breaks_in_content(v) || v->mail.chunk_left > 0)
        return;
    v->mail.is_chunk = false;
    if (v->mail.is_last)
        on_end(v);
    else
        server_say(v, v->mail.recipient_count > 0 ? "250 2.0.0 chunk\r\n"
                                                  : "554 5.5.1 no recipients\r\n");
}

/* ---- who has heard of it ---- */

void server_look_at_answer(struct server *v)
{
    if (sim_is_orphan(v->peer) || sim_unread(v->peer) > 0 || sim_was_reset(v->peer))
        return;
    for (unsigned i = 0; i < v->said_count; i++)
        if (v->deliveries[i]->read_ms == 0)
            v->deliveries[i]->read_ms = sim_now_ms(v->scenario->world);
}
