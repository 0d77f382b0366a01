/* SPDX-License-Identifier: BSD-2-Clause */
/* Transactions on one connection. Commands leave in one order, as many as may; answers come in
 * that order and are matched to them by a ring. */
#include "proxy/smtp/outbound.h"

#include "proxy/base/error.h"
#include "proxy/smtp/outcome.h"
#include "proxy/smtp/outbound_private.h"

#define OUT_MAX_BYTES    65536  /* of commands in `out`; others wait for room */
#define UNREAD_MAX_BYTES 131072 /* of replies fed in one turn */

/* ---- beginning and ending ---- */

void outbound_init(struct outbound *o, const struct outbound_conf *conf, struct pool *small,
                   struct pool *medium)
{
    *o = (struct outbound){.conf = conf};
    reply_parser_init(&o->in, small);
    buf_init(&o->unread, small, UNREAD_MAX_BYTES);
    buf_init(&o->xforward, small, OUT_MAX_BYTES);
    buf_init(&o->refusal.words, small, REPLY_MAX_BYTES);
    buf_init(&o->out, medium, OUT_MAX_BYTES);
    list_init(&o->waiting);
}

/* What was borrowed for the transaction is not touched any more. */
void outbound_forget(struct outbound *o)
{
    LIST_EACH (link, &o->waiting)
        list_remove(link);
    for (size_t i = 0; i < OUTBOUND_SENT_MAX; i++)
        o->sent.at[i].rcpt = NULL;
    buf_reset(&o->xforward);
    buf_reset(&o->refusal.words);
    o->refusal.reply.code = 0;
    o->refusal.heard.code = 0;
    o->job = (struct outbound_job){.envelope = NULL};
    o->has_job = false;
    o->wants_data = false;
}

void outbound_done(struct outbound *o)
{
    outbound_forget(o);
    reply_parser_done(&o->in);
    buf_done(&o->unread);
    buf_done(&o->out);
    o->state = OUT_GONE;
}

bool outbound_go_away(struct outbound *o, enum outbound_gone why, const struct reply *r,
                      struct outbound_event *ev)
{
    bool is_answer = r != NULL && r->code >= 400 && o->sent.count > 0 &&
                     o->sent.at[o->sent.first].kind == SENT_END;

    ev->kind = OUTBOUND_GONE;
    ev->why = why;
    ev->is_end_sent = o->state == OUT_FINAL && !is_answer;
    if (r != NULL)
        ev->reply = *r;
    else
        ev->error = ERR_CLOSED;
    outbound_forget(o);
    buf_done(&o->unread);
    buf_done(&o->out);
    o->state = OUT_GONE;
    o->chunk_left = 0;
    o->due = (struct outbound_due){.has_gone = false};
    return true;
}

void outbound_go_away_later(struct outbound *o, enum outbound_gone why)
{
    struct outbound_event ev;

    outbound_go_away(o, why, NULL, &ev);
    o->due = (struct outbound_due){.has_gone = true, .why = why, .is_end_sent = ev.is_end_sent};
}

/* The transaction has its outcome; the connection serves again when no answer is due. */
static void finish(struct outbound *o)
{
    outbound_forget(o);
    o->state = OUT_DRAINING;
}

/* Where nothing can be taken back any more, only closing is left. */
static bool may_live(const struct outbound *o)
{
    switch (o->state) {
    case OUT_GREETING:
    case OUT_EHLO:
    case OUT_HELO:
    case OUT_XCLIENT:
        return !o->has_job; /* EHLO needs the client's own name, which goes now */
    case OUT_IDLE:
        return true;
    case OUT_ENVELOPE:
        return !o->is_dot_content || o->accepted == 0;
    case OUT_CONTENT:
        return !o->is_dot_content && o->chunk_left == 0;
    case OUT_DRAINING:
        return o->chunk_left == 0;
    case OUT_FINAL:
    case OUT_QUITTING:
    case OUT_GONE:
        break;
    }
    return false;
}

bool outbound_abort(struct outbound *o)
{
    if (!may_live(o)) {
        outbound_go_away_later(o, GONE_ABORTED);
        o->due.has_gone = false;
        return false;
    }
    outbound_forget(o);
    o->due.has_go = false;
    if (o->state == OUT_ENVELOPE || o->state == OUT_CONTENT)
        o->state = OUT_DRAINING;
    outbound_say_more(o);
    return true;
}

void outbound_quit(struct outbound *o)
{
    if (o->state == OUT_GONE)
        return;
    if (o->state != OUT_IDLE) {
        outbound_go_away_later(o, GONE_CLOSED);
        return;
    }
    o->due.has_idle = false;
    o->state = OUT_QUITTING;
    buf_text(&o->out, "QUIT\r\n");
}

bool outbound_is_idle(const struct outbound *o)
{
    return o->state == OUT_IDLE && !o->due.has_idle && !o->due.has_eof &&
           buf_length(&o->unread) == 0 && reply_parser_is_empty(&o->in);
}

/* ---- where a reply leads ---- */

/* A command that was composed right cannot be answered so, unless we or the operator erred. */
static bool is_confused(const struct reply *r)
{
    switch (r->code) {
    case 500:
    case 502:
    case 503:
    case 530:
    case 538:
        return true;
    }
    return false;
}

static void judge(struct outbound_event *ev, const struct reply *r)
{
    ev->reply = *r;
    if (is_confused(r)) {
        ev->is_confused = true;
        ev->heard = *r;
        ev->reply = reply_own(REPLY_TARGET_CONFUSED);
    }
    ev->fate = outcome_of_code(ev->reply.code);
}

static bool answer_refused(const struct outbound *o, struct recipient *rcpt,
                           struct outbound_event *ev)
{
    ev->kind = OUTBOUND_ANSWER;
    ev->rcpt = rcpt;
    ev->reply = o->refusal.reply;
    ev->heard = o->refusal.heard;
    ev->is_confused = ev->heard.code != 0;
    ev->fate = outcome_of_code(ev->reply.code);
    return true;
}

static void on_xforward(struct outbound *o, const struct reply *r)
{
    if (reply_is_positive(r) || !o->has_job)
        return;
    outbound_say_no_identity(o, r);
}

static void on_mail(struct outbound *o, const struct reply *r)
{
    if (reply_is_positive(r))
        return;
    /* "nested MAIL", maybe */
    o->needs_rset = is_confused(r) && !outbound_has_sent(o, SENT_RSET);
    if (!o->has_job)
        return;
    outbound_say_no(o, is_confused(r) ? reply_own(REPLY_TARGET_CONFUSED) : *r, r);
}

static bool on_rcpt(struct outbound *o, struct recipient *rcpt, const struct reply *r,
                    struct outbound_event *ev)
{
    if (reply_is_positive(r)) {
        o->accepted++;
        /* Even where MAIL was refused; but not where RSET is on its way behind it. */
        o->needs_rset = !outbound_has_sent(o, SENT_RSET);
    }
    if (rcpt == NULL)
        return false;
    if (o->refusal.reply.code != 0 && (reply_is_positive(r) || !o->refusal.is_identity))
        return answer_refused(o, rcpt, ev);
    ev->kind = OUTBOUND_ANSWER;
    ev->rcpt = rcpt;
    ev->is_heard = true;
    judge(ev, r);
    return true;
}

static bool final_answer(struct outbound *o, const struct reply *r, bool is_early,
                         struct outbound_event *ev)
{
    ev->kind = OUTBOUND_FINAL_ANSWER;
    ev->is_early = is_early;
    judge(ev, r);
    finish(o);
    return true;
}

/* `accepted` is the target's count: where it took a recipient that we do not want any more, a
 * lone dot would deliver an empty message. */
static bool on_data(struct outbound *o, const struct reply *r, struct outbound_event *ev)
{
    bool stands = o->state == OUT_ENVELOPE && o->refusal.reply.code == 0 && o->accepted > 0;

    if (outbound_class(r) == 3 && stands) {
        o->state = OUT_CONTENT;
        ev->kind = OUTBOUND_GO;
        return true;
    }
    if (outbound_class(r) == 3 && o->accepted > 0)
        return outbound_go_away(o, GONE_ABORTED, NULL, ev);
    o->is_dot_content = false;
    o->wants_data = false;
    if (stands)
        return final_answer(o, r, true, ev);
    if (outbound_class(r) == 3)
        outbound_say_lone_dot(o);
    return false;
}

/* A positive answer to octets that were not written is none. */
static bool is_premature(const struct outbound *o, const struct reply *r)
{
    return reply_is_positive(r) && o->sent.count == 0 && o->chunk_left > 0;
}

static bool on_chunk(struct outbound *o, const struct reply *r, struct outbound_event *ev)
{
    if (is_premature(o, r))
        return outbound_go_away(o, GONE_LOST, r, ev);
    if (reply_is_positive(r) || o->state == OUT_DRAINING)
        return false;
    return final_answer(o, r, true, ev);
}

static bool on_end(struct outbound *o, const struct reply *r, struct outbound_event *ev)
{
    bool is_early = o->chunk_left > 0;

    if (is_premature(o, r))
        return outbound_go_away(o, GONE_LOST, r, ev);
    if (o->state == OUT_DRAINING)
        return false;
    /* After a final dot nothing is left; after a chunk that was refused, who knows? */
    o->needs_rset = !reply_is_positive(r) && !o->is_dot_content;
    if (reply_is_positive(r))
        o->refusals = 0;
    return final_answer(o, r, is_early, ev);
}

/* No command waits for it: all that makes sense is the early answer to an end of data. */
static bool on_unasked(struct outbound *o, const struct reply *r, struct outbound_event *ev)
{
    if (o->state != OUT_CONTENT || !o->is_dot_content || r->code < 400)
        return outbound_go_away(o, GONE_LOST, r, ev);
    final_answer(o, r, true, ev);
    outbound_go_away_later(o, GONE_ABORTED);
    return true;
}

static struct outbound_sent pop(struct outbound *o)
{
    struct outbound_ring *ring = &o->sent;
    struct outbound_sent sent = ring->at[ring->first];

    assert(ring->count > 0);
    ring->first = (uint8_t)((ring->first + 1) % OUTBOUND_SENT_MAX);
    ring->count--;
    return sent;
}

static bool on_answer(struct outbound *o, const struct reply *r, struct outbound_event *ev)
{
    struct outbound_sent sent;
    bool is_data;

    if (o->sent.count == 0)
        return on_unasked(o, r, ev);
    is_data = o->sent.at[o->sent.first].kind == SENT_DATA;
    if (outbound_class(r) == (is_data ? 2 : 3))
        return outbound_go_away(o, GONE_LOST, r, ev);
    if (r->code >= 400)
        o->refusals++;
    sent = pop(o);
    switch (sent.kind) {
    case SENT_XFORWARD:
        on_xforward(o, r);
        return false;
    case SENT_MAIL:
        on_mail(o, r);
        return false;
    case SENT_RCPT:
        return on_rcpt(o, sent.rcpt, r, ev);
    case SENT_DATA:
        return on_data(o, r, ev);
    case SENT_BDAT:
        return on_chunk(o, r, ev);
    case SENT_END:
        return on_end(o, r, ev);
    case SENT_RSET: /* recipients of the transaction before might stand */
        return !reply_is_positive(r) && outbound_go_away(o, GONE_LOST, r, ev);
    case SENT_LONE_DOT:
        return false;
    }
    return false;
}

/* 421 and 521 end the connection whatever was asked. */
static bool is_farewell(const struct outbound *o, const struct reply *r, enum outbound_gone *why)
{
    bool is_verdict = r->code == 521 || (o->is_impersonated && outbound_is_policy(r));

    *why = is_verdict ? GONE_VERDICT : GONE_LOST;
    return r->code == 421 || r->code == 521;
}

static bool on_reply(struct outbound *o, const struct reply *r, struct outbound_event *ev)
{
    enum outbound_gone why;

    switch (o->state) {
    case OUT_GREETING:
    case OUT_EHLO:
    case OUT_HELO:
    case OUT_XCLIENT:
        return outbound_hello_reply(o, r, ev);
    case OUT_IDLE:
        return outbound_go_away(o, r->code == 421 ? GONE_CLOSED : GONE_LOST, r, ev);
    case OUT_ENVELOPE:
    case OUT_CONTENT:
    case OUT_FINAL:
    case OUT_DRAINING:
        if (is_farewell(o, r, &why))
            return outbound_go_away(o, why, r, ev);
        return on_answer(o, r, ev);
    case OUT_QUITTING:
        return outbound_go_away(o, GONE_CLOSED, r, ev);
    case OUT_GONE:
        break;
    }
    return false;
}

/* ---- feeding and draining ---- */

void outbound_feed(struct outbound *o, struct bytes in)
{
    if (o->state != OUT_GONE)
        buf_put(&o->unread, in);
}

void outbound_eof(struct outbound *o)
{
    if (o->state != OUT_GONE)
        o->due.has_eof = true;
}

/* 0: a reply; ERR_NOT_FOUND: none has come. */
static int take_reply(struct outbound *o, struct reply *r)
{
    struct bytes rest = buf_bytes(&o->unread);
    size_t length = rest.len;
    int error = reply_parser_take(&o->in, &rest, r);

    buf_consume(&o->unread, length - rest.len);
    return error;
}

/* Nothing was heard that could be answered to. */
static bool on_silence(struct outbound *o, int error, struct outbound_event *ev)
{
    bool is_end = error == ERR_NOT_FOUND;
    bool is_fine = o->state == OUT_QUITTING ||
                   (o->state == OUT_IDLE && is_end && reply_parser_is_empty(&o->in));
    enum outbound_gone why = is_fine ? GONE_CLOSED : GONE_LOST;

    if (is_end && !o->due.has_eof)
        return false;
    if (error == ERR_MEMORY)
        why = GONE_SHORTAGE;
    outbound_go_away(o, why, NULL, ev);
    if (error == ERR_GARBAGE)
        ev->reply.wire = reply_parser_garbage(&o->in);
    if (!is_end)
        ev->error = error;
    return true;
}

/* What is known without asking the target. */
static bool tell_due(struct outbound *o, struct outbound_event *ev)
{
    if (o->due.has_gone) {
        o->due.has_gone = false;
        ev->kind = OUTBOUND_GONE;
        ev->why = o->due.why;
        ev->error = o->due.why == GONE_SHORTAGE ? ERR_MEMORY : ERR_CLOSED;
        ev->is_end_sent = o->due.is_end_sent;
    } else if (o->due.has_go) {
        o->due.has_go = false;
        ev->kind = OUTBOUND_GO;
    } else if (o->due.has_idle) {
        o->due.has_idle = false;
        ev->kind = OUTBOUND_IDLE;
    } else if (o->refusal.reply.code != 0 && !list_is_empty(&o->waiting)) {
        answer_refused(o, outbound_take_waiting(o), ev);
    } else {
        return false;
    }
    return true;
}

bool outbound_next(struct outbound *o, struct outbound_event *out)
{
    struct outbound_event ev = {.kind = OUTBOUND_GONE};
    bool is_told = false;

    while (!is_told) {
        struct reply r;
        int error;

        if (o->state != OUT_GONE &&
            (o->out.has_failed || o->unread.has_failed || o->xforward.has_failed))
            outbound_go_away_later(o, GONE_SHORTAGE);
        is_told = tell_due(o, &ev);
        if (is_told || o->state == OUT_GONE)
            break;
        error = take_reply(o, &r);
        if (error != 0) {
            is_told = on_silence(o, error, &ev);
            break;
        }
        is_told = on_reply(o, &r, &ev);
        outbound_say_more(o);
    }
    if (is_told)
        *out = ev;
    return is_told;
}
