/* SPDX-License-Identifier: BSD-2-Clause */
/* The content of a message and its end. */
#include "proxy/smtp/session_private.h"

void session_begin_content(struct session *s)
{
    assert(s->state == SESSION_GOING && list_is_empty(&s->slots));
    header_counter_init(&s->content.header, &s->mail);
    s->counts.content_bytes = 0;
}

bool session_would_exceed_size(const struct session *s, uint64_t more_bytes)
{
    uint64_t max = s->conf->message_max_bytes, has = s->counts.content_bytes;
    return max != 0 && (has > max || more_bytes > max - has);
}

void session_take_content(struct session *s, struct bytes content)
{
    s->counts.content_bytes += content.len;
    if (session_would_exceed_size(s, 0))
        session_refuse_message(s, REPLY_MESSAGE_TOO_BIG);
    if (content.len == 0 || s->tx->refusal.code != 0)
        return;
    header_counter_feed(&s->content.header, content);
    session_do(s, &(struct session_action){.kind = SESSION_ACT_CONTENT, .bytes = content});
}

void session_refuse_message(struct session *s, enum reply_id id)
{
    struct reply reply = reply_own(id);
    transaction_refuse(s->tx, &reply);
}

static void log_refusal(struct session *s)
{
    session_do(s, &(struct session_action){.kind = SESSION_ACT_REJECT, .reply = s->tx->refusal});
}

static void release(struct session *s)
{
    s->state = SESSION_FINAL;
    transaction_end(s->tx);
}

static void refuse_by_filter(struct session *s, const struct reply *reply)
{
    transaction_refuse(s->tx, reply);
    log_refusal(s);
    release(s);
}

/* No target gets its end before every filter has agreed. */
static const struct session_rule end_of_data = {
    .stage = SESSION_STAGE_END, .proceed = release, .refuse = refuse_by_filter};

void session_end_content(struct session *s)
{
    s->over.after = "END-OF-DATA";
    if (s->content.dot.has_bare_newline && s->conf->rejects_bare_newline)
        session_refuse_message(s, REPLY_BARE_NEWLINE_CONTENT);
    if (s->content.dot.has_hidden_dot)
        session_refuse_message(s, REPLY_HIDDEN_DOT);
    if (s->content.header.received >= HEADER_RECEIVED_MAX)
        session_refuse_message(s, REPLY_TOO_MANY_HOPS);
    if (s->tx->refusal.code != 0)
        log_refusal(s);
    session_do(s, &(struct session_action){.kind = SESSION_ACT_WHOLE});
    if (s->tx->refusal.code != 0) {
        release(s);
        return;
    }
    transaction_whole(s->tx);
    session_run(s, &end_of_data, bytes_make(NULL, 0));
}

/* ---- DATA ---- */

void session_decide_data(struct session *s)
{
    switch (transaction_go(s->tx)) {
    case TRANSACTION_GO_WAIT:
        return;
    case TRANSACTION_GO_AHEAD:
        session_begin_content(s);
        dot_init(&s->content.dot);
        s->state = SESSION_CONTENT;
        session_say(s, REPLY_GO_AHEAD);
        return;
    case TRANSACTION_GO_NONE:
        s->state = SESSION_COMMANDS;
        session_say(s, session_need_rcpt(s));
        return;
    }
}

size_t session_feed_data(struct session *s, struct bytes in)
{
    struct bytes content;

    assert(s->state == SESSION_CONTENT && s->content.dot.state != DOT_ENDED);
    size_t used = dot_decode(&s->content.dot, in, &content);
    session_take_content(s, content);
    if (s->content.dot.state == DOT_ENDED)
        session_end_content(s);
    return used;
}
