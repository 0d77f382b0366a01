/* SPDX-License-Identifier: BSD-2-Clause */
/* One attempt to get a connection that is greeted and EHLOed: address after address. */
#ifndef POSTERN_RELAY_CONNECT_H
#define POSTERN_RELAY_CONNECT_H

#include <stdbool.h>

#include "proxy/base/list.h"
#include "proxy/io/stream.h"
#include "proxy/smtp/reply.h"
#include "route/relay/relay_lookup.h"

struct carrier;
struct relay;
struct relay_asker;
struct relay_link;
struct relay_net;

/* How something failed that a transaction needs. */
enum relay_failure {
    RELAY_BREAKDOWN, /* there is no connection, or it broke: what may be spooled is */
    RELAY_VERDICT    /* the reply answers every recipient, and nothing is spooled */
};

/* For whom an attempt is made: with PROXY for one transaction, else for whoever waits. */
struct relay_dial_user {
    struct relay_asker *asker; /* NULL: for whoever waits */
    struct carrier *client;    /* of the asker */
    struct relay_net *net;     /* of the client; the attempt counts as a connection it holds */
};

struct relay_dial {
    struct list in_relay;
    struct relay *relay;
    struct relay_dial_user user;
    struct relay_link *link;     /* NULL: names are being looked up */
    struct stream_target probed; /* is_probe: the one address */
    /* The list may change meanwhile: names are looked up again, and some lead to ourselves. */
    struct stream_target tried[RELAY_ENDPOINTS_MAX];
    unsigned tried_count;
    unsigned turn; /* round-robin: at which address it begins */
    bool is_probe;
    bool is_asleep; /* until the names are known */
};

/* What the pool is told: in relay.dial_ops. */
struct relay_dial_ops {
    /* The attempt has ended, in whatever way, and does not count any more. */
    void (*over)(struct relay *r, const struct relay_dial_user *user);
    /* After `over`: a connection, or why there is none. A probe that failed says nothing. */
    void (*got)(struct relay_link *link, struct relay_asker *asker);
    void (*missed)(struct relay *r, struct relay_asker *asker, const struct reply *reply,
                   enum relay_failure how);
};

/* NULL: no memory. */
struct relay_dial *relay_connect_new(struct relay *r, const struct relay_dial_user *user);
/* Begins it, and perhaps ends it within the call. */
void relay_connect_begin(struct relay_dial *d);
/* One address that is down; nobody waits for it. Failure is silent. */
void relay_connect_probe(struct relay *r, const struct stream_target *to);
/* Nobody needs this attempt any more. */
void relay_connect_cancel(struct relay_dial *d);
/* All of them: the relay is being closed. */
void relay_connect_cancel_all(struct relay *r);
/* The addresses are known now, or are not to be had. */
void relay_connect_resolved(struct relay *r);

#endif
