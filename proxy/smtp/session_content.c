/* SPDX-License-Identifier: BSD-2-Clause */
/* A session from its 354 to the end of data. */
#include "proxy/smtp/session_private.h"

void session_begin_content(struct session *s)
{
    assert(s->state == SESSION_GOING && list_is_empty(&s->slots));
    dot_init(&s->dot);
    header_counter_init(&s->header);
    s->counts.content_bytes = 0;
    s->state = SESSION_CONTENT;
    session_say(s, REPLY_GO_AHEAD);
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

static void end_content(struct session *s)
{
    if (s->dot.has_bare_newline && s->conf->rejects_bare_newline)
        session_refuse_message(s, REPLY_BARE_NEWLINE_CONTENT);
    if (s->dot.has_hidden_dot)
        session_refuse_message(s, REPLY_HIDDEN_DOT);
    if (s->header.received >= HEADER_RECEIVED_MAX)
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

size_t session_feed_content(struct session *s, struct bytes in)
{
    assert(s->state == SESSION_CONTENT && s->dot.state != DOT_ENDED);
    struct bytes content;
    size_t used = dot_decode(&s->dot, in, &content);

    s->counts.content_bytes += content.len;
    if (s->conf->message_max_bytes != 0 && s->counts.content_bytes > s->conf->message_max_bytes)
        session_refuse_message(s, REPLY_MESSAGE_TOO_BIG);
    if (content.len != 0 && s->tx->refusal.code == 0) {
        header_counter_feed(&s->header, content);
        session_do(s, &(struct session_action){.kind = SESSION_ACT_CONTENT, .bytes = content});
    }
    if (s->dot.state == DOT_ENDED)
        end_content(s);
    return used;
}
