/* SPDX-License-Identifier: BSD-2-Clause */
/* One connection to a target: a stream and an outbound machine.
 *
 * A connection has a home for all its life: the pool. At times it has a user as well: first the
 * attempt that opened it, later one transaction after the other. It reports to both, and chooses
 * neither. */
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
struct relay_auth;
struct relay_conf;
struct relay_content;
struct relay_link;
struct relay_net;

enum relay_link_state {
    RELAY_LINK_CONNECTING,
    RELAY_LINK_GREETING, /* up to the reply to EHLO */
    RELAY_LINK_OPEN,     /* serves its user; without one it is idle, or ends what one began */
    RELAY_LINK_QUITTING,
    RELAY_LINK_CLOSED /* until the stream says that it is closed */
};

/* Where the pool has it. */
enum relay_link_lot {
    RELAY_LOT_NONE,
    RELAY_LOT_IDLE,  /* in relay.idle */
    RELAY_LOT_BOUND, /* in relay.bound: idle, for one client alone */
    RELAY_LOT_BUSY,  /* in relay.busy */
    RELAY_LOT_APART  /* a client logs in on it, or has: the pool lets it be */
};

enum relay_link_tls {
    RELAY_LINK_TLS_AS_SET, /* as the section says */
    RELAY_LINK_TLS_NONE    /* a handshake with this address has just failed */
};

/* What its home is told. */
struct relay_link_home {
    /* It has no user, and the target owes nothing: it may serve another. */
    void (*idle)(struct relay_link *link);
    /* It has no user, and the target owes a reply again. */
    void (*busy)(struct relay_link *link);
    /* It quits, or is closed: it serves nobody any more. Perhaps within a call. */
    void (*left)(struct relay_link *link);
    /* Its stream is closed; it is not counted any more, and freed after this. */
    void (*closed)(struct relay_link *link);
};

/* What its user is told. A user that has lost it, or let it go, hears nothing more. */
struct relay_link_events {
    /* The stream is connected. False: the user has closed the link. NULL: that was before. */
    bool (*connected)(void *user);
    /* The target has greeted us and answered EHLO. NULL: that was before. */
    void (*ready)(void *user);
    /* What the target says to a transaction. NULL: none has begun. */
    void (*event)(void *user, const struct outbound_event *ev);
    /* It quits, or is closed. `ev`: its REFUSED or GONE; NULL: `error` says why. */
    void (*lost)(void *user, int error, const struct outbound_event *ev);
};

struct relay_link_user {
    const struct relay_link_events *events;
    void *who;                     /* NULL: there is no user */
    struct relay_content *content; /* what is sent after commands; NULL: nothing */
    bool is_spooled;               /* no client waits for the reply to the end of data */
};

/* What its deadline is for. */
struct relay_link_wait {
    enum outbound_state state; /* when the deadline was set */
    uint8_t sent_count;        /* likewise */
    bool is_due;               /* the target owes something */
};

/* What the pool notes of it. */
struct relay_link_pooled {
    struct list in_lot;
    enum relay_link_lot lot;
    bool may_be_dead;      /* it has served, or has lain idle: it may have died unnoticed */
    uint64_t idle_ms;      /* since when, while IDLE or BOUND */
    struct relay_net *net; /* BUSY, APART: counts it as its own; NULL: nobody's */
    struct list waiting;   /* APART: struct relay_asker.waiter, for when it is idle */
};

/* Who keeps it beside its users: its client has logged in on it. Told once, when it quits or is
 * closed, perhaps within a call. */
struct relay_link_keeper {
    void (*left)(void *who);
    void *who; /* NULL: nobody */
};

/* Freed when its stream has closed. */
struct relay_link {
    struct list in_relay; /* relay.links */
    struct relay *relay;
    const struct relay_link_home *home;
    struct relay_link_user user;
    struct relay_link_keeper keeper;
    struct carrier *client;   /* bound to; NULL: to nobody, or to one that is gone */
    struct carrier_hold hold; /* ... which knows of it */
    struct stream *stream;
    struct stream_target to;
    struct outbound out;
    struct deadline deadline;
    struct loop_post post;
    struct relay_auth *auth; /* NULL: no AUTH is under way */
    struct tls_facts *tls;   /* NULL: it is not encrypted */
    uint8_t *helo;           /* what the client it is bound to had said; own memory */
    size_t helo_len;
    uint64_t opened_ms;
    struct relay_link_wait wait;
    enum relay_link_state state;
    bool is_bound; /* it carries one client's identity: for no other, ever */
    bool is_draining;
    bool has_written; /* since the deadline was set */
    struct relay_link_pooled pooled;
};

/* What its outbound machine does, by the settings. */
struct outbound_conf relay_link_conf(const struct relay_conf *conf);

/* Begins to connect. With PROXY `client` is whom it is bound to. NULL: *error_out. */
struct relay_link *relay_link_open(struct relay *r, const struct relay_link_user *user,
                                   const struct stream_target *to, enum relay_link_tls tls,
                                   struct carrier *client, int *error_out);
/* Its TLS handshake is under way, or has just failed. */
bool relay_link_is_securing(const struct relay_link *link);
/* Performs what the machine says and writes what may go. Reports to users, so: not from within a
 * target's functions, but flush(). */
void relay_link_drain(struct relay_link *link);
/* The same, soon: legal anywhere. */
void relay_link_drain_later(struct relay_link *link);

/* Legal when it is OPEN and has no user. */
void relay_link_use(struct relay_link *link, const struct relay_link_user *user);
/* The user, if there is one, hears nothing more of this connection. */
void relay_link_let_go(struct relay_link *link);
/* Legal when it is OPEN and its user has let it go. Tells its home at once when it may serve
 * another user. */
void relay_link_hand_back(struct relay_link *link);
bool relay_link_is_used(const struct relay_link *link);
/* It is neither QUITTING nor CLOSED. */
bool relay_link_is_alive(const struct relay_link *link);

/* Closes it now, whatever its state. Its user is not told. */
void relay_link_close(struct relay_link *link);
/* Says QUIT, and closes it after the reply. Its user is not told. */
void relay_link_quit(struct relay_link *link);

/* From now on it serves this client alone. False: there is no memory for that, and it must not be
 * used. */
bool relay_link_bind(struct relay_link *link, struct carrier *client);
void relay_link_unbind(struct relay_link *link); /* the client is gone */
/* Legal when it is bound. It is not among what its client's carrier holds any more, so that a new
 * EHLO does not end it. `keeper` with NULL: nobody keeps it any more. */
void relay_link_keep(struct relay_link *link, const struct relay_link_keeper *keeper);
/* The name that was given in EHLO is the one that the client uses now. */
bool relay_link_fits(const struct relay_link *link, const struct identity *client);

#endif
