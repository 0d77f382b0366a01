/* SPDX-License-Identifier: BSD-2-Clause */
/* One connection to a target: stream and outbound machine, and who has it. */
#ifndef POSTERN_RELAY_LINK_H
#define POSTERN_RELAY_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/list.h"
#include "proxy/io/deadline.h"
#include "proxy/io/loop.h"
#include "proxy/io/stream.h"
#include "proxy/smtp/identity.h"
#include "proxy/smtp/outbound.h"
#include "route/carrier.h"

struct relay;
struct relay_branch;
struct relay_dial;
struct relay_net;

enum relay_link_state {
    RELAY_LINK_CONNECTING,
    RELAY_LINK_GREETING, /* up to the reply to EHLO */
    RELAY_LINK_IDLE,     /* in relay.idle */
    RELAY_LINK_BOUND,    /* in relay.bound: idle, for one client alone */
    RELAY_LINK_BUSY,     /* in relay.busy: serves `user`; NULL: ends what a dropped one began */
    RELAY_LINK_QUITTING,
    RELAY_LINK_CLOSED /* until the stream's last word */
};

/* What its deadline is for. */
struct relay_link_wait {
    enum outbound_state state; /* when the deadline was set */
    uint8_t sent_count;        /* likewise */
    bool is_due;               /* the target owes something */
};

/* Freed when its stream has closed. */
struct relay_link {
    struct list in_relay; /* relay.links */
    struct list in_pool;  /* relay.idle, bound or busy */
    struct relay *relay;
    struct relay_dial *dial; /* while CONNECTING or GREETING */
    struct relay_branch *user;
    struct relay_net *net;    /* BUSY: counts it as its own; NULL: nobody's */
    struct carrier *client;   /* bound to; NULL: to nobody, or to one that is gone */
    struct carrier_hold hold; /* ... which knows of it */
    struct stream *stream;
    struct stream_target to;
    struct outbound out;
    struct deadline deadline;
    struct loop_post post;
    uint8_t *helo; /* what the client it is bound to had said; own memory */
    size_t helo_len;
    uint64_t opened_ms;
    uint64_t idle_ms; /* since when, while IDLE or BOUND */
    struct relay_link_wait wait;
    enum relay_link_state state;
    bool is_bound;  /* it carries one client's identity: for no other, ever */
    bool is_pooled; /* it has served, or has lain idle: it may have died unnoticed */
    bool is_draining;
    bool has_written; /* since the deadline was set */
};

/* Begins to connect for a dial. With PROXY `client` is whom it is bound to. NULL: *error_out. */
struct relay_link *relay_link_open(struct relay_dial *dial, const struct stream_target *to,
                                   struct carrier *client, int *error_out);
/* Performs what the machine says and writes what may go. Reports to branches, so: not from within
 * a target's functions, but flush(). */
void relay_link_drain(struct relay_link *link);
/* The same, soon: legal anywhere. */
void relay_link_drain_later(struct relay_link *link);

/* Its user has given it up: it may serve another at once. Reports to nobody. */
void relay_link_free(struct relay_link *link);

/* One event of its machine, which somebody else has taken off it. */
void relay_link_perform(struct relay_link *link, const struct outbound_event *ev);

/* Closes it now, whatever it was at. Its user and dial are not told. */
void relay_link_close(struct relay_link *link);
void relay_link_quit(struct relay_link *link);
/* Moves it into one of the relay's lists. */
void relay_link_set(struct relay_link *link, enum relay_link_state state, struct list *into);

/* From now on it is this client's alone. False: no memory, it must not be used. */
bool relay_link_bind(struct relay_link *link, struct carrier *client);
void relay_link_unbind(struct relay_link *link); /* the client is gone */
/* Greeted by the name that the client goes by now. */
bool relay_link_fits(const struct relay_link *link, const struct identity *client);

#endif
