/* SPDX-License-Identifier: BSD-2-Clause */
/* One attempt to get a connection that is greeted and EHLOed: address after address. */
#ifndef POSTERN_RELAY_CONNECT_H
#define POSTERN_RELAY_CONNECT_H

#include <stdbool.h>

#include "proxy/base/list.h"
#include "proxy/io/stream.h"
#include "proxy/smtp/outbound.h"
#include "route/relay/relay_lookup.h"

struct relay;
struct relay_branch;
struct relay_link;
struct relay_net;

struct relay_dial {
    struct list in_relay;
    struct relay *relay;
    struct relay_branch *user;   /* PROXY: for whom; else NULL: for whoever waits */
    struct relay_net *net;       /* of `user` */
    struct relay_link *link;     /* NULL: names are being looked up */
    struct stream_target probed; /* is_probe: the one address */
    /* The list may change meanwhile: names are looked up again, and some lead to ourselves. */
    struct stream_target tried[RELAY_ENDPOINTS_MAX];
    unsigned tried_count;
    unsigned start; /* round-robin: the position in the list */
    bool is_probe;
    bool is_asleep; /* until the names are known */
};

/* Begins one. It ends by relay_pool_add() or relay_pool_miss(), the latter perhaps within the
 * call. False: no memory (relay_pool_miss() was called). */
bool relay_connect_begin(struct relay *r, struct relay_branch *user);
/* One address that is down; nobody waits for it. Failure is silent. */
void relay_connect_probe(struct relay *r, const struct stream_target *to);
/* Its user needs it no more. */
void relay_connect_cancel(struct relay_dial *d);
/* All of them: the relay is being closed. */
void relay_connect_cancel_all(struct relay *r);
/* The addresses are known now, or are not to be had. */
void relay_connect_resolved(struct relay *r);

/* ---- what the connection under way has to say; it is closed already where it failed ---- */

void relay_connect_ready(struct relay_dial *d);
/* `ev` is its GONE, or NULL: `error` says why. */
void relay_connect_broke(struct relay_dial *d, int error, const struct outbound_event *ev);
/* It leads to ourselves. */
void relay_connect_own(struct relay_dial *d);

#endif
