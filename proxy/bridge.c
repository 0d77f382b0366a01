/* SPDX-License-Identifier: BSD-2-Clause */
/* One client: its stream's events go into the session, the session's actions are performed. */
#include "proxy/bridge.h"

#include "proxy/base/error.h"
#include "proxy/etrn.h"
#include "proxy/services.h"

#define FINAL_MS 480000 /* eight minutes from the end of data to its reply, at most */
#define DISK_MS  60000  /* more for the spool after that: the client gives up after ten */
/* What every envelope may have, whatever others do, or no mail would pass. */
#define ENVELOPE_FREE_BYTES 16384

static struct bridge *bridge_of(struct carrier *c)
{
    return CONTAINER_OF(c, struct bridge, carrier);
}

/* ---- sending ---- */

static void enter(struct bridge *b, enum bridge_state state)
{
    assert(state > b->state);
    b->state = state;
}

static void close_stream(struct bridge *b)
{
    assert(b->state < BRIDGE_GONE);
    if (b->state < BRIDGE_CUT)
        enter(b, BRIDGE_CUT);
    stream_close(b->stream);
}

/* Closing while the client still sends would reset the connection, and our last words would be lost
 * with it. Such a client gets a FIN, and what it sends is thrown away until it has closed too. */
static void end_stream(struct bridge *b)
{
    if (!b->session.over.is_cut_short || b->session.is_eof) {
        close_stream(b);
    } else if (b->state < BRIDGE_SHUT) {
        enter(b, BRIDGE_SHUT);
        stream_shutdown(b->stream);
    }
}

static void send_replies(struct bridge *b)
{
    struct buf *out = &b->session.out;

    if (b->state >= BRIDGE_CUT)
        return;
    if (buf_length(out) != 0) {
        struct bytes replies = buf_bytes(out);
        buf_consume(out, stream_write(b->stream, &replies, 1));
    }
    if (b->session.state == SESSION_SECURING && !b->tls.is_begun && buf_length(out) == 0 &&
        bridge_tls_start(b) != 0)
        close_stream(b);
    if (b->state > BRIDGE_OPEN && buf_length(out) == 0 && stream_unsent(b->stream) == 0)
        end_stream(b);
}

/* The peer would be taken for the client: it is not served. */
static void fail_header(struct bridge *b, int error)
{
    bridge_proxy_fail(b, error);
    close_stream(b);
}

/* ---- deadlines ---- */

/* The wait begins anew after whatever has happened. The session as a whole has a limit too, but the
 * reply to an end of data is waited for even beyond it. */
static void update_deadline(struct bridge *b)
{
    uint64_t due_ms = loop_now_ms(b->carrier.loop) + bridge_wait_ms(b);

    if (b->state == BRIDGE_HEADER)
        due_ms = b->session_end_ms;
    else if (session_wait(&b->session) == SESSION_WAIT_FINAL)
        due_ms = b->final_due_ms;
    else if (due_ms > b->session_end_ms)
        due_ms = b->session_end_ms;
    deadline_set(b->carrier.loop, &b->deadline, due_ms);
}

static void on_deadline(struct deadline *d)
{
    struct bridge *b = CONTAINER_OF(d, struct bridge, deadline);
    bool is_session = loop_now_ms(b->carrier.loop) >= b->session_end_ms &&
                      session_wait(&b->session) != SESSION_WAIT_FINAL;

    if (b->state == BRIDGE_HEADER) {
        fail_header(b, ERR_TIMEOUT);
        return;
    }
    if (b->state == BRIDGE_CLOSING || b->state == BRIDGE_SHUT) {
        close_stream(b);
        return;
    }
    bool is_retired =
        b->smtpd->is_stopping && session_wait(&b->session) == SESSION_WAIT_COMMAND && !is_session;
    if (session_wait(&b->session) == SESSION_WAIT_FINAL)
        b->final_due_ms += DISK_MS;
    if (session_wait(&b->session) == SESSION_WAIT_TLS)
        bridge_log_tls_failed(b, ERR_TIMEOUT);
    session_feed(&b->session,
                 &(struct session_event){.kind = is_retired ? SESSION_EV_STOP : SESSION_EV_DEADLINE,
                                         .is_final = is_session || is_retired});
    carrier_drain(&b->carrier);
}

static const struct deadline_use deadline_use = {.reached = on_deadline};

/* ---- actions ---- */

static void on_copy_room(void *owner)
{
    struct bridge *b = owner;
    if (b->state < BRIDGE_CUT)
        stream_resume(b->stream);
    bridge_filter_room(b);
}

static void fail_copy(struct bridge *b, int error)
{
    bridge_log_copy_failed(b, error);
    carrier_report(&b->carrier, &(struct event){.kind = EV_COPY, .error = error});
}

static void on_copy_failed(void *owner)
{
    struct bridge *b = owner;
    fail_copy(b, copy_error(b->carrier.copy));
}

static void let_go(struct bridge *b, int error)
{
    copy_let_go(b->carrier.copy);
    carrier_report(&b->carrier, &(struct event){.kind = EV_UNKEPT, .error = error});
}

static void on_copy_unkept(void *owner, int error)
{
    struct bridge *b = owner;
    bridge_log_copy_failed(b, error);
    let_go(b, error);
}

/* Other messages need this copy's room. The client hears why at its end of data. */
static void on_copy_refused(void *owner)
{
    struct bridge *b = owner;
    carrier_report(&b->carrier, &(struct event){.kind = EV_COPY, .error = ERR_FULL});
}

static bool on_copy_is_ending(void *owner)
{
    struct bridge *b = owner;
    return b->state < BRIDGE_CUT && stream_is_ending(b->stream);
}

static const struct copy_use copy_use = {.room = on_copy_room,
                                         .unkept = on_copy_unkept,
                                         .failed = on_copy_failed,
                                         .refused = on_copy_refused,
                                         .is_ending = on_copy_is_ending};

/* Once, when filters are asked about MAIL or when it is accepted: they all know it by that. */
static void give_id(const struct bridge *b, struct transaction *tx)
{
    if (tx == NULL || tx->envelope.id.text[0] != '\0')
        return;
    tx->envelope.id = services_next_id(b->smtpd->services);
    tx->envelope.session = b->id;
}

static void begin(struct bridge *b)
{
    struct services *s = b->smtpd->services;
    struct transaction *tx = b->session.tx;

    give_id(b, tx);
    tx->splits = b->smtpd->conf->split == SMTPD_SPLIT_LIVE;
    b->carrier.transaction = tx;
    b->carrier.origin = session_origin(&b->session);
    b->carrier.copy = copy_new(s->loop, &s->copies, b->net, &copy_use, b);
    b->times.begun = loop_precise_us(s->loop);
    b->times.data = 0;
    b->times.ended = 0;
    b->final_due_ms = 0;
    if (b->carrier.copy == NULL)
        fail_copy(b, ERR_MEMORY);
}

static void route(struct bridge *b, struct recipient *rcpt)
{
    struct routed routed;

    bridge_resolve(b, rcpt, &routed);
    bridge_filter_route(b, rcpt, &routed);
}

static void append(struct bridge *b, struct bytes content)
{
    if (b->times.data == 0) {
        b->times.data = loop_precise_us(b->carrier.loop);
        if (!transaction_wants_copy(b->carrier.transaction))
            let_go(b, 0);
    }
    struct bytes kept;
    int error = 0;
    while (error == 0 && bridge_filter_take(b, &content, &kept))
        error = copy_append(b->carrier.copy, kept);
    if (error == 0 && bridge_filter_has_failed(b))
        error = ERR_MEMORY;
    if (error != 0)
        fail_copy(b, error);
}

static void finish_copy(struct bridge *b)
{
    struct bytes last = bridge_filter_last(b);

    b->times.ended = loop_precise_us(b->carrier.loop);
    b->final_due_ms = b->times.ended / 1000 + identity_patience_ms(&b->session.client, FINAL_MS);
    if (b->carrier.copy == NULL)
        return;
    int error = copy_append(b->carrier.copy, last);
    copy_end_message(b->carrier.copy);
    if (!bridge_filter_may_append(b))
        copy_finish(b->carrier.copy);
    bridge_filter_whole(b);
    if (error != 0)
        fail_copy(b, error);
}

static void perform(struct bridge *b, const struct session_action *todo)
{
    switch (todo->kind) {
    case SESSION_ACT_GREETED:
        carrier_let_go(&b->carrier);
        break;
    case SESSION_ACT_ASSERTED:
        bridge_client_asserted(b, todo->attributes);
        break;
    case SESSION_ACT_FORWARDED:
        bridge_filter_end(b); /* they begin anew with the other one */
        break;
    case SESSION_ACT_BEGIN:
        begin(b);
        break;
    case SESSION_ACT_ROUTE:
        route(b, todo->rcpt);
        break;
    case SESSION_ACT_ETRN:
        etrn_ask(b, todo->bytes);
        break;
    case SESSION_ACT_CONTENT:
        append(b, todo->bytes);
        break;
    case SESSION_ACT_WHOLE:
        finish_copy(b);
        break;
    case SESSION_ACT_FILTER:
        give_id(b, b->session.command.tx);
        bridge_filter_ask(b);
        break;
    case SESSION_ACT_MECHANISMS:
        bridge_auth_offer(b);
        break;
    case SESSION_ACT_AUTH:
        bridge_auth_step(b);
        break;
    case SESSION_ACT_AUTH_CANCEL:
        bridge_auth_forget(b);
        break;
    case SESSION_ACT_STARTTLS:
        b->tls.dropped = todo->dropped;
        break;
    case SESSION_ACT_REJECT:
        bridge_log_reject(b, todo);
        break;
    case SESSION_ACT_CLOSE:
        if (b->state <= BRIDGE_OPEN)
            enter(b, BRIDGE_CLOSING);
        b->session_end_ms =
            loop_now_ms(b->carrier.loop) + BRIDGE_CLOSE_MS; /* however much is still sent to us */
        break;
    case SESSION_ACT_TRANSACTION:
        carrier_perform(&b->carrier, &todo->of_transaction);
        break;
    }
}

/* Called after all actions, before the next command is read. */
static void count_envelope(struct bridge *b)
{
    struct copy_limits *limits = &b->smtpd->services->copies;
    uint64_t now_bytes = b->session.mail.total_bytes;

    if (now_bytes != b->envelope_bytes)
        copy_count_envelope(limits, b->net, (int64_t)(now_bytes - b->envelope_bytes));
    b->envelope_bytes = now_bytes;
    if (b->session.tx != NULL)
        b->session.tx->is_full =
            now_bytes > ENVELOPE_FREE_BYTES && !copy_may_envelope_grow(limits, b->net);
}

static void perform_actions(struct bridge *b)
{
    struct session_action todo;
    while (session_next(&b->session, &todo))
        perform(b, &todo);
}

/* The rest of a message that is refused goes nowhere: every branch was dropped. */
static bool is_refused(const struct bridge *b)
{
    const struct transaction *tx = b->carrier.transaction;

    return tx != NULL && tx->refusal.code != 0 && tx->state <= TX_CONTENT;
}

static void on_perform_all(struct carrier *c)
{
    struct bridge *b = bridge_of(c);

    perform_actions(b);
    if (is_refused(b) && c->copy != NULL) {
        bridge_filter_stop(b);
        copy_free(&c->copy);
        perform_actions(b);
    }
    bridge_filter_forget_late(b);
    count_envelope(b);
}

static void free_bridge(struct bridge *b)
{
    struct smtpd *d = b->smtpd;
    if (b->times.connected != 0) /* else nobody was greeted */
        bridge_log_disconnect(b);
    deadline_clear(b->carrier.loop, &b->deadline);
    bridge_name_forget(b);
    etrn_forget(b);
    bridge_auth_forget(b);
    bridge_filter_end(b);
    carrier_let_go(&b->carrier);
    session_done(&b->session);
    mem_free(b->proxy);
    count_envelope(b);
    list_remove(&b->in_smtpd);
    struct smtpd_client *counted = b->counted;
    mem_free(b);
    d->bridge_ended(d, counted);
}

static void on_drained(struct carrier *c)
{
    struct bridge *b = bridge_of(c);

    if (b->state == BRIDGE_GONE && b->session.tx == NULL) {
        free_bridge(b);
        return;
    }
    bool was_full = buf_length(&b->session.out) >= SESSION_UNSENT_MAX;
    send_replies(b);
    if (b->state >= BRIDGE_CUT)
        return;
    if (was_full && buf_length(&b->session.out) < SESSION_UNSENT_MAX) {
        carrier_drain(c); /* the session holds answers back while so many are unsent */
        return;
    }
    update_deadline(b);
    if (session_wants_input(&b->session))
        stream_resume(b->stream);
}

static void on_feed(struct carrier *c, const struct event *ev)
{
    session_feed_transaction(&bridge_of(c)->session, ev);
}

static void on_prepare_spool(struct carrier *c)
{
    takeover_prepare(bridge_of(c));
}

static void on_commit_spool(struct carrier *c)
{
    takeover_commit(bridge_of(c));
}

static void on_settled(struct carrier *c)
{
    struct bridge *b = bridge_of(c);

    bridge_log_transaction(b);
    bridge_filter_message_ended(b);
    if (c->origin != c->client)
        bridge_filter_end(b);
    c->origin = c->client;
    takeover_detach(b);
    copy_free(&c->copy);
    c->transaction = NULL;
}

static const struct carrier_ops carrier_ops = {
    .feed = on_feed,
    .perform_all = on_perform_all,
    .drained = on_drained,
    .prepare_spool = on_prepare_spool,
    .commit_spool = on_commit_spool,
    .settled = on_settled,
};

/* ---- the stream ---- */

/* What the session may be given now. Content is given only as far as the copy has room, with two
 * octets to spare for a line end that is completed. */
static struct bytes offer(const struct bridge *b, struct bytes in)
{
    if (!session_takes_content(&b->session) || b->carrier.copy == NULL)
        return in;
    size_t room = copy_room(b->carrier.copy), kept_free = 1 + bridge_filter_held(b);
    return bytes_first(in, room <= kept_free ? 0 : room - kept_free);
}

/* Feeds as much as can be handled before the branches are flushed. */
static size_t take(struct bridge *b, struct bytes in)
{
    size_t used = 0, taken;

    do {
        struct bytes now = offer(b, bytes_skip(in, used));
        taken = session_feed(&b->session,
                             &(struct session_event){.kind = SESSION_EV_BYTES, .bytes = now});
        used += taken;
        carrier_perform_all(&b->carrier);
        if (session_took_secret(&b->session))
            explicit_bzero((void *)(uintptr_t)now.at, taken); /* it is the stream's, who reads on */
    } while (taken != 0 && used < in.len);
    return used;
}

static size_t take_header(struct bridge *b, struct bytes in)
{
    int error;
    size_t used = bridge_proxy_take(b, in, &error);

    if (error != 0 && error != ERR_NOT_FOUND) {
        fail_header(b, error);
        return in.len;
    }
    return used;
}

/* A flush can release the reply that the next command was waiting for. Continue here: the stream
 * offers the remaining input again only after another event. */
static size_t on_bytes(void *owner, struct bytes in)
{
    struct bridge *b = owner;
    size_t used = 0;

    if (b->state == BRIDGE_HEADER) {
        used = take_header(b, in);
        if (b->state != BRIDGE_OPEN)
            return used;
    }
    b->session.targets =
        *offer_of_targets(/* some may have been seen since */
                          &b->smtpd->offer, b->smtpd->services->relays.caps_generation);
    do {
        used += take(b, bytes_skip(in, used));
        bridge_filter_flush(b);
        carrier_drain(&b->carrier);
    } while (session_wants_input(&b->session) && offer(b, bytes_skip(in, used)).len != 0);
    return used;
}

static void on_room(void *owner)
{
    struct bridge *b = owner;
    carrier_drain(&b->carrier);
}

static void on_eof(void *owner)
{
    struct bridge *b = owner;

    if (b->state == BRIDGE_HEADER) {
        fail_header(b, ERR_CLOSED);
        return;
    }
    session_feed(&b->session, &(struct session_event){.kind = SESSION_EV_EOF});
    carrier_drain(&b->carrier);
}

static void on_failed(void *owner, int error)
{
    struct bridge *b = owner;

    if (b->tls.is_running || error == ERR_TLS)
        bridge_log_tls_failed(b, error);
    b->error = error;
    session_feed(&b->session, &(struct session_event){.kind = SESSION_EV_LOST});
    carrier_drain(&b->carrier);
    close_stream(b);
}

static void on_secured(void *owner, const struct tls_facts *facts)
{
    struct bridge *b = owner;

    if (bridge_tls_secured(b, facts))
        carrier_drain(&b->carrier);
    else
        close_stream(b);
}

/* The stream is gone. A transaction whose end was released is waited for all the same. */
static void on_closed(void *owner)
{
    struct bridge *b = owner;
    bridge_tls_forget(b);
    b->stream = NULL;
    enter(b, BRIDGE_GONE);
    session_feed(&b->session, &(struct session_event){.kind = SESSION_EV_LOST});
    carrier_drain(&b->carrier);
}

static const struct stream_events stream_events = {
    .bytes = on_bytes,
    .room = on_room,
    .eof = on_eof,
    .failed = on_failed,
    .secured = on_secured,
    .closed = on_closed,
};

/* ---- life ---- */

static struct bridge *bridge_new(struct smtpd *d, struct stream *stream)
{
    struct loop_pools *pools = loop_pools(d->services->loop);
    struct bridge *b = mem_zalloc(sizeof(*b));
    struct netaddr client = stream_peer(stream), local = stream_local(stream);

    if (b == NULL)
        return NULL;
    session_init(&b->session, &d->strict, &pools->small, &pools->medium, &client, &local);
    carrier_init(&b->carrier, &carrier_ops, d->services->loop, &b->session.client);
    b->carrier.hostname = d->conf->name;
    b->stream = stream;
    b->smtpd = d;
    b->id = services_next_id(d->services);
    b->carrier.session = &b->id;
    deadline_init(&b->deadline, &deadline_use);
    list_init(&b->in_smtpd);
    return b;
}

bool bridge_start(struct smtpd *d, struct stream *stream, enum bridge_state state,
                  struct smtpd_client *counted)
{
    struct bridge *b = bridge_new(d, stream);

    assert(state == BRIDGE_OPEN || (state == BRIDGE_HEADER && counted == NULL));
    if (b == NULL || (state == BRIDGE_HEADER && !bridge_proxy_begin(b))) {
        mem_free(b);
        return false;
    }
    list_append(&d->bridges, &b->in_smtpd);
    stream_adopt(stream, &stream_events, b);
    b->counted = counted;
    if (state == BRIDGE_OPEN)
        bridge_client_meet(b, NULL, REPLY_OK);
    carrier_drain(&b->carrier);
    return true;
}

void bridge_stop(struct bridge *b, enum bridge_stop_when when)
{
    bool is_final = when == BRIDGE_STOP_NOW;
    bool is_there = b->state < BRIDGE_GONE; /* else `b` may be gone after this */

    if (b->state == BRIDGE_HEADER) {
        close_stream(b);
        return;
    }
    session_feed(&b->session,
                 &(struct session_event){.kind = SESSION_EV_STOP, .is_final = is_final});
    carrier_drain(&b->carrier);
    if (!is_final || !is_there || b->state >= BRIDGE_CUT)
        return;
    if (b->session.state != SESSION_FINAL) /* else the disk is at work, and a reply is owed */
        close_stream(b);
}
