/* SPDX-License-Identifier: BSD-2-Clause */
/* Transactions on one connection. Answers come in the order of the commands; a ring of the commands
 * that were sent tells which answer belongs to which. */
#include "proxy/smtp/outbound.h"

#include "proxy/base/error.h"
#include "proxy/smtp/outcome.h"
#include "proxy/smtp/outbound_private.h"

#define OUT_MAX_BYTES    65536  /* of commands in `out`; more wait for room */
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
    limits_used_init(&o->named, small);
    list_init(&o->rcpts.waiting);
    list_init(&o->rcpts.owed);
}

void outbound_forget(struct outbound *o)
{
    LIST_EACH (link, &o->rcpts.waiting)
        list_remove(link);
    LIST_EACH (link, &o->rcpts.owed)
        list_remove(link);
    o->due.has_over_limit = false;
    for (size_t i = 0; i < OUTBOUND_SENT_MAX; i++)
        o->sent.at[i].rcpt = NULL;
    buf_reset(&o->xforward);
    buf_reset(&o->refusal.words);
    limits_used_reset(&o->named);
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
    outbound_drop_out(o);
    o->state = OUT_GONE;
}

/* Is the reply the answer to our end of data, for everybody who still waits for one? */
static bool answers_end(const struct outbound *o, const struct reply *reply)
{
    return reply != NULL && reply->code >= 400 && o->sent.count > 0 &&
           o->sent.at[o->sent.first].kind == SENT_END && o->rcpts.owed.next == o->rcpts.owed.prev;
}

bool outbound_go_away(struct outbound *o, enum outbound_gone why, const struct reply *reply,
                      struct outbound_event *ev)
{
    bool is_answer = answers_end(o, reply);

    ev->kind = OUTBOUND_GONE;
    ev->why = why;
    ev->is_end_sent = o->state == OUT_FINAL && !is_answer;
    if (reply != NULL)
        ev->reply = *reply;
    else
        ev->error = ERR_CLOSED;
    outbound_forget(o);
    buf_done(&o->unread);
    outbound_drop_out(o);
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

/* The transaction has its outcome. The connection may serve again when no answer is due. */
static void finish(struct outbound *o)
{
    outbound_forget(o);
    o->state = OUT_DRAINING;
}

/* Can the transaction be given up without closing? Not where the target waits for more of it. */
static bool may_live(const struct outbound *o)
{
    switch (o->state) {
    case OUT_GREETING:
    case OUT_EHLO:
    case OUT_HELO:
    case OUT_STARTTLS:
    case OUT_SECURING:
    case OUT_PROVING:
    case OUT_AUTH:
    case OUT_XCLIENT:
        return !o->has_job; /* the name that EHLO says is the client's, and goes with the
                               transaction */
    case OUT_IDLE:
        return true;
    case OUT_ENVELOPE:
        return !o->is_dot_content || o->accepted == 0;
    case OUT_CONTENT:
        return !o->is_dot_content && o->chunk_left == 0;
    case OUT_DRAINING:
        return o->chunk_left == 0;
    case OUT_FINAL:
    case OUT_LOGIN:
    case OUT_LOGIN_LINE:
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
    if (o->state != OUT_IDLE && o->state != OUT_LOGIN_LINE) {
        outbound_go_away_later(o, GONE_CLOSED);
        return;
    }
    buf_text(&o->out, o->state == OUT_LOGIN_LINE ? "*\r\nQUIT\r\n" : "QUIT\r\n"); /* RFC 4954 4 */
    o->due.has_idle = false;
    o->state = OUT_QUITTING;
}

bool outbound_is_idle(const struct outbound *o)
{
    return o->state == OUT_IDLE && !o->due.has_idle && !o->due.has_eof &&
           buf_length(&o->unread) == 0 && reply_parser_is_empty(&o->in);
}

/* ---- where a reply leads ---- */

/* Such an answer to a well-formed command means that we or the operator erred. */
static bool is_confused(const struct outbound *o, const struct reply *reply)
{
    switch (reply->code) {
    case 500:
    case 502:
    case 503:
    case 538:
        return true;
    case 530:
        return !o->job.passes_530;
    }
    return false;
}

static void judge(const struct outbound *o, struct outbound_event *ev, const struct reply *reply)
{
    ev->reply = *reply;
    if (is_confused(o, reply)) {
        ev->is_confused = true;
        ev->heard = *reply;
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

/* RFC 9422 5.2: what the target would refuse is not asked. It fits into another transaction. */
static void answer_over_limit(struct outbound *o, struct outbound_event *ev)
{
    o->due.has_over_limit = false;
    ev->kind = OUTBOUND_ANSWER;
    ev->rcpt = outbound_take_waiting(o);
    ev->reply = reply_own(REPLY_TOO_MANY_RECIPIENTS);
    ev->fate = FATE_DEFERRED;
    outbound_say_more(o);
}

static void on_xforward(struct outbound *o, const struct reply *reply)
{
    if (reply_is_positive(reply) || !o->has_job)
        return;
    outbound_refuse_identity(o, reply);
}

static void on_mail(struct outbound *o, const struct reply *reply)
{
    if (reply_is_positive(reply))
        return;
    /* It may be "nested MAIL". */
    o->needs_rset = is_confused(o, reply) && !outbound_has_sent(o, SENT_RSET);
    if (!o->has_job)
        return;
    outbound_refuse(o, is_confused(o, reply) ? reply_own(REPLY_TARGET_CONFUSED) : *reply, reply);
}

static bool on_rcpt(struct outbound *o, struct recipient *rcpt, const struct reply *reply,
                    struct outbound_event *ev)
{
    if (reply_is_positive(reply)) {
        o->accepted++;
        /* Even where MAIL was refused, but not where RSET was sent after this RCPT. */
        o->needs_rset = !outbound_has_sent(o, SENT_RSET);
    }
    if (rcpt == NULL)
        return false;
    if (reply_is_positive(reply) && o->conf->is_lmtp)
        list_append(&o->rcpts.owed, &rcpt->in_outbound);
    if (o->refusal.reply.code != 0 && (reply_is_positive(reply) || !o->refusal.is_identity))
        return answer_refused(o, rcpt, ev);
    ev->kind = OUTBOUND_ANSWER;
    ev->rcpt = rcpt;
    ev->is_heard = true;
    judge(o, ev, reply);
    return true;
}

enum timing { EARLY, AFTER_END };

static bool final_answer(struct outbound *o, const struct reply *reply, enum timing timing,
                         struct outbound_event *ev)
{
    ev->kind = OUTBOUND_FINAL_ANSWER;
    ev->is_early = timing == EARLY;
    ev->is_last = list_is_empty(&o->rcpts.owed);
    judge(o, ev, reply);
    if (ev->is_last)
        finish(o);
    return true;
}

/* The early answer is for all. */
static bool final_answer_early(struct outbound *o, const struct reply *reply,
                               struct outbound_event *ev)
{
    LIST_EACH (link, &o->rcpts.owed)
        list_remove(link);
    return final_answer(o, reply, EARLY, ev);
}

/* `accepted` counts what the target took. It may have taken a recipient that we do not want any
 * more: a lone dot would then deliver an empty message. How often LMTP answers a lone dot that
 * nobody gets is not known. */
static bool on_data(struct outbound *o, const struct reply *reply, struct outbound_event *ev)
{
    bool stands = o->state == OUT_ENVELOPE && o->refusal.reply.code == 0 && o->accepted > 0;

    if (outbound_class(reply) == 3 && stands) {
        o->state = OUT_CONTENT;
        ev->kind = OUTBOUND_GO;
        return true;
    }
    if (outbound_class(reply) == 3 && (o->accepted > 0 || o->conf->is_lmtp))
        return outbound_go_away(o, GONE_ABORTED, NULL, ev);
    o->is_dot_content = false;
    o->wants_data = false;
    if (stands)
        return final_answer_early(o, reply, ev);
    if (outbound_class(reply) == 3)
        outbound_say_lone_dot(o);
    return false;
}

/* A positive answer to a chunk that was not written whole cannot be right. */
static bool is_premature(const struct outbound *o, const struct reply *reply)
{
    return reply_is_positive(reply) && o->sent.count == 0 && o->chunk_left > 0;
}

/* How often LMTP answers the LAST chunk behind one that was refused is not known. */
static bool on_chunk(struct outbound *o, const struct reply *reply, struct outbound_event *ev)
{
    bool is_end_said = outbound_has_sent(o, SENT_END);

    if (is_premature(o, reply))
        return outbound_go_away(o, GONE_LOST, reply, ev);
    if (reply_is_positive(reply) || o->state == OUT_DRAINING)
        return false;
    final_answer_early(o, reply, ev);
    if (o->conf->is_lmtp && is_end_said)
        outbound_go_away_later(o, GONE_ABORTED);
    return true;
}

/* `rcpt`: whose answer it is; NULL: everybody's. */
static bool on_end(struct outbound *o, struct recipient *rcpt, const struct reply *reply,
                   struct outbound_event *ev)
{
    enum timing timing = o->chunk_left > 0 ? EARLY : AFTER_END;

    if (reply_is_positive(reply) && timing == EARLY)
        return outbound_go_away(o, GONE_LOST, reply, ev);
    if (o->state == OUT_DRAINING)
        return false;
    /* The final dot ends the transaction at the target in any case, a refused chunk may not. */
    o->rcpts.is_end_refused = o->rcpts.is_end_refused || !reply_is_positive(reply);
    o->needs_rset = o->rcpts.is_end_refused && !o->is_dot_content;
    if (reply_is_positive(reply))
        o->refusals = 0;
    ev->rcpt = rcpt;
    return final_answer(o, reply, timing, ev);
}

/* No command waits for this reply. It makes sense only as an early answer to the end of data. */
static bool on_unasked(struct outbound *o, const struct reply *reply, struct outbound_event *ev)
{
    if (o->state != OUT_CONTENT || !o->is_dot_content || reply->code < 400)
        return outbound_go_away(o, GONE_LOST, reply, ev);
    final_answer_early(o, reply, ev);
    outbound_go_away_later(o, GONE_ABORTED);
    return true;
}

static struct recipient *take_owed(struct outbound *o)
{
    struct list *first = list_first(&o->rcpts.owed);

    if (first == NULL)
        return NULL;
    list_remove(first);
    return LIST_ENTRY(first, struct recipient, in_outbound);
}

/* The command that is answered now. LMTP answers the end of data once for each recipient. */
static struct outbound_sent take_sent(struct outbound *o)
{
    struct outbound_ring *ring = &o->sent;
    struct outbound_sent sent = ring->at[ring->first];

    assert(ring->count > 0);
    if (sent.kind == SENT_END)
        sent.rcpt = take_owed(o);
    if (sent.kind == SENT_END && !list_is_empty(&o->rcpts.owed))
        return sent;
    ring->first = (uint8_t)((ring->first + 1) % OUTBOUND_SENT_MAX);
    ring->count--;
    return sent;
}

static bool on_answer(struct outbound *o, const struct reply *reply, struct outbound_event *ev)
{
    struct outbound_sent sent;
    bool is_data;

    if (o->sent.count == 0)
        return on_unasked(o, reply, ev);
    is_data = o->sent.at[o->sent.first].kind == SENT_DATA;
    if (outbound_class(reply) == (is_data ? 2 : 3))
        return outbound_go_away(o, GONE_LOST, reply, ev);
    if (reply->code >= 400)
        o->refusals++;
    sent = take_sent(o);
    switch (sent.kind) {
    case SENT_XFORWARD:
        on_xforward(o, reply);
        return false;
    case SENT_MAIL:
        on_mail(o, reply);
        return false;
    case SENT_RCPT:
        return on_rcpt(o, sent.rcpt, reply, ev);
    case SENT_DATA:
        return on_data(o, reply, ev);
    case SENT_BDAT:
        return on_chunk(o, reply, ev);
    case SENT_END:
        return on_end(o, sent.rcpt, reply, ev);
    case SENT_RSET: /* the old transaction may still be open */
        return !reply_is_positive(reply) && outbound_go_away(o, GONE_LOST, reply, ev);
    case SENT_LONE_DOT:
        return false;
    }
    return false;
}

/* 421 and 521 end the connection, whatever command they answer. */
static bool is_farewell(const struct outbound *o, const struct reply *reply,
                        enum outbound_gone *why)
{
    bool is_verdict = reply->code == 521 || (o->is_impersonated && outbound_is_policy(reply));

    *why = is_verdict ? GONE_VERDICT : GONE_LOST;
    return reply->code == 421 || reply->code == 521;
}

static bool on_reply(struct outbound *o, const struct reply *reply, struct outbound_event *ev)
{
    enum outbound_gone why;

    switch (o->state) {
    case OUT_GREETING:
    case OUT_EHLO:
    case OUT_HELO:
    case OUT_STARTTLS:
    case OUT_XCLIENT:
    case OUT_AUTH:
    case OUT_LOGIN:
        return outbound_hello_reply(o, reply, ev);
    case OUT_SECURING:
    case OUT_PROVING:
    case OUT_LOGIN_LINE:
        return outbound_go_away(o, GONE_LOST, reply, ev);
    case OUT_IDLE:
        return outbound_go_away(o, reply->code == 421 ? GONE_CLOSED : GONE_LOST, reply, ev);
    case OUT_ENVELOPE:
    case OUT_CONTENT:
    case OUT_FINAL:
    case OUT_DRAINING:
        if (is_farewell(o, reply, &why))
            return outbound_go_away(o, why, reply, ev);
        return on_answer(o, reply, ev);
    case OUT_QUITTING:
        return outbound_go_away(o, GONE_CLOSED, reply, ev);
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

/* 0: a reply; ERR_NOT_FOUND: no whole reply has come. */
static int take_reply(struct outbound *o, struct reply *reply)
{
    struct bytes rest = buf_bytes(&o->unread);
    size_t length = rest.len;
    int error = reply_parser_take(&o->in, &rest, reply);

    buf_consume(&o->unread, length - rest.len);
    return error;
}

/* No reply has come: the rest of it is missing (ERR_NOT_FOUND), or it cannot be read. */
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

/* Events that need no reply of the target. */
static bool tell_due(struct outbound *o, struct outbound_event *ev)
{
    if (o->due.has_gone) {
        o->due.has_gone = false;
        ev->kind = OUTBOUND_GONE;
        ev->why = o->due.why;
        ev->error = o->due.why == GONE_SHORTAGE ? ERR_MEMORY : ERR_CLOSED;
        ev->is_end_sent = o->due.is_end_sent;
    } else if (o->due.auth_error != 0) {
        outbound_hello_fail(o, ev);
    } else if (o->due.has_go) {
        o->due.has_go = false;
        ev->kind = OUTBOUND_GO;
    } else if (o->due.has_idle) {
        o->due.has_idle = false;
        ev->kind = OUTBOUND_IDLE;
    } else if (o->refusal.reply.code != 0 && !list_is_empty(&o->rcpts.waiting)) {
        answer_refused(o, outbound_take_waiting(o), ev);
    } else if (o->due.has_over_limit && !list_is_empty(&o->rcpts.waiting)) {
        answer_over_limit(o, ev);
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
        struct reply reply;
        int error;

        if (o->state != OUT_GONE &&
            (o->out.has_failed || o->unread.has_failed || o->xforward.has_failed))
            outbound_go_away_later(o, GONE_SHORTAGE);
        is_told = tell_due(o, &ev);
        if (is_told || o->state == OUT_GONE)
            break;
        error = take_reply(o, &reply);
        if (error != 0) {
            is_told = on_silence(o, error, &ev);
            break;
        }
        is_told = on_reply(o, &reply, &ev);
        outbound_say_more(o);
    }
    if (is_told)
        *out = ev;
    return is_told;
}
