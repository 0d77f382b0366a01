/* SPDX-License-Identifier: BSD-2-Clause */
/* One connection to a target: stream and outbound machine. */
#include "route/relay/relay_link.h"

#include <assert.h>

#include "proxy/base/error.h"
#include "route/relay/relay_auth.h"
#include "route/relay/relay_content.h"
#include "route/relay/relay_identity.h"
#include "route/relay/relay_private.h"
#include "route/relay/relay_tls.h"

#define QUIT_MS          5000   /* for the reply to QUIT: nobody waits for it */
#define SPOOLED_FINAL_MS 600000 /* RFC 5321 4.5.3.2.6 */

static struct loop *loop_of(const struct relay_link *link)
{
    return link->relay->service->loop;
}

/* ---- bound to one client ---- */

bool relay_link_bind(struct relay_link *link, struct carrier *client)
{
    struct bytes helo = client->client->helo;

    if (link->is_bound)
        return link->client == client;
    link->helo = mem_alloc(helo.len);
    if (link->helo == NULL)
        return false;
    if (helo.len != 0)
        memcpy(link->helo, helo.at, helo.len);
    link->helo_len = helo.len;
    link->is_bound = true;
    link->client = client;
    link->hold.target = &link->relay->target;
    list_prepend(&client->holds, &link->hold.in_carrier);
    return true;
}

void relay_link_unbind(struct relay_link *link)
{
    list_remove(&link->hold.in_carrier);
    link->client = NULL;
}

void relay_link_keep(struct relay_link *link, const struct relay_link_keeper *keeper)
{
    assert(link->is_bound);
    list_remove(&link->hold.in_carrier);
    link->keeper = *keeper;
}

bool relay_link_fits(const struct relay_link *link, const struct identity *client)
{
    return bytes_equal(bytes_make(link->helo, link->helo_len), client->helo);
}

/* ---- who uses it ---- */

bool relay_link_is_used(const struct relay_link *link)
{
    return link->user.who != NULL;
}

bool relay_link_is_alive(const struct relay_link *link)
{
    return link->state != RELAY_LINK_QUITTING && link->state != RELAY_LINK_CLOSED;
}

void relay_link_use(struct relay_link *link, const struct relay_link_user *user)
{
    assert(link->state == RELAY_LINK_OPEN && !relay_link_is_used(link) && user->who != NULL);
    link->user = *user;
    link->wait.is_due = false;
}

void relay_link_let_go(struct relay_link *link)
{
    link->user = (struct relay_link_user){.who = NULL};
}

/* ---- ending ---- */

/* A connection goes through its states in their order, and may leave some out. */
static void enter(struct relay_link *link, enum relay_link_state state)
{
    assert(state > link->state);
    link->state = state;
}

/* It serves nobody from now on. */
static void leave(struct relay_link *link, enum relay_link_state state)
{
    struct relay_link_keeper keeper = link->keeper;

    link->relay->leaving_count += relay_link_is_alive(link);
    enter(link, state);
    link->wait.is_due = false;
    relay_auth_leave(&link->auth);
    relay_link_let_go(link);
    relay_link_unbind(link);
    link->keeper = (struct relay_link_keeper){.who = NULL};
    link->home->left(link);
    if (keeper.who != NULL)
        keeper.left(keeper.who);
}

void relay_link_close(struct relay_link *link)
{
    if (link->state == RELAY_LINK_CLOSED)
        return;
    leave(link, RELAY_LINK_CLOSED);
    deadline_clear(loop_of(link), &link->deadline);
    loop_unpost(loop_of(link), &link->post);
    outbound_forget(&link->out); /* the stream is gone later than the transaction's memory */
    stream_close(link->stream);
}

/* QUIT is said, or about to be. */
static void let_quit(struct relay_link *link)
{
    uint64_t wait_ms = link->relay->conf->times.command_ms;

    leave(link, RELAY_LINK_QUITTING);
    deadline_set(loop_of(link), &link->deadline,
                 loop_now_ms(loop_of(link)) + (wait_ms < QUIT_MS ? wait_ms : QUIT_MS));
    relay_link_drain_later(link);
}

void relay_link_quit(struct relay_link *link)
{
    assert(relay_link_is_alive(link));
    outbound_quit(&link->out);
    let_quit(link);
}

static void on_closed(void *owner)
{
    struct relay_link *link = owner;

    assert(link->state == RELAY_LINK_CLOSED);
    outbound_done(&link->out);
    list_remove(&link->in_relay);
    link->relay->link_count--;
    link->relay->leaving_count--;
    link->home->closed(link);
    mem_free(link->tls);
    mem_free(link->helo);
    mem_free(link);
}

/* The connection can serve nobody any more. `ev`: its REFUSED or GONE, or NULL: `error` says why.
 */
static void give_up(struct relay_link *link, int error, const struct outbound_event *ev)
{
    struct relay_link_user user = link->user;

    if (link->auth != NULL)
        relay_log_auth_failed(&link->relay->log, &link->to, relay_auth_mechanism(link->auth), error,
                              ev == NULL ? NULL : &ev->reply);
    if (ev != NULL && ev->kind == OUTBOUND_REFUSED)
        let_quit(link);
    else
        relay_link_close(link);
    if (user.who != NULL)
        user.events->lost(user.who, error, ev);
}

/* ---- deadlines ---- */

/* No client waits for the spool's mail, and each answer that is missed is a duplicate (RFC 1047).
 */
static uint64_t final_ms(const struct relay_link *link)
{
    uint64_t live_ms = link->relay->conf->times.final_ms;

    return link->user.is_spooled && live_ms < SPOOLED_FINAL_MS ? SPOOLED_FINAL_MS : live_ms;
}

/* How long the target may take for what it owes now; 0: nothing, it is the client's turn. */
static uint64_t owed_ms(const struct relay_link *link)
{
    const struct relay_times *times = &link->relay->conf->times;

    switch (link->out.state) {
    case OUT_GREETING:
    case OUT_EHLO:
    case OUT_HELO:
    case OUT_STARTTLS:
    case OUT_SECURING:
    case OUT_PROVING:
    case OUT_AUTH:
    case OUT_XCLIENT:
    case OUT_LOGIN:
        return times->command_ms;
    case OUT_ENVELOPE:
    case OUT_DRAINING:
        return link->out.sent.count != 0 || stream_unsent(link->stream) != 0 ? times->command_ms
                                                                             : 0;
    case OUT_CONTENT:
        return link->out.sent.count != 0 || stream_unsent(link->stream) != 0 ? times->data_ms : 0;
    case OUT_FINAL:
        return final_ms(link);
    case OUT_LOGIN_LINE:
    case OUT_IDLE:
    case OUT_QUITTING:
    case OUT_GONE:
        break;
    }
    return 0;
}

/* Progress begins the wait anew: something was answered, or octets went out. */
static void update_deadline(struct relay_link *link)
{
    struct relay_link_wait *wait = &link->wait;
    uint64_t owed = owed_ms(link);
    bool has_moved = link->has_written || wait->state != link->out.state ||
                     wait->sent_count != link->out.sent.count;

    if (link->state != RELAY_LINK_OPEN && link->state != RELAY_LINK_GREETING)
        return;
    link->has_written = false;
    if (owed != 0 && (has_moved || !wait->is_due))
        deadline_set(loop_of(link), &link->deadline, loop_now_ms(loop_of(link)) + owed);
    wait->is_due = owed != 0;
    wait->state = link->out.state;
    wait->sent_count = link->out.sent.count;
}

static void on_deadline(struct deadline *deadline)
{
    struct relay_link *link = CONTAINER_OF(deadline, struct relay_link, deadline);

    switch (link->state) {
    case RELAY_LINK_CONNECTING:
    case RELAY_LINK_GREETING:
        give_up(link, ERR_TIMEOUT, NULL);
        break;
    case RELAY_LINK_OPEN:
        if (link->wait.is_due)
            give_up(link, ERR_TIMEOUT, NULL);
        break;
    case RELAY_LINK_QUITTING:
        relay_link_close(link);
        break;
    case RELAY_LINK_CLOSED:
        break;
    }
}

static const struct deadline_use deadline_use = {.reached = on_deadline};

/* ---- draining ---- */

bool relay_link_is_securing(const struct relay_link *link)
{
    return link->out.state == OUT_SECURING;
}

/* What stands in `out` was sent: it has been answered. */
static void secure(struct relay_link *link, size_t dropped)
{
    int error = relay_tls_start(link->relay, link->stream, &link->to);

    if (dropped != 0)
        relay_log_dropped(&link->relay->log, &link->to, dropped);
    if (error != 0)
        give_up(link, error, NULL);
}

static void on_said(void *owner, const struct sasl_client_line *line, int error)
{
    struct relay_link *link = owner;

    if (error != 0)
        outbound_auth_failed(&link->out, error);
    else
        outbound_auth(&link->out, bytes_make(line->at, line->len),
                      line->is_proof ? OUTBOUND_AUTH_PROOF : OUTBOUND_AUTH_GOES_ON);
    relay_link_drain(link);
}

static void authenticate(struct relay_link *link, const struct reply *challenge)
{
    int error = ERR_MEMORY;

    if (link->auth == NULL)
        link->auth = relay_auth_new(link->relay, &link->out, on_said, link, &error);
    if (link->auth == NULL || !relay_auth_step(link->auth, challenge))
        outbound_auth_failed(&link->out, error);
}

static void tell_user(struct relay_link *link, const struct outbound_event *ev)
{
    if (relay_link_is_used(link))
        link->user.events->event(link->user.who, ev);
}

static void be_ready(struct relay_link *link)
{
    if (link->auth != NULL)
        relay_log_auth(&link->relay->log, &link->to, relay_auth_mechanism(link->auth));
    relay_auth_leave(&link->auth);
    enter(link, RELAY_LINK_OPEN);
    link->user.events->ready(link->user.who);
}

static void perform(struct relay_link *link, struct outbound_event *ev)
{
    char reply_cover[RELAY_AUTH_COVER_MAX], heard_cover[RELAY_AUTH_COVER_MAX];

    if (ev->kind != OUTBOUND_AUTH) { /* a challenge is for nobody else */
        relay_auth_withhold(link->relay, &ev->reply, reply_cover);
        relay_auth_withhold(link->relay, &ev->heard, heard_cover);
    }
    switch (ev->kind) {
    case OUTBOUND_SECURE:
        secure(link, ev->dropped);
        break;
    case OUTBOUND_AUTH:
        authenticate(link, &ev->reply);
        break;
    case OUTBOUND_READY:
        if (link->state == RELAY_LINK_GREETING)
            be_ready(link);
        else
            tell_user(link, ev);
        break;
    case OUTBOUND_LOGIN:
    case OUTBOUND_ANSWER:
    case OUTBOUND_GO:
    case OUTBOUND_FINAL_ANSWER:
        tell_user(link, ev);
        break;
    case OUTBOUND_IDLE:
        if (!relay_link_is_used(link))
            link->home->idle(link);
        break;
    case OUTBOUND_REFUSED:
    case OUTBOUND_GONE:
        give_up(link, ev->error, ev);
        break;
    }
}

/* Nobody has taken the connection in this turn. RSET frees what the transaction that was given up
 * still holds at the target. */
static bool reset(struct relay_link *link)
{
    if (link->state != RELAY_LINK_OPEN || relay_link_is_used(link) || !outbound_reset(&link->out))
        return false;
    link->home->busy(link);
    return true;
}

void relay_link_drain(struct relay_link *link)
{
    struct outbound_event ev;

    if (link->is_draining || link->state == RELAY_LINK_CONNECTING)
        return;
    loop_unpost(loop_of(link), &link->post);
    link->is_draining = true;
    while (link->state != RELAY_LINK_CLOSED) {
        if (!outbound_next(&link->out, &ev)) {
            if (relay_content_pump(link->user.content, &link->out, link->stream))
                link->has_written = true;
            if (!outbound_next(&link->out, &ev)) {
                if (reset(link))
                    continue;
                break;
            }
        }
        perform(link, &ev);
    }
    link->is_draining = false;
    if (link->state != RELAY_LINK_CLOSED)
        update_deadline(link);
}

void relay_link_hand_back(struct relay_link *link)
{
    struct outbound_event ev;

    assert(link->state == RELAY_LINK_OPEN && !relay_link_is_used(link));
    if (outbound_next(&link->out, &ev))
        perform(link, &ev);
    relay_link_drain_later(link);
}

static void on_post(void *owner)
{
    relay_link_drain(owner);
}

void relay_link_drain_later(struct relay_link *link)
{
    if (!link->is_draining && link->state != RELAY_LINK_CLOSED)
        loop_post(loop_of(link), &link->post, on_post, link);
}

/* ---- the stream ---- */

/* NULL: nobody's, and a report of ours is nobody's. */
static const struct identity *client_of(const struct relay_link *link)
{
    const struct carrier *c = link->client;
    return c == NULL || c->spooled_identity == IDENTITY_KIND_NONE ? NULL : c->client;
}

static struct bytes session_of(const struct relay_link *link)
{
    const struct carrier *c = link->client;
    return bytes_of(c == NULL || c->session == NULL ? "" : c->session->text);
}

static void on_connected(void *owner, int error)
{
    struct relay_link *link = owner;
    const struct relay_conf *conf = link->relay->conf;
    struct bytes helo = link->is_bound ? bytes_make(link->helo, link->helo_len) : conf->helo;

    if (error != 0) {
        give_up(link, error, NULL);
        return;
    }
    if (!link->user.events->connected(link->user.who))
        return;
    enter(link, RELAY_LINK_GREETING);
    struct identity own = {.client = stream_local(link->stream),
                           .local = stream_peer(link->stream)};
    bool has_ends = own.client.family != NETADDR_NONE;
    outbound_start(&link->out, relay_identity_proxy(conf), client_of(link), has_ends ? &own : NULL,
                   session_of(link), helo);
    relay_link_drain(link);
}

static size_t on_bytes(void *owner, struct bytes in)
{
    struct relay_link *link = owner;

    outbound_feed(&link->out, in);
    relay_link_drain(link);
    return in.len;
}

static void on_room(void *owner)
{
    relay_link_drain(owner);
}

static void on_eof(void *owner)
{
    struct relay_link *link = owner;

    outbound_eof(&link->out);
    relay_link_drain(link);
}

static void on_failed(void *owner, int error)
{
    struct relay_link *link = owner;

    if (relay_link_is_securing(link)) {
        give_up(link, error, NULL);
        return;
    }
    outbound_eof(&link->out); /* what matters is how far the conversation had come */
    relay_link_drain(link);
}

static void on_secured(void *owner, const struct tls_facts *facts)
{
    struct relay_link *link = owner;

    link->tls = tls_facts_copy(facts);
    if (link->tls == NULL) {
        give_up(link, ERR_MEMORY, NULL);
        return;
    }
    relay_log_tls(&link->relay->log, &link->to, facts);
    outbound_secured(&link->out);
    relay_link_drain(link);
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

/* ---- beginning ---- */

struct outbound_conf relay_link_conf(const struct relay_conf *conf)
{
    return (struct outbound_conf){
        .uses_chunking = conf->chunking == RELAY_CHUNKING_AUTO,
        .tls = relay_tls_policy(conf),
        .verifies_tls = conf->tls.mode == RELAY_TLS_VERIFY,
        .authenticates = relay_auth_is_needed(conf),
        .is_lmtp = conf->protocol == RELAY_LMTP,
    };
}

static struct relay_link *link_new(struct relay *r, const struct relay_link_user *user,
                                   const struct stream_target *to, enum relay_link_tls tls)
{
    struct loop_pools *pools = loop_pools(r->service->loop);
    struct relay_link *link = mem_zalloc(sizeof(*link));

    if (link == NULL)
        return NULL;
    link->relay = r;
    link->home = r->link_home;
    link->user = *user;
    link->to = *to;
    link->state = RELAY_LINK_CONNECTING;
    link->opened_ms = loop_now_ms(loop_of(link));
    list_init(&link->in_relay);
    list_init(&link->pooled.in_lot);
    list_init(&link->pooled.waiting);
    list_init(&link->hold.in_carrier);
    deadline_init(&link->deadline, &deadline_use);
    outbound_init(&link->out, &r->outbound, &pools->small, &pools->medium);
    link->out.hello.avoids_tls = tls == RELAY_LINK_TLS_NONE;
    return link;
}

struct relay_link *relay_link_open(struct relay *r, const struct relay_link_user *user,
                                   const struct stream_target *to, enum relay_link_tls tls,
                                   struct carrier *client, int *error_out)
{
    struct relay_link *link = link_new(r, user, to, tls);
    bool may_connect = link != NULL && (client == NULL || relay_link_bind(link, client));

    *error_out = ERR_MEMORY;
    if (may_connect)
        link->stream = stream_connect(r->service->loop, to, &stream_events, link, error_out);
    if (!may_connect || link->stream == NULL) {
        if (link != NULL) {
            relay_link_unbind(link);
            outbound_done(&link->out);
            mem_free(link->helo);
            mem_free(link);
        }
        return NULL;
    }
    list_append(&r->links, &link->in_relay);
    r->link_count++;
    deadline_set(r->service->loop, &link->deadline, link->opened_ms + r->conf->times.connect_ms);
    return link;
}
