/* SPDX-License-Identifier: BSD-2-Clause */
/* Helper programs, which are talked to in messages of CHANNEL_MESSAGE_MAX octets. */
#ifndef POSTERN_CHILD_H
#define POSTERN_CHILD_H

#include "proxy/base/bytes.h"
#include "proxy/io/loop.h"

struct child; /* lives until `ended` has returned */

struct child_events {
    void (*message)(void *owner, struct bytes message);
    /* The program has ended, or has closed its end and was killed; the last call ever. What it had
     * sent before came by `message`, unless child_end() was called. */
    void (*ended)(void *owner);
};

/* Starts the program at `path`. Its descriptors 0 and 1 are a socket (SOCK_SEQPACKET) to us, its
 * standard error is ours, and our other descriptors close when it begins. Waits until the program
 * was found. NULL: see *error_out. */
struct child *child_start(struct loop *loop, const char *path, const struct child_events *events,
                          void *owner, int *error_out);
/* As channel_send(). */
bool child_send(struct child *child, struct bytes message);
/* Kills it. No `message` comes any more; `ended` follows, later. May be called any number of times.
 */
void child_end(struct child *child);

#endif
