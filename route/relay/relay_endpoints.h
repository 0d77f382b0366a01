/* SPDX-License-Identifier: BSD-2-Clause */
/* The addresses of one relay: which are known, and which of them are down. A failed attempt opens
 * the circuit of its address (relay_health.h), and only a probe closes it again.
 *
 * This part connects to nothing: it tells its owner what to probe, and hears what came of it. */
#ifndef POSTERN_RELAY_ENDPOINTS_H
#define POSTERN_RELAY_ENDPOINTS_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/io/deadline.h"
#include "proxy/io/stream.h"
#include "proxy/smtp/reply.h"
#include "route/relay/relay_endpoint.h"
#include "route/relay/relay_log.h"
#include "route/relay/relay_lookup.h"

enum relay_endpoints_state {
    RELAY_ENDPOINTS_UNKNOWN, /* being looked up, or never asked for */
    RELAY_ENDPOINTS_KNOWN,
    RELAY_ENDPOINTS_FAILED, /* no address to be had now */
    RELAY_ENDPOINTS_OWN,    /* nothing is left but our own listeners */
    RELAY_ENDPOINTS_NULL_MX /* the domain says that it takes no mail (RFC 7505) */
};

struct relay_endpoints;

/* What the owner is told. */
struct relay_endpoints_ops {
    /* A look-up is over that had to wait for answers: the state is not UNKNOWN any more. Never
     * within a call. */
    void (*resolved)(struct relay_endpoints *e);
    /* Find out whether this address is there again. */
    void (*probe)(struct relay_endpoints *e, const struct stream_target *to);
    /* An address that was down is not; or names lead somewhere again. Perhaps within a call. */
    void (*up)(struct relay_endpoints *e);
};

struct relay_endpoints {
    const struct relay_endpoints_ops *ops;
    const struct relay_service *service;
    const struct relay_conf *conf;
    struct relay_log *log;
    struct relay_endpoint *at; /* in the order of preference */
    unsigned count;
    enum relay_endpoints_state state;
    uint64_t expires_ms;            /* UINT64_MAX: never */
    struct relay_lookup *lookup;    /* under way; NULL: none */
    struct relay_health names;      /* down: no address is to be had for them */
    struct deadline probe_deadline; /* runs while something was seen down */
    char **paths;                   /* unix sockets as C strings, one per configured address */
    unsigned turn;                  /* round-robin: of the next attempt */
    bool is_watching;               /* probe_deadline is set */
    bool is_closed;
};

/* All that is given outlives it. 0 or ERR_MEMORY; either way relay_endpoints_done() follows. */
int relay_endpoints_init(struct relay_endpoints *e, const struct relay_endpoints_ops *ops,
                         const struct relay_service *service, const struct relay_conf *conf,
                         struct relay_log *log);
void relay_endpoints_close(struct relay_endpoints *e); /* nothing is looked up or probed any more */
void relay_endpoints_done(struct relay_endpoints *e);

/* True: the state is something else than UNKNOWN; what has grown old is looked up again meanwhile.
 * False: the first look-up is under way; `resolved` is told when it is over. */
bool relay_endpoints_resolve(struct relay_endpoints *e);
/* What every recipient is refused with, for good, since there is nowhere to connect to; REPLY_OK:
 * there is, or may be soon. */
enum reply_id relay_endpoints_refusal(const struct relay_endpoints *e);
/* No address could be tried: answer at once. */
bool relay_endpoints_are_down(struct relay_endpoints *e);
unsigned relay_endpoints_down_count(struct relay_endpoints *e);
/* Why the first of those that are down is: as relay_health_why(). */
int relay_endpoints_why(const struct relay_endpoints *e);
/* Where that turn begins; each address has as many turns in a row as its weight says. Legal when
 * there are addresses. */
unsigned relay_endpoints_position(const struct relay_endpoints *e, unsigned turn);

/* No connection came about. `reply`: a greeting that was no 220, or no reply at all (code 0); NULL:
 * `error` says why. */
void relay_endpoints_failed(struct relay_endpoints *e, const struct stream_target *to, int error,
                            const struct reply *reply);
/* A connection was greeted and EHLOed. */
void relay_endpoints_worked(struct relay_endpoints *e, const struct stream_target *to);
/* This address turned out to be ourselves. */
void relay_endpoints_strike(struct relay_endpoints *e, const struct stream_target *to);
/* Probes now what is down, without waiting for the next health-interval. */
void relay_endpoints_probe(struct relay_endpoints *e);

#endif
