/* SPDX-License-Identifier: BSD-2-Clause */
/* BDAT (RFC 3030): a message in chunks. The octets of each chunk follow their command at once, so
 * whatever becomes of the command, they are taken off the stream before it is answered. A chunk
 * that fails ends its transaction. */
#include "proxy/smtp/bdat.h"
#include "proxy/smtp/session_private.h"

void session_lose_frame(struct session *s)
{
    const struct reply reply = reply_own(REPLY_CHUNK_SYNTAX);
    session_hang_up(s, &reply);
}

/* ---- the command ---- */

static void refuse(struct session *s, const struct reply *reply)
{
    s->chunk.refusal = *reply;
    s->state = SESSION_GOING;
}

static void go(struct session *s)
{
    transaction_data(s->tx);
    s->state = SESSION_GOING;
}

/* Filters are asked once for a message, as about DATA. */
static const struct session_rule first_chunk = {
    .verb = VERB_BDAT, .stage = SESSION_STAGE_DATA, .proceed = go, .refuse = refuse};

/* The first chunk is known to be too much before the target is asked for content. */
static enum reply_id check_first(const struct session *s)
{
    uint64_t max = s->conf->message_max_bytes;

    if (list_is_empty(&s->tx->recipients))
        return REPLY_NEED_RCPT_FIRST;
    return max != 0 && s->chunk.bytes > max ? REPLY_MESSAGE_TOO_BIG : REPLY_OK;
}

static enum reply_id check(const struct session *s)
{
    if (s->client.helo.len == 0)
        return REPLY_NEED_HELO;
    if ((s->offered & CAPABILITY_CHUNKING) == 0)
        return REPLY_NOT_IMPLEMENTED;
    if (s->chunk.failed != REPLY_OK)
        return s->chunk.failed;
    if (s->tx == NULL)
        return REPLY_NEED_MAIL;
    return s->tx->state == TX_ENVELOPE ? check_first(s) : REPLY_OK;
}

/* Where recipients stand the message is refused, not the chunk alone. An announced size is known to
 * be too much before it has come. */
static void begin_chunk(struct session *s)
{
    s->state = SESSION_CHUNK;
    if (s->chunk.refusal.code != 0)
        transaction_refuse(s->tx, &s->chunk.refusal);
    s->chunk.refusal.code = 0;
    if (session_would_exceed_size(s, s->chunk.bytes))
        session_refuse_message(s, REPLY_MESSAGE_TOO_BIG);
}

/* An empty chunk that is not the last is legal (RFC 3030 forbids none), and leads nowhere: as such
 * commands do, it counts as junk. */
static bool is_too_much_junk(struct session *s)
{
    bool is_junk = s->chunk.bytes == 0 && !s->chunk.is_last;
    return is_junk && ++s->counts.junk > s->conf->junk_max;
}

void session_bdat(struct session *s)
{
    struct bdat bdat;

    if (bdat_parse(s->command.argument, &bdat) != 0) {
        session_lose_frame(s);
        return;
    }
    s->chunk = (struct session_chunk){.bytes = bdat.bytes,
                                      .left = bdat.bytes,
                                      .failed = s->chunk.failed,
                                      .is_open = true,
                                      .is_last = bdat.is_last};
    enum reply_id id = check(s);
    if (is_too_much_junk(s)) {
        session_end_with(s, REPLY_TOO_MUCH_JUNK);
    } else if (id != REPLY_OK) {
        const struct reply reply = reply_own(id);
        refuse(s, &reply);
    } else if (s->tx->state == TX_CONTENT) {
        begin_chunk(s);
    } else {
        session_forget_command(s);
        session_run(s, &first_chunk, bytes_make(NULL, 0));
    }
}

void session_decide_chunk(struct session *s)
{
    assert(s->state == SESSION_GOING && s->chunk.is_open);
    bool is_refused = s->chunk.refusal.code != 0;
    if (is_refused && (s->tx == NULL || list_is_empty(&s->tx->recipients))) {
        s->state = SESSION_CHUNK;
        return;
    }
    if (is_refused && s->tx->state == TX_ENVELOPE)
        transaction_data(s->tx);
    switch (transaction_go(s->tx)) {
    case TRANSACTION_GO_WAIT:
        return;
    case TRANSACTION_GO_AHEAD:
        session_begin_content(s);
        dot_init_plain(&s->content.dot);
        begin_chunk(s);
        return;
    case TRANSACTION_GO_NONE:
        if (!is_refused)
            s->chunk.refusal = reply_own(session_need_rcpt(s));
        s->state = SESSION_CHUNK;
        return;
    }
}

/* ---- its octets ---- */

/* The body of a BINARYMIME message is any octets. Its header is lines as in every message (RFC 3030
 * 3), so it is taken line by line, until the counter of its fields has seen the end of it. */
static size_t decode(struct session *s, struct bytes in, struct bytes *content_out)
{
    if (!s->tx->envelope.is_binary)
        return dot_decode(&s->content.dot, in, content_out);
    if (!s->content.header.is_over)
        return dot_decode(&s->content.dot, bytes_first(in, bytes_find(in, '\n') + 1), content_out);
    *content_out = in;
    return in.len;
}

size_t session_feed_chunk(struct session *s, struct bytes in)
{
    bool is_over = s->chunk.refusal.code != 0 || s->tx->refusal.code != 0;
    struct bytes now = in, content;

    assert(s->state == SESSION_CHUNK && s->chunk.left != 0);
    if (now.len > s->chunk.left)
        now = bytes_first(now, (size_t)s->chunk.left);
    size_t used = is_over ? now.len : decode(s, now, &content);
    s->chunk.left -= used;
    if (!is_over)
        session_take_content(s, content);
    return used;
}

/* ---- its end ---- */

/* Chunks that are on their way already get an answer that means the same. */
static void note_failed(struct session *s, const struct reply *reply)
{
    if (s->chunk.is_last)
        s->chunk.failed = REPLY_OK;
    else if (s->tx != NULL)
        s->chunk.failed = reply->code < 500 ? REPLY_MESSAGE_DEFERRED : REPLY_MESSAGE_REFUSED;
}

/* A message that has failed is not counted and logged again for each further chunk. */
static void end_refused(struct session *s)
{
    struct reply reply = s->chunk.refusal;
    bool is_known = s->chunk.failed != REPLY_OK;

    s->state = SESSION_COMMANDS;
    note_failed(s, &reply);
    if (is_known)
        reply_put(&s->out, &reply, 0, REPLY_AS_IT_IS);
    else
        session_say_reply(s, &reply);
    if (s->tx != NULL && s->state != SESSION_CLOSED)
        session_abandon(s, "chunk-refused");
}

static void end_message(struct session *s)
{
    if (s->tx->refusal.code != 0)
        note_failed(s, &s->tx->refusal);
    else if (!s->tx->envelope.is_binary || !s->content.header.is_over)
        session_take_content(s, dot_finish(&s->content.dot));
    session_end_content(s);
}

static void confirm(struct session *s)
{
    s->state = SESSION_COMMANDS;
    buf_text(&s->out, "250 2.0.0 ");
    buf_decimal(&s->out, s->chunk.bytes);
    buf_text(&s->out, " octets received\r\n");
}

void session_end_chunk(struct session *s)
{
    assert(s->state == SESSION_CHUNK && s->chunk.left == 0 && list_is_empty(&s->slots));
    s->chunk.is_open = false;
    if (s->chunk.refusal.code != 0)
        end_refused(s);
    else if (s->chunk.is_last || s->tx->refusal.code != 0)
        end_message(s);
    else
        confirm(s);
}
