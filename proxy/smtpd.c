/* SPDX-License-Identifier: BSD-2-Clause */
/* One [smtpd] section at work: its listeners and its limits. */
#include "proxy/smtpd.h"

#include "proxy/base/error.h"
#include "proxy/bridge.h"
#include "proxy/dovecot.h"
#include "proxy/logging.h"
#include "proxy/log_fields.h"
#include "proxy/services.h"

static struct shared *shared_of(const struct smtpd *d)
{
    return d->services->shared;
}

/* A connection has ended, or was not served. */
static void forget(struct smtpd *d, struct smtpd_client *client)
{
    smtpd_count_out(d, client);
    shared_add(shared_of(d), &d->connections, -1);
}

static void on_bridge_ended(struct smtpd *d, struct smtpd_client *counted)
{
    forget(d, counted);
    d->session_ended(d->owner);
}

/* ---- accepting ---- */

struct turned_away {
    struct stream *stream;
};

static void on_turned_away_failed(void *owner, int error)
{
    struct turned_away *t = owner;
    (void)error;
    stream_close(t->stream);
}

static size_t on_turned_away_bytes(void *owner, struct bytes in)
{
    (void)owner;
    return in.len;
}

static void on_turned_away_closed(void *owner)
{
    mem_free(owner);
}

static void ignore(void *owner)
{
    (void)owner;
}

static const struct stream_events turned_away_events = {
    .bytes = on_turned_away_bytes,
    .room = ignore,
    .eof = ignore,
    .failed = on_turned_away_failed,
    .closed = on_turned_away_closed,
};

static void log_turned_away(const struct smtpd *d, const struct netaddr *client,
                            const struct reply *reply)
{
    struct log_line line = log_begin(d->services->log, d->log_sinks, LOG_LEVEL_WARNING, "reject");
    char address[NETADDR_TEXT_MAX];

    log_put_text(&line, "client", netaddr_text_with_port(client, address));
    log_put(&line, "listener", d->conf->section);
    log_put(&line, "reply", bytes_first(reply->wire, reply->wire.len - 2));
    log_put_refuser(&line, &loop_pools(d->services->loop)->medium, reply, NULL);
    log_end(&line);
}

/* A client over a limit gets one line, and no session is made for it. */
static void turn_away(struct smtpd *d, struct stream *stream, enum reply_id id)
{
    struct netaddr client = stream_peer(stream);
    struct reply reply = reply_own(id);
    struct turned_away *t = mem_zalloc(sizeof(*t));

    log_turned_away(d, &client, &reply);
    if (t == NULL)
        return;
    t->stream = stream;
    stream_adopt(stream, &turned_away_events, t);
    if (d->conf->tls.mode != SMTPD_TLS_IMPLICIT) /* else it would not be understood */
        stream_write(stream, &reply.wire, 1);
    stream_close(stream);
}

/* A client that is over a limit is counted in already, here and in other processes. For whom a
 * proxy has connected is not known yet. */
static void on_accepted(void *owner, struct stream *stream)
{
    struct smtpd *d = owner;
    struct netaddr address = stream_peer(stream);
    struct smtpd_client *client = NULL;
    bool is_proxied = setting_nets_hold(&d->conf->fronts.proxy_protocol, &address);
    enum reply_id id = REPLY_OK;

    shared_add(shared_of(d), &d->connections, 1);
    if (!is_proxied)
        id = smtpd_count_in(d, &address, &client);
    if (!is_proxied && smtpd_is_full(d, &address))
        id = REPLY_TOO_MANY_CONNECTIONS;
    if (id == REPLY_OK && bridge_start(d, stream, is_proxied ? BRIDGE_HEADER : BRIDGE_OPEN, client))
        return;
    if (id != REPLY_OK)
        turn_away(d, stream, id);
    forget(d, client);
}

static struct bytes on_no_room(void *owner, struct netaddr peer)
{
    struct smtpd *d = owner;
    struct reply reply = reply_own(REPLY_NO_DESCRIPTORS);

    log_turned_away(d, &peer, &reply);
    return d->conf->tls.mode == SMTPD_TLS_IMPLICIT ? bytes_make(NULL, 0) : reply.wire;
}

static const struct listener_events listener_events = {.accepted = on_accepted,
                                                       .no_room = on_no_room};

/* ---- life ---- */

/* The filters of a target are asked when a recipient is routed there, and then with the others. */
static uint32_t stages_of_targets(const struct smtpd *d)
{
    uint32_t with_others = (1U << SESSION_STAGE_DATA) | (1U << SESSION_STAGE_END), stages = 0;
    struct target *const *targets;
    size_t count = route_set_targets(d->routes, &targets);

    for (size_t i = 0; i < count; i++)
        if (targets[i]->chain != NULL)
            stages |= targets[i]->chain->stages & with_others;
    return stages;
}

static enum session_tls tls_of(const struct smtpd_conf *conf)
{
    switch (conf->tls.mode) {
    case SMTPD_TLS_STARTTLS:
        return SESSION_TLS_OFFERED;
    case SMTPD_TLS_REQUIRED:
        return SESSION_TLS_REQUIRED;
    case SMTPD_TLS_NONE:
    case SMTPD_TLS_IMPLICIT: /* the shell begins it */
        break;
    }
    return SESSION_TLS_NONE;
}

static enum session_auth_policy auth_of(const struct smtpd_conf *conf)
{
    if (conf->auth.how.by == SMTPD_AUTH_BY_NONE)
        return SESSION_AUTH_NONE;
    return conf->auth.takes_plaintext ? SESSION_AUTH_ANY : SESSION_AUTH_SAFE;
}

static int make_session_conf(struct smtpd *d, struct arena *arena)
{
    const struct smtpd_conf *conf = d->conf;
    uint32_t own = capability_offered(CAPABILITY_OFFER_OWN);
    uint32_t passed = capability_offered(CAPABILITY_OFFER_PASSED);

    d->strict = (struct session_conf){
        .name = conf->name,
        .message_max_bytes = conf->limits.message_bytes,
        .recipients_max = conf->limits.recipients,
        .errors_max = conf->limits.errors,
        .junk_max = conf->limits.junk_commands,
        .overshoot_max = conf->limits.overshoot,
        .is_lmtp = conf->protocol == SMTPD_LMTP,
        .tls = tls_of(conf),
        .auth = auth_of(conf),
        .is_tls_busy = &d->handshakes.is_full,
        .rejects_early_input = conf->early_input == SMTPD_EARLY_INPUT_REJECT,
        .rejects_bare_newline = conf->bare_newline == SMTPD_BARE_NEWLINE_REJECT,
        .asks = d->chain.stages | stages_of_targets(d),
        .announces = (own | passed) & ~smtpd_conf_keywords(&conf->keywords.hide),
        .bridges = own | smtpd_conf_keywords(&conf->keywords.announce),
        .is_storage_low = &d->services->storage.is_low,
    };
    if (conf->refuse.len != 0) {
        struct buf text;
        buf_init(&text, &loop_pools(d->services->loop)->medium, 600);
        buf_text(&text, "521 5.3.2 ");
        buf_put(&text, conf->refuse);
        int error = reply_make(arena, buf_bytes(&text), &d->strict.refuse);
        buf_done(&text);
        if (error != 0)
            return error;
    }
    d->lenient = d->strict;
    d->lenient.rejects_bare_newline = false;
    return 0;
}

static int listen_on(struct smtpd *d, const int *fds, size_t fd_count, struct arena *arena)
{
    int error;

    d->listeners = arena_alloc(arena, fd_count * sizeof(struct listener *));
    if (d->listeners == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < fd_count; i++) {
        struct listener *listener = listener_new(d->services->loop, fds[i], SMTPD_RESERVED_FDS,
                                                 &listener_events, d, &error);
        if (listener == NULL)
            return error;
        d->listeners[d->listener_count++] = listener;
    }
    return 0;
}

static int start_auth(struct smtpd *d)
{
    const struct dovecot_services services = {
        .loop = d->services->loop, .log = d->services->log, .log_sinks = d->log_sinks};

    if (d->conf->auth.how.by == SMTPD_AUTH_BY_TARGET)
        d->login_at = targets_find(&d->services->targets, d->conf->auth.target);
    if (d->conf->auth.how.by != SMTPD_AUTH_BY_DOVECOT)
        return 0;
    d->dovecot = dovecot_new(&services, d->conf->auth.how.socket);
    return d->dovecot == NULL ? ERR_MEMORY : 0;
}

int smtpd_start(struct smtpd *d, struct services *services, const struct smtpd_conf *conf,
                struct route_set *routes, const int *fds, size_t fd_count)
{
    struct arena *arena = &services->arena;

    d->services = services;
    d->conf = conf;
    d->routes = routes;
    d->log_sinks = logging_mask(services->config, conf->logger);
    d->connections.key = shared_key(shared_of(d), "smtpd", conf->section);
    list_init(&d->bridges);
    hash_table_init(&d->clients, loop_hash_key(services->loop));
    offer_init(&d->offer, routes);
    d->bridge_ended = on_bridge_ended;
    int error = fd_count == 0 ? 0 : start_auth(d); /* else it serves no clients */
    if (error == 0)
        error = filters_chain(&services->filters, &conf->filters.chosen, &d->chain);
    if (error == 0)
        error = make_session_conf(d, arena);
    if (error == 0)
        error = listen_on(d, fds, fd_count, arena);
    return error;
}

void smtpd_stop(struct smtpd *d)
{
    d->is_stopping = true;
    for (size_t i = 0; i < d->listener_count; i++)
        listener_close(d->listeners[i]);
    d->listener_count = 0;
}

void smtpd_close(struct smtpd *d)
{
    if (d->dovecot != NULL)
        dovecot_close(d->dovecot);
}

void smtpd_done(struct smtpd *d)
{
    if (d->dovecot != NULL)
        dovecot_free(d->dovecot);
    hash_table_done(&d->clients);
}
