/* SPDX-License-Identifier: BSD-2-Clause */
/* One conversation with one address of a target that brings it no mail. The outbound machine says
 * what a relay would say; a stage is over when the machine enters another state. */
#include "route/relay/relay_talk.h"

#include "proxy/base/error.h"
#include "route/relay/relay_auth.h"
#include "route/relay/relay_identity.h"
#include "route/relay/relay_link.h"
#include "route/relay/relay_private.h"
#include "route/relay/relay_tls.h"

#define HEARD_MAX (2 * REPLY_MAX_BYTES)
#define LEFT_MS   5000 /* for what comes behind the answer to QUIT */

/* RFC 5737, RFC 3849 */
#define DOCUMENTATION_IPV4 "192.0.2.77"
#define DOCUMENTATION_IPV6 "2001:db8::77"

enum phase {
    PHASE_HELLO,
    PHASE_NAMED,    /* MAIL and RCPT were said */
    PHASE_WRITING,  /* the content is due */
    PHASE_WRITTEN,  /* it was sent, and has no answer */
    PHASE_ANSWERED, /* RSET is due */
    PHASE_LEAVING,
    PHASE_LEFT /* QUIT was answered, but not as it should be: does more come? */
};

struct relay_talk {
    struct relay relay; /* what TLS and AUTH ask for: settings, loop, context */
    struct relay_talk_job job;
    const struct relay_talk_events *events;
    void *owner;
    struct stream_target to;
    struct stream *stream;
    struct outbound out;
    struct relay_auth *auth;
    struct deadline deadline;
    struct identity client; /* IDENTITY: whose mail it would be */
    struct envelope envelope;
    struct recipient rcpt;
    enum phase phase;
    enum outbound_state state; /* the stage that runs */
    enum outbound_sent_kind sent;
    uint64_t began_us;
    struct buf heard; /* in this stage */
    struct relay_talk_result result;
    bool is_connected, has_failed, is_closed;
};

static struct loop *loop_of(const struct relay_talk *t)
{
    return t->relay.service->loop;
}

static bool tells(const struct relay_talk *t, unsigned identity)
{
    return t->job.aim == RELAY_TALK_IDENTITY && t->job.identity == identity;
}

/* ---- stages ---- */

static const char *stage_of(const struct relay_talk *t)
{
    bool is_content = t->state == OUT_CONTENT || t->state == OUT_FINAL;

    if (t->job.aim == RELAY_TALK_PIPELINE && t->state == OUT_ENVELOPE)
        return "MAIL+RCPT";
    if (t->job.aim == RELAY_TALK_CHUNK && is_content)
        return "BDAT";
    return outbound_stage(t->relay.outbound.is_lmtp, t->state, t->sent);
}

static enum outbound_sent_kind first_sent(const struct relay_talk *t)
{
    const struct outbound_ring *ring = &t->out.sent;

    return ring->count == 0 ? SENT_RCPT : ring->at[ring->first].kind;
}

static bool has_text(struct bytes in, const char *text)
{
    return in.len != 0 && memmem(in.at, in.len, text, strlen(text)) != NULL;
}

static uint64_t patience_ms(const struct relay_talk *t)
{
    const struct relay_times *times = &t->relay.conf->times;

    return t->out.state == OUT_FINAL ? times->final_ms : times->command_ms;
}

static void begin_stage(struct relay_talk *t)
{
    t->state = t->out.state;
    t->sent = first_sent(t);
    t->began_us = loop_precise_us(loop_of(t));
    buf_reset(&t->heard);
    if (t->is_closed) /* nothing may come any more */
        return;
    deadline_set(loop_of(t), &t->deadline, loop_now_ms(loop_of(t)) + patience_ms(t));
}

enum verdict { BAD, GOOD };

static void tell(struct relay_talk *t, const char *stage, enum verdict verdict, const char *problem)
{
    struct bytes said = buf_bytes(&t->heard);
    struct relay_talk_step step = {.stage = stage,
                                   .us = loop_precise_us(loop_of(t)) - t->began_us,
                                   .said = said,
                                   .problem = problem,
                                   .is_good = verdict == GOOD};

    if (relay_auth_is_in(&t->relay, said)) {
        step.said = bytes_make(NULL, 0);
        step.problem = "its words are withheld, for they repeat our own credentials";
    }
    if (has_text(said, DOCUMENTATION_IPV4) || has_text(said, DOCUMENTATION_IPV6))
        t->result.is_believed = true;
    t->has_failed = t->has_failed || verdict == BAD;
    t->events->step(t->owner, &step);
}

static bool is_auth(enum outbound_state state)
{
    return state == OUT_AUTH || state == OUT_PROVING;
}

/* The machine may have gone on: then what ran is over. */
static void end_stage(struct relay_talk *t)
{
    bool is_next_command = t->state == OUT_ENVELOPE && t->out.state == OUT_ENVELOPE &&
                           t->job.aim != RELAY_TALK_PIPELINE && first_sent(t) != t->sent;

    if (t->out.state == OUT_GONE || (t->state == t->out.state && !is_next_command))
        return;
    if (is_auth(t->state) && is_auth(t->out.state)) {
        t->state = t->out.state;
        buf_reset(&t->heard); /* challenges tell nobody anything */
        return;
    }
    if (t->state != OUT_IDLE && (buf_length(&t->heard) != 0 || t->state == OUT_SECURING))
        tell(t, stage_of(t), GOOD, NULL);
    begin_stage(t);
}

/* ---- the end ---- */

static void close_now(struct relay_talk *t)
{
    if (t->is_closed)
        return;
    t->is_closed = true;
    deadline_clear(loop_of(t), &t->deadline);
    relay_auth_leave(&t->auth);
    outbound_forget(&t->out);
    stream_close(t->stream);
}

static void on_closed(void *owner)
{
    struct relay_talk *t = owner;

    t->result.is_good = !t->has_failed;
    outbound_done(&t->out);
    buf_done(&t->heard);
    relay_tls_done(&t->relay);
    t->events->over(t->owner, &t->result);
    mem_free(t);
}

/* `error` 0: the target's words say it. */
static void fail(struct relay_talk *t, const char *stage, int error)
{
    const char *text = error == 0 ? NULL : error_text(error);

    if (error == ERR_TLS && stream_tls_problem(t->stream) != NULL)
        text = stream_tls_problem(t->stream);
    else if (error != 0 && text == NULL)
        text = strerror(-error);
    tell(t, stage, BAD, text);
    close_now(t);
}

/* ---- what is said ---- */

static void begin_envelope(struct relay_talk *t)
{
    struct outbound_job job = {.envelope = &t->envelope,
                               .client = &t->client,
                               .origin = &t->client,
                               .sends_xclient = tells(t, IDENTITY_KIND_XCLIENT),
                               .sends_xforward = tells(t, IDENTITY_KIND_XFORWARD),
                               .form = relay_identity_form(t->relay.conf)};

    t->result.is_greeted = true;
    t->result.caps = t->out.caps;
    t->phase = PHASE_NAMED;
    outbound_begin(&t->out, &job);
    outbound_rcpt(&t->out, &t->rcpt);
}

/* Dots are not stuffed: that is what it is about. */
static void write_smuggled(struct relay_talk *t)
{
    struct bytes tail;
    struct buf content;

    buf_init(&content, &loop_pools(loop_of(t))->medium, 4096);
    buf_text(&content, "Subject: postern probe\r\n\r\nNo end of data follows.");
    buf_put(&content, t->job.ending);
    buf_text(&content, "MAIL FROM:<>\r\nRCPT TO:<");
    address_put(&content, &t->job.to);
    buf_text(&content, ">\r\nDATA\r\nSubject: smuggled by postern probe\r\n\r\n"
                       "Whoever may send mail here can send it in the name of others.\r\n");
    if (content.has_failed) {
        buf_done(&content);
        fail(t, stage_of(t), ERR_MEMORY);
        return;
    }
    outbound_frame(&t->out, buf_length(&content), true, &tail);
    struct bytes pieces[] = {buf_bytes(&content), tail};
    stream_write(t->stream, pieces, 2);
    outbound_wrote(&t->out, buf_length(&content));
    outbound_ended(&t->out);
    buf_done(&content);
}

/* A target that does not count octets takes the content for a command, and answers it. */
static void write_chunk(struct relay_talk *t)
{
    struct bytes content = bytes_of("NOOP\r\n"), tail;

    outbound_frame(&t->out, content.len, false, &tail);
    struct bytes pieces[] = {buf_bytes(&t->out.out), content};
    size_t head = pieces[0].len;
    stream_write(t->stream, pieces, 2);
    outbound_said(&t->out, head);
    outbound_wrote(&t->out, content.len);
}

/* Content, or the end of the transaction. True: there may be more to do. */
static bool go_on(struct relay_talk *t)
{
    bool is_chunk = t->job.aim == RELAY_TALK_CHUNK;

    if (t->is_closed)
        return false;
    if (t->phase == PHASE_WRITING) {
        t->phase = PHASE_WRITTEN;
        t->result.is_written = true;
        if (is_chunk)
            write_chunk(t);
        else
            write_smuggled(t);
        begin_stage(t);
        return true;
    }
    if (t->phase == PHASE_WRITTEN && is_chunk && t->out.state == OUT_CONTENT &&
        t->out.sent.count == 0) {
        tell(t, "BDAT", GOOD, NULL);
        t->phase = PHASE_ANSWERED;
    }
    if (t->phase != PHASE_ANSWERED)
        return false;
    t->phase = PHASE_LEAVING;
    if (!outbound_abort(&t->out))
        close_now(t);
    else
        outbound_reset(&t->out);
    begin_stage(t);
    return !t->is_closed;
}

/* ---- what the target says ---- */

static void on_answer(struct relay_talk *t, const struct outbound_event *ev)
{
    bool needs_content = t->job.aim == RELAY_TALK_CHUNK || t->job.aim == RELAY_TALK_SMUGGLE;
    bool is_good = ev->fate == FATE_ACCEPTED;
    bool is_ours = buf_length(&t->heard) == 0;

    tell(t, stage_of(t), is_good ? GOOD : BAD,
         is_ours ? "the identity was not taken, or is not announced" : NULL);
    t->result.is_answered = !is_ours;
    begin_stage(t);
    if (is_good && needs_content)
        outbound_data(&t->out);
    else
        t->phase = PHASE_ANSWERED;
}

static void on_final(struct relay_talk *t, const struct outbound_event *ev)
{
    bool is_smuggling = t->job.aim == RELAY_TALK_SMUGGLE;

    t->result.is_refused = ev->fate != FATE_ACCEPTED;
    tell(t, stage_of(t), is_smuggling || !t->result.is_refused ? GOOD : BAD, NULL);
    begin_stage(t);
}

/* An answer to nothing is taken for the next command's, and so on. */
static void find_unasked(struct relay_talk *t, struct bytes said)
{
    buf_put(&t->heard, said);
    t->result.is_unasked = true;
    t->result.is_answered = false;
    tell(t, stage_of(t), BAD, "it says more replies than it hears commands: whose is whose?");
    close_now(t);
}

/* With one reply too many QUIT gets that of the command before it, and its own comes behind. */
static void wait_for_more(struct relay_talk *t)
{
    uint64_t wait_ms = patience_ms(t);

    t->phase = PHASE_LEFT;
    deadline_set(loop_of(t), &t->deadline,
                 loop_now_ms(loop_of(t)) + (wait_ms < LEFT_MS ? wait_ms : LEFT_MS));
}

/* Behind the content of SMUGGLE the target owes the answer to QUIT alone. */
static void on_gone(struct relay_talk *t, const struct outbound_event *ev)
{
    bool is_farewell = ev->reply.code == 221 || ev->reply.code == 421 || ev->reply.code == 0;

    if (t->job.aim == RELAY_TALK_SMUGGLE && t->phase == PHASE_WRITTEN && !is_farewell) {
        t->result.is_smuggled = true;
        close_now(t);
    } else if (ev->kind == OUTBOUND_GONE && ev->why == GONE_CLOSED && is_farewell) {
        close_now(t);
    } else if (ev->kind == OUTBOUND_GONE && ev->why == GONE_CLOSED) {
        wait_for_more(t);
    } else {
        fail(t, stage_of(t), ev->reply.code != 0 ? 0 : ev->error);
    }
}

static void drain(struct relay_talk *t);

static void on_said(void *owner, const struct sasl_client_line *line, int error)
{
    struct relay_talk *t = owner;

    if (error != 0)
        outbound_auth_failed(&t->out, error);
    else
        outbound_auth(&t->out, bytes_make(line->at, line->len),
                      line->is_proof ? OUTBOUND_AUTH_PROOF : OUTBOUND_AUTH_GOES_ON);
    drain(t);
}

static void authenticate(struct relay_talk *t, const struct reply *challenge)
{
    int error = ERR_MEMORY;

    if (t->auth == NULL)
        t->auth = relay_auth_new(&t->relay, &t->out, on_said, t, &error);
    if (t->auth == NULL || !relay_auth_step(t->auth, challenge))
        outbound_auth_failed(&t->out, error);
}

static void secure(struct relay_talk *t)
{
    int error = relay_tls_start(&t->relay, t->stream, &t->to);

    if (error != 0)
        fail(t, "TLS", error);
}

static void perform(struct relay_talk *t, const struct outbound_event *ev)
{
    switch (ev->kind) {
    case OUTBOUND_SECURE:
        end_stage(t);
        secure(t);
        break;
    case OUTBOUND_AUTH:
        end_stage(t);
        authenticate(t, &ev->reply);
        break;
    case OUTBOUND_READY:
        end_stage(t);
        begin_envelope(t);
        break;
    case OUTBOUND_LOGIN: /* nobody's */
        break;
    case OUTBOUND_ANSWER:
        on_answer(t, ev);
        break;
    case OUTBOUND_GO:
        end_stage(t);
        t->phase = PHASE_WRITING;
        break;
    case OUTBOUND_FINAL_ANSWER:
        on_final(t, ev);
        break;
    case OUTBOUND_IDLE:
        end_stage(t);
        outbound_quit(&t->out);
        break;
    case OUTBOUND_REFUSED:
    case OUTBOUND_GONE:
        on_gone(t, ev);
        break;
    }
}

static void flush(struct relay_talk *t)
{
    struct bytes out = buf_bytes(&t->out.out);

    if (!t->is_closed && out.len != 0)
        outbound_said(&t->out, stream_write(t->stream, &out, 1));
}

static void drain(struct relay_talk *t)
{
    struct outbound_event ev;

    do {
        while (!t->is_closed && outbound_next(&t->out, &ev))
            perform(t, &ev);
        if (!t->is_closed)
            end_stage(t);
        flush(t);
    } while (go_on(t));
}

/* ---- the stream ---- */

static void on_connected(void *owner, int error)
{
    struct relay_talk *t = owner;
    unsigned version = relay_identity_proxy(t->relay.conf);
    bool is_client = tells(t, IDENTITY_KIND_PROXY_V1) || tells(t, IDENTITY_KIND_PROXY_V2);

    if (error != 0) {
        fail(t, "connect", error);
        return;
    }
    t->is_connected = true;
    tell(t, "connect", GOOD, NULL);
    struct identity own = {.client = stream_local(t->stream), .local = stream_peer(t->stream)};
    bool has_ends = own.client.family != NETADDR_NONE;
    bool is_ipv6 = own.client.family == NETADDR_IPV6;
    netaddr_parse_with_port(bytes_of(is_ipv6 ? DOCUMENTATION_IPV6 : DOCUMENTATION_IPV4), 40000,
                            &t->client.client);
    netaddr_parse_with_port(bytes_of(is_ipv6 ? "2001:db8::1" : "192.0.2.1"), 25, &t->client.local);
    outbound_start(&t->out, version, is_client ? &t->client : NULL, has_ends ? &own : NULL,
                   bytes_make(NULL, 0), t->relay.conf->helo);
    begin_stage(t);
    drain(t);
}

/* RFC 5321 3.8: a target may say 421 at any time. What content of SMUGGLE is answered with is seen
 * at the end. */
static bool may_be_unasked(const struct relay_talk *t, struct bytes line)
{
    return bytes_equal(bytes_first(line, 3), bytes_of("421")) ||
           (t->job.aim == RELAY_TALK_SMUGGLE && t->phase == PHASE_WRITTEN);
}

/* False: there is no room, and it ends: part of a reply would be shown, or judged, as all of it. */
static bool hears(struct relay_talk *t, struct bytes line)
{
    bool has_room = buf_length(&t->heard) + line.len <= HEARD_MAX;

    buf_put(&t->heard, line);
    if (t->heard.has_failed)
        fail(t, stage_of(t), has_room ? ERR_MEMORY : ERR_TOO_LONG);
    return !t->heard.has_failed;
}

/* All that comes at once was said before the commands that its first reply leads to. What comes in
 * plain behind the reply to STARTTLS is dropped, as a relay does it. */
static size_t on_bytes(void *owner, struct bytes in)
{
    struct relay_talk *t = owner;
    size_t replies = outbound_owed(&t->out);
    struct bytes rest = in;

    while (rest.len != 0 && !t->is_closed && t->out.state != OUT_SECURING) {
        size_t end = bytes_find(rest, '\n');
        struct bytes line = bytes_first(rest, end < rest.len ? end + 1 : end);
        if (replies == 0 && !may_be_unasked(t, line)) {
            find_unasked(t, rest);
            break;
        }
        if (!hears(t, line))
            break;
        outbound_feed(&t->out, line);
        drain(t);
        rest = bytes_skip(rest, line.len);
        if (replies != 0 && reply_parser_is_empty(&t->out.in))
            replies--;
    }
    return in.len;
}

static void on_room(void *owner)
{
    drain(owner);
}

static void on_eof(void *owner)
{
    struct relay_talk *t = owner;

    if (t->phase == PHASE_LEFT) {
        close_now(t);
        return;
    }
    outbound_eof(&t->out);
    drain(t);
}

static void on_failed(void *owner, int error)
{
    struct relay_talk *t = owner;

    if (t->out.state == OUT_SECURING)
        fail(t, "TLS", error);
    else
        on_eof(t);
}

static void on_secured(void *owner, const struct tls_facts *facts)
{
    struct relay_talk *t = owner;

    t->events->secured(t->owner, t->stream, facts, loop_precise_us(loop_of(t)) - t->began_us);
    outbound_secured(&t->out);
    drain(t);
}

static const struct stream_events stream_events = {
    .connected = on_connected,
    .bytes = on_bytes,
    .room = on_room,
    .eof = on_eof,
    .failed = on_failed,
    .secured = on_secured,
    .closed = on_closed,
};

static void on_deadline(struct deadline *deadline)
{
    struct relay_talk *t = CONTAINER_OF(deadline, struct relay_talk, deadline);

    if (t->phase == PHASE_LEFT)
        close_now(t);
    else
        fail(t, t->is_connected ? stage_of(t) : "connect", ERR_TIMEOUT);
}

static const struct deadline_use deadline_use = {.reached = on_deadline};

struct relay_talk *relay_talk_new(const struct relay_service *service,
                                  const struct relay_conf *conf, const struct stream_target *to,
                                  const struct relay_talk_job *job,
                                  const struct relay_talk_events *events, void *owner)
{
    struct loop_pools *pools = loop_pools(service->loop);
    struct relay_talk *t = mem_zalloc(sizeof(*t));
    int error;

    if (t == NULL)
        return NULL;
    t->relay.conf = conf;
    t->relay.service = (struct relay_service *)(uintptr_t)service;
    t->relay.outbound = relay_link_conf(conf);
    t->relay.outbound.uses_chunking =
        t->relay.outbound.uses_chunking && job->aim != RELAY_TALK_SMUGGLE;
    t->relay.outbound.is_lock_step = job->aim != RELAY_TALK_PIPELINE; /* a reply for each stage */
    t->job = *job;
    t->events = events;
    t->owner = owner;
    t->to = *to;
    t->client.name_state = IDENTITY_NAME_UNAVAILABLE;
    t->client.helo = bytes_of("probe.example.net");
    t->client.is_esmtp = true;
    memcpy(t->envelope.id.text, "PROBE00000000000", ID_LENGTH);
    t->rcpt.to = job->to;
    list_init(&t->rcpt.in_outbound);
    deadline_init(&t->deadline, &deadline_use);
    buf_init(&t->heard, &pools->medium, HEARD_MAX);
    outbound_init(&t->out, &t->relay.outbound, &pools->small, &pools->medium);
    t->began_us = loop_precise_us(service->loop);
    t->stream = stream_connect(service->loop, to, &stream_events, t, &error);
    if (t->stream == NULL) {
        outbound_done(&t->out);
        mem_free(t);
        return NULL;
    }
    deadline_set(service->loop, &t->deadline, loop_now_ms(service->loop) + conf->times.connect_ms);
    return t;
}
