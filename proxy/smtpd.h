/* SPDX-License-Identifier: BSD-2-Clause */
/* One [smtpd] section at work: its listeners, its limits, and what its sessions need. */
#ifndef POSTERN_SMTPD_H
#define POSTERN_SMTPD_H

#include <stdint.h>

#include "filters/chain.h"
#include "proxy/base/hash.h"
#include "proxy/base/list.h"
#include "proxy/io/stream.h"
#include "proxy/offer.h"
#include "proxy/shared.h"
#include "proxy/smtp/session.h"
#include "proxy/config/smtpd_conf.h"
#include "route/route.h"

struct dovecot;
struct services;
struct smtpd_client;

/* Descriptors that accepting leaves free, for connections to targets and copies that spill. */
#define SMTPD_RESERVED_FDS 64

struct smtpd_handshakes { /* of TLS, that are under way */
    unsigned count;
    bool is_full;
};

struct smtpd {
    struct services *services;
    const struct smtpd_conf *conf;
    struct route_set *routes;
    struct session_conf strict;  /* as configured */
    struct session_conf lenient; /* the same for clients in bare-newline-exempt */
    struct chain chain;          /* its filters */
    struct offer offer;
    uint32_t log_sinks;
    bool is_stopping; /* no new connections */
    struct listener **listeners;
    size_t listener_count;
    struct list bridges;     /* struct bridge.in_smtpd */
    uint64_t duplicates;     /* transactions that were logged duplicate=possible */
    struct dovecot *dovecot; /* where clients authenticate themselves; NULL: not by Dovecot */
    struct target *login_at; /* likewise; NULL: at no target */
    struct smtpd_handshakes handshakes;
    struct shared_count connections;
    struct hash_table clients; /* struct smtpd_client by address */
    /* Called when a bridge has gone, with where its connection was counted. Set by smtpd_start().
     */
    void (*bridge_ended)(struct smtpd *d, struct smtpd_client *counted);
    /* The caller's: called after that. */
    void (*session_ended)(void *owner);
    void *owner;
};

/* How many connections a client has in all processes: an IPv4 address or an IPv6 /64; and the nets
 * around that /64, which one client may have as a whole. */
struct smtpd_client {
    struct hash_entry entry;
    uint8_t key[18];            /* family, bits, the net's octets */
    uint32_t times;             /* of max-connections-per-client that it may have */
    struct smtpd_client *wider; /* the net around it; NULL: the widest */
    struct shared_count connections;
};

/* Counts one more connection of a client. *counted_out: where, for smtpd_count_out(); NULL: the
 * limit spares it, or there is no memory. REPLY_OK, or why the client is turned away. */
enum reply_id smtpd_count_in(struct smtpd *d, const struct netaddr *client,
                             struct smtpd_client **counted_out);
/* Are there too many connections for one more of this client? It is counted in already. */
bool smtpd_is_full(const struct smtpd *d, const struct netaddr *client);
void smtpd_count_out(struct smtpd *d, struct smtpd_client *counted); /* or NULL */

/* `fds`: listening sockets, taken over. `session_ended` and `owner` are set before. 0, or an error.
 */
int smtpd_start(struct smtpd *d, struct services *services, const struct smtpd_conf *conf,
                struct route_set *routes, const int *fds, size_t fd_count);
void smtpd_stop(struct smtpd *d);  /* no more connections; those that run go on */
void smtpd_close(struct smtpd *d); /* every bridge is gone: nothing keeps the loop running */
void smtpd_done(struct smtpd *d);  /* behind that, when the loop has ended */

#endif
