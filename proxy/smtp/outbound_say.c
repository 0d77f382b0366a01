/* SPDX-License-Identifier: BSD-2-Clause */
/* What we say in a transaction: commands, always in the same order, and then the content. */
#include "proxy/smtp/outbound_private.h"
#include "proxy/smtp/params.h"

#define CHUNK_BYTES (256 * 1024) /* the least of a chunk while another has no answer */
/* No command is longer: a client's line has up to 1,024 octets, and a route adds one address. */
#define COMMAND_MAX 2048

static void push(struct outbound *o, enum outbound_sent_kind kind, struct recipient *rcpt)
{
    struct outbound_ring *ring = &o->sent;
    unsigned at = (unsigned)(ring->first + ring->count) % OUTBOUND_SENT_MAX;

    assert(ring->count < OUTBOUND_SENT_MAX);
    ring->at[at] = (struct outbound_sent){.kind = kind, .rcpt = rcpt};
    ring->count++;
}

bool outbound_has_sent(const struct outbound *o, enum outbound_sent_kind kind)
{
    for (unsigned i = 0; i < o->sent.count; i++)
        if (o->sent.at[(o->sent.first + i) % OUTBOUND_SENT_MAX].kind == kind)
            return true;
    return false;
}

/* ---- commands ---- */

static bool uses_bdat(const struct outbound *o)
{
    return o->conf->uses_chunking && capability_has(&o->caps, CAPABILITY_CHUNKING);
}

static bool is_pipelining(const struct outbound *o)
{
    return capability_has(&o->caps, CAPABILITY_PIPELINING) && !o->conf->is_lock_step;
}

/* RFC 4954 5: who the author is, is believed of a client that has authenticated itself. */
static struct bytes value_of(const struct outbound *o, const struct param *param)
{
    bool is_believed = !params_is_of_author(param) || o->job.client->login.len != 0;

    return is_believed ? param->value : bytes_of("<>");
}

/* Parameters go as the client gave them, where the target announced that it takes them. */
static void put_announced(struct outbound *o, const struct param *param)
{
    if ((o->caps.keywords & params_keywords(param)) == 0)
        return;
    buf_byte(&o->out, ' ');
    buf_put(&o->out, param->keyword);
    if (param->has_value) {
        buf_byte(&o->out, '=');
        buf_put(&o->out, value_of(o, param));
    }
}

static void put_mail_params(struct outbound *o)
{
    struct bytes rest = o->job.envelope->params;
    struct param param;

    while (params_next(&rest, &param) == 0) {
        if (o->job.size_bytes == 0 || params_keywords(&param) != CAPABILITY_SIZE)
            put_announced(o, &param);
    }
}

static void put_rcpt_params(struct outbound *o, struct bytes rest)
{
    struct param param;

    while (params_next(&rest, &param) == 0)
        put_announced(o, &param);
}

static void say_rset(struct outbound *o)
{
    o->needs_rset = false;
    buf_text(&o->out, "RSET\r\n");
    push(o, SENT_RSET, NULL);
}

static void say_xforward(struct outbound *o)
{
    struct bytes all = buf_bytes(&o->xforward);
    struct bytes line = bytes_first(all, bytes_find(all, '\n') + 1);

    assert(line.at[line.len - 1] == '\n');
    buf_put(&o->out, line);
    buf_consume(&o->xforward, line.len);
    push(o, SENT_XFORWARD, NULL);
}

static void say_mail(struct outbound *o)
{
    o->is_mail_sent = true;
    o->needs_rset = true;
    buf_text(&o->out, "MAIL FROM:<");
    address_put(&o->out, &o->job.envelope->from);
    buf_byte(&o->out, '>');
    put_mail_params(o);
    if (o->job.size_bytes != 0 && capability_has(&o->caps, CAPABILITY_SIZE)) {
        buf_text(&o->out, " SIZE=");
        buf_decimal(&o->out, o->job.size_bytes);
    }
    buf_text(&o->out, "\r\n");
    push(o, SENT_MAIL, NULL);
}

/* False: the target announced that it takes so many and no more. */
static bool say_rcpt(struct outbound *o)
{
    struct recipient *rcpt =
        LIST_ENTRY(list_first(&o->rcpts.waiting), struct recipient, in_outbound);

    o->due.has_over_limit = !limits_use(&o->named, &o->caps.limits, rcpt->to.domain);
    if (o->due.has_over_limit)
        return false;
    outbound_take_waiting(o);
    buf_text(&o->out, "RCPT TO:<");
    address_put(&o->out, &rcpt->to);
    buf_byte(&o->out, '>');
    put_rcpt_params(o, rcpt->params);
    buf_text(&o->out, "\r\n");
    push(o, SENT_RCPT, rcpt);
    return true;
}

/* RFC 2920 3.1: DATA may follow unanswered RCPTs. If all are refused it may need a lone dot. */
static bool may_say_data(const struct outbound *o)
{
    return o->wants_data && !o->is_dot_content && !uses_bdat(o) &&
           (o->accepted > 0 || outbound_has_sent(o, SENT_RCPT));
}

static void say_data(struct outbound *o)
{
    o->is_dot_content = true;
    buf_text(&o->out, "DATA\r\n");
    push(o, SENT_DATA, NULL);
}

void outbound_say_lone_dot(struct outbound *o)
{
    buf_text(&o->out, ".\r\n");
    push(o, SENT_LONE_DOT, NULL);
}

/* RSET, identity, MAIL, RCPTs, DATA: whichever comes next. False: nothing does. */
static bool say_next(struct outbound *o)
{
    if (o->refusal.reply.code != 0)
        return false;
    if (o->needs_rset && !o->is_mail_sent)
        say_rset(o);
    else if (buf_length(&o->xforward) > 0)
        say_xforward(o);
    else if (!o->is_mail_sent)
        say_mail(o);
    else if (!list_is_empty(&o->rcpts.waiting))
        return say_rcpt(o);
    else if (may_say_data(o))
        say_data(o);
    else
        return false;
    return true;
}

static bool has_room(const struct outbound *o)
{
    return o->out.limit - buf_length(&o->out) >= COMMAND_MAX;
}

void outbound_say_more(struct outbound *o)
{
    unsigned unanswered_max = is_pipelining(o) ? OUTBOUND_SENT_MAX : 1;

    if (o->state == OUT_ENVELOPE) {
        while (o->sent.count < unanswered_max && has_room(o) && say_next(o))
            ;
        if (o->wants_data && uses_bdat(o) && o->sent.count == 0 && o->accepted > 0 &&
            list_is_empty(&o->rcpts.waiting) && o->refusal.reply.code == 0) {
            o->state = OUT_CONTENT;
            o->due.has_go = true;
        }
    }
    if (o->state == OUT_DRAINING && o->sent.count == 0 && o->chunk_left == 0) {
        o->state = OUT_IDLE;
        o->due.has_idle = true;
    }
}

/* Nothing may be sent before the answer to DATA. Other answers may still be due, where the target
 * allows pipelining. */
bool outbound_reset(struct outbound *o)
{
    bool is_over = o->state == OUT_IDLE || (o->state == OUT_DRAINING && o->chunk_left == 0);
    bool may_speak = o->sent.count == 0 || (is_pipelining(o) && o->sent.count < OUTBOUND_SENT_MAX &&
                                            !outbound_has_sent(o, SENT_DATA));

    if (!o->needs_rset || !is_over || !may_speak || !has_room(o))
        return false;
    say_rset(o);
    o->state = OUT_DRAINING;
    o->due.has_idle = false;
    return true;
}

void outbound_said(struct outbound *o, size_t octets)
{
    if (outbound_says_secret(o) && octets == buf_length(&o->out))
        buf_wipe(&o->out);
    buf_consume(&o->out, octets);
    outbound_say_more(o);
}

void outbound_refuse(struct outbound *o, struct reply reply, const struct reply *heard)
{
    struct outbound_refusal *refusal = &o->refusal;
    bool is_own = heard == NULL || reply.wire.at != heard->wire.at;

    buf_reset(&refusal->words);
    refusal->reply = reply;
    refusal->heard.code = 0;
    refusal->is_identity = false;
    if (heard == NULL)
        return;
    buf_put(&refusal->words, heard->wire);
    if (refusal->words.has_failed) {
        refusal->reply = reply_own(REPLY_LOCAL_PROBLEM);
        return;
    }
    if (is_own)
        refusal->heard = *heard;
    (is_own ? &refusal->heard : &refusal->reply)->wire = buf_bytes(&refusal->words);
}

void outbound_refuse_identity(struct outbound *o, const struct reply *heard)
{
    struct reply none = {.code = 0};
    bool passes = o->job.passes_without_identity;

    outbound_refuse(o, passes ? none : reply_own(REPLY_IDENTITY_FAILED), heard);
    o->refusal.is_identity = true;
}

/* MAIL has a parameter that must not be left out, and the target does not take it. */
static bool lacks(const struct outbound *o, uint32_t keyword)
{
    return !capability_has(&o->caps, keyword) && params_has(o->job.envelope->params, keyword);
}

static bool takes_binary(const struct outbound *o)
{
    return uses_bdat(o) && capability_has(&o->caps, CAPABILITY_BINARYMIME);
}

void outbound_say_envelope(struct outbound *o)
{
    const struct outbound_job *job = &o->job;
    unsigned commands = 0;

    assert(o->has_job);
    o->state = OUT_ENVELOPE;
    if (job->sends_xforward && capability_has(&o->caps, CAPABILITY_XFORWARD))
        commands = identity_put_xforward(&o->xforward, job->origin, o->caps.xforward,
                                         bytes_of(job->envelope->id.text));
    if (job->sends_xforward && commands == 0 && !o->is_impersonated)
        outbound_refuse_identity(o, NULL);
    if (lacks(o, CAPABILITY_SMTPUTF8))
        outbound_refuse(o, reply_own(REPLY_NOT_SMTPUTF8), NULL);
    if (lacks(o, CAPABILITY_REQUIRETLS))
        outbound_refuse(o, reply_own(REPLY_NOT_REQUIRETLS), NULL);
    if (job->envelope->is_binary && !takes_binary(o))
        outbound_refuse(o, reply_own(REPLY_NOT_BINARYMIME), NULL);
    if (job->envelope->is_8bit && !capability_has(&o->caps, CAPABILITY_8BITMIME))
        outbound_refuse(o, reply_own(REPLY_NOT_8BITMIME), NULL);
    outbound_say_more(o);
}

void outbound_begin(struct outbound *o, const struct outbound_job *job)
{
    assert(o->state == OUT_IDLE && !o->has_job);
    o->job = *job;
    o->has_job = true;
    o->is_mail_sent = false;
    o->is_dot_content = false;
    o->rcpts.is_end_refused = false;
    o->refusal.is_identity = false;
    o->accepted = 0;
    o->transactions++;
    if (job->sends_xclient && !o->is_xclient_sent)
        outbound_hello_enter(o, OUT_XCLIENT);
    else
        outbound_say_envelope(o);
}

void outbound_rcpt(struct outbound *o, struct recipient *rcpt)
{
    if (!o->has_job)
        return;
    list_append(&o->rcpts.waiting, &rcpt->in_outbound);
    outbound_say_more(o);
}

void outbound_data(struct outbound *o)
{
    if (!o->has_job)
        return;
    o->wants_data = true;
    outbound_say_more(o);
}

/* ---- content ---- */

/* RFC 3030 2:  bdat-cmd ::= "BDAT" SP chunk-size [ SP end-marker ] CR LF */
static void announce_chunk(struct outbound *o, uint64_t octets, bool is_last)
{
    buf_text(&o->out, "BDAT ");
    buf_decimal(&o->out, octets);
    buf_text(&o->out, is_last ? " LAST\r\n" : "\r\n");
    if (o->out.has_failed)
        return; /* content without its head would be read as commands */
    assert(o->chunk_left == 0);
    push(o, is_last ? SENT_END : SENT_BDAT, NULL);
    o->chunk_left = octets;
}

static bool may_announce(const struct outbound *o, uint64_t available, bool is_whole)
{
    if (o->state != OUT_CONTENT || o->chunk_left > 0)
        return false;
    if (o->sent.count == 0)
        return available > 0 || is_whole;
    return is_pipelining(o) && o->sent.count < OUTBOUND_SENT_MAX &&
           (is_whole || available >= CHUNK_BYTES);
}

/* The content ends when all octets of the LAST chunk are written. */
static void chunk_moved(struct outbound *o)
{
    if (o->state == OUT_CONTENT && o->chunk_left == 0 && outbound_has_sent(o, SENT_END))
        o->state = OUT_FINAL;
}

uint64_t outbound_frame(struct outbound *o, uint64_t available, bool is_whole,
                        struct bytes *tail_out)
{
    *tail_out = bytes_make(NULL, 0);
    if (o->out.has_failed)
        return 0;
    if (o->state == OUT_CONTENT && o->is_dot_content) {
        if (is_whole)
            *tail_out = bytes_of(".\r\n");
        return available;
    }
    if (may_announce(o, available, is_whole))
        announce_chunk(o, available, is_whole);
    chunk_moved(o);
    return available < o->chunk_left ? available : o->chunk_left;
}

void outbound_wrote(struct outbound *o, uint64_t octets)
{
    o->chunk_left -= octets < o->chunk_left ? octets : o->chunk_left;
    chunk_moved(o);
    outbound_say_more(o);
}

void outbound_ended(struct outbound *o)
{
    if (o->state != OUT_CONTENT || !o->is_dot_content)
        return;
    push(o, SENT_END, NULL);
    o->state = OUT_FINAL;
}
