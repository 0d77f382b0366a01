/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages between the processes of one host. A message arrives whole, or is lost. */
#ifndef POSTERN_CHANNEL_H
#define POSTERN_CHANNEL_H

#include <stdbool.h>

#include "proxy/base/bytes.h"
#include "proxy/io/loop.h"

#define CHANNEL_MESSAGE_MAX 65536

struct channel;          /* one end of a connection; lives until `closed` has returned */
struct channel_listener; /* waits for connections at a path */

struct channel_events {
    void (*message)(void *owner, struct channel *channel, struct bytes message);
    /* Whichever end has closed the connection; the last call ever. */
    void (*closed)(void *owner, struct channel *channel);
};

/* Listens on a unix socket (SOCK_SEQPACKET) at `path`, mode 0600, which replaces an older one.
 * Every connection gets these events and this owner. NULL: see *error_out. */
struct channel_listener *channel_listen(struct loop *loop, const char *path,
                                        const struct channel_events *events, void *owner,
                                        int *error_out);
/* Closes the connections and frees the listener. The path is removed, unless another listener has
 * taken it over. */
void channel_listener_close(struct channel_listener *listener);
/* Sends to every connection of the listener except `but`, which may be NULL. */
void channel_broadcast(struct channel_listener *listener, struct channel *but,
                       struct bytes message);

/* NULL: nobody listens there, or no memory (see *error_out); a later try may succeed. */
struct channel *channel_connect(struct loop *loop, const char *path,
                                const struct channel_events *events, void *owner, int *error_out);
/* Takes a connected SOCK_SEQPACKET socket over, unless this fails: NULL, see *error_out. */
struct channel *channel_adopt(struct loop *loop, int fd, const struct channel_events *events,
                              void *owner, int *error_out);
/* Never blocks: up to 1 MiB of messages is kept until the
 * other end has room. False: the message is lost, since it is empty, does not fit, or the
 * connection is closed. */
bool channel_send(struct channel *channel, struct bytes message);
void channel_close(struct channel *channel);

#endif
