/* SPDX-License-Identifier: BSD-2-Clause */
/* A connection: octets in with back-pressure, octets out with a bounded rest. TCP and unix. */
#ifndef POSTERN_STREAM_H
#define POSTERN_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/bytes.h"
#include "proxy/base/netaddr.h"
#include "proxy/io/loop.h"

struct stream;   /* opaque; lives until its `closed` event has returned */
struct listener; /* opaque */

/* Where to connect to: an address with its port, or a unix socket's path. */
struct stream_target {
    struct netaddr address; /* family NETADDR_NONE: `path` counts */
    const char *unix_path;
};

#define STREAM_UNSENT_MAX 16384  /* octets that a stream takes beyond what the kernel takes */
#define STREAM_UNREAD_MAX 65536  /* octets that it keeps when the owner consumes less */
#define STREAM_PIECES_MAX 16     /* for one stream_write() */
#define STREAM_TURN_BYTES 131072 /* per connection and loop turn, then others come first */

/* A stream is silent after stream_close(): only `closed` still comes, as the last call ever. No
 * callback is called from within a call of the owner's, but `bytes` from stream_resume(). */
struct stream_events {
    /* A connection that was asked for is there (error 0), or is not: then close it. */
    void (*connected)(void *owner, int error);
    /* Returns the octets consumed. The stream keeps the others and offers them again, with what
     * came behind them, after stream_resume(); until then it does not read. `in` is borrowed. */
    size_t (*bytes)(void *owner, struct bytes in);
    /* Nothing that was taken by stream_write() is unsent any more, after some was. */
    void (*room)(void *owner);
    /* The other side will send nothing more; every octet before it has been consumed. */
    void (*eof)(void *owner);
    /* Reading or writing failed: ERR_CLOSED, or -errno. Nothing more comes; close it. */
    void (*failed)(void *owner, int error);
    void (*closed)(void *owner);
};

/* Begins to connect; TCP_NODELAY is set. NULL: no memory or no descriptor (told in *error_out).
 * Later `connected`. There is no time-out: set a deadline and close. */
struct stream *stream_connect(struct loop *l, const struct stream_target *to,
                              const struct stream_events *events, void *owner, int *error_out);

/* Octets taken (all, or what the kernel takes plus what fits under STREAM_UNSENT_MAX; then `room`
 * comes later). 0 also after a failure, which is told by `failed`. At most STREAM_PIECES_MAX. */
size_t stream_write(struct stream *s, const struct bytes *pieces, int count);
size_t stream_unsent(const struct stream *s);
/* Sends FIN behind what is unsent. */
void stream_shutdown(struct stream *s);
/* Offers what was not consumed again, now, and reads on. Does nothing within `bytes`. */
void stream_resume(struct stream *s);
/* True: nothing has arrived that was not consumed, asking the kernel too (a read that finds
 * nothing; what it does find is kept). Used before a pooled connection serves again. */
bool stream_is_quiet(struct stream *s);
/* True: the other side sends nothing more, though octets of it may wait to be read. Asks the
 * kernel, since a stream that does not read sees no end; it notices a reset too, and tells it by
 * `failed`. */
bool stream_is_ending(struct stream *s);
/* Any number of times; `closed` comes later, once. Unsent octets are tried once more first. */
void stream_close(struct stream *s);

struct netaddr stream_peer(const struct stream *s); /* family NETADDR_NONE: unix */
struct netaddr stream_local(const struct stream *s);

/* A new client. Called with events and owner unset: stream_adopt() sets them before it returns,
 * or the connection is closed. Octets are not read before the callback has returned. */
struct listener_events {
    void (*accepted)(void *owner, struct stream *s);
};
void stream_adopt(struct stream *s, const struct stream_events *events, void *owner);

/* Takes a bound, listening socket over. Accepts at most a burst a turn; stops while the process
 * has fewer than `reserve` descriptors left under RLIMIT_NOFILE, until some are free again. */
struct listener *listener_new(struct loop *l, int fd, unsigned reserve,
                              const struct listener_events *events, void *owner, int *error_out);
void listener_close(struct listener *l); /* no more `accepted`; frees itself */

#endif
