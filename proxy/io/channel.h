/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages between the processes of one host: whole or not at all, and may be lost. */
#ifndef POSTERN_CHANNEL_H
#define POSTERN_CHANNEL_H

#include <stdbool.h>

#include "proxy/base/bytes.h"
#include "proxy/io/loop.h"

#define CHANNEL_MESSAGE_MAX 65536

struct channel;          /* one end of a connection; lives until `closed` has returned */
struct channel_listener; /* who waits for connections at a path */

struct channel_events {
    void (*message)(void *owner, struct channel *c, struct bytes message);
    void (*closed)(void *owner, struct channel *c); /* by whomever; the last call ever */
};

/* A unix socket (SOCK_SEQPACKET) at `path`, mode 0600, in the place of one that is there. Every
 * connection has these events and this owner. NULL: *error_out. */
struct channel_listener *channel_listen(struct loop *l, const char *path,
                                        const struct channel_events *events, void *owner,
                                        int *error_out);
/* Frees itself and closes its connections; the name goes, unless it is another one's by now. */
void channel_listener_close(struct channel_listener *listener);
/* To every connection of it. */
void channel_broadcast(struct channel_listener *listener, struct channel *but,
                       struct bytes message);

/* NULL: nobody is there, or no memory: try again later. */
struct channel *channel_connect(struct loop *l, const char *path,
                                const struct channel_events *events, void *owner, int *error_out);
/* Never blocks: up to 1 MiB is kept until the other end has room. False: it does not fit, or nobody
 * is there: it is lost. */
bool channel_send(struct channel *c, struct bytes message);
void channel_close(struct channel *c);

#endif
