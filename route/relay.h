/* SPDX-License-Identifier: BSD-2-Clause */
/* Relays: targets that speak SMTP. One branch of a transaction on a borrowed connection. */
#ifndef POSTERN_RELAY_H
#define POSTERN_RELAY_H

#include "proxy/io/dns.h"
#include "proxy/io/log.h"
#include "proxy/io/loop.h"
#include "route/relay_conf.h"
#include "route/target.h"

struct relay; /* a target; its first member is a struct target */

/* What all relays of a loop share. */
struct relay_service {
    struct loop *loop;
    struct dns *dns;
    struct log *log;
    uint32_t log_sinks;
    const struct netaddr *own_listeners; /* never connected to; 0.0.0.0 and :: stand for loopback,
                                            and for what a connection shows to be this host */
    int own_listener_count;
    struct relay_memory *memory; /* what was learnt of targets, kept in the spool directory */
    uint32_t caps_generation;    /* grows whenever what some relay last announced has changed */
};

/* `conf` outlives it. NULL: no memory. */
struct relay *relay_new(struct relay_service *service, const struct relay_conf *conf);
/* Closes idle connections with QUIT, and the others when their branches are gone; the loop ends
 * when all are closed. */
void relay_close(struct relay *r);
void relay_abort(struct relay *r); /* behind relay_close(): closes every connection, now */
void relay_free(struct relay **r); /* after the loop has ended */
struct target *relay_target(struct relay *r);

/* The client said EHLO again, or is gone: connections that were bound to it by XCLIENT or PROXY
 * serve no more. Its branches may still be there, and keep theirs to the end. */
void relay_forget_carrier(struct carrier *c);

/* A client has connected, and this is the only relay it can reach: have a connection ready. */
void relay_warm(struct relay *r);
/* capability_keyword bits of the last EHLO; 0 while none was seen. */
uint32_t relay_capabilities(const struct relay *r);

#endif
