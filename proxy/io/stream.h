/* SPDX-License-Identifier: BSD-2-Clause */
/* A TCP or unix connection: octets in, with back-pressure; octets out, of which a bounded rest
 * waits. */
#ifndef POSTERN_STREAM_H
#define POSTERN_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/buf.h"
#include "proxy/base/bytes.h"
#include "proxy/base/netaddr.h"
#include "proxy/base/tls_facts.h"
#include "proxy/io/loop.h"

struct stream;   /* opaque; lives until its `closed` event has returned */
struct listener; /* opaque */
struct tls;      /* tls.h */

/* What to connect to: an address with its port, or the path of a unix socket. */
struct stream_target {
    struct netaddr address; /* family NETADDR_NONE: `unix_path` is used */
    const char *unix_path;
    struct bytes name; /* the host that leads there, where one is configured: for its certificate */
};

#define STREAM_UNSENT_MAX                                                                          \
    16384 /* octets that a stream takes beyond what the kernel takes; with TLS up                  \
             to 64 KiB, since what was encrypted must be sent */
#define STREAM_UNREAD_MAX 65536  /* octets that a stream keeps when the owner consumes less */
#define STREAM_PIECES_MAX 16     /* for one stream_write() */
#define STREAM_TURN_BYTES 131072 /* read from a connection in one turn; then others come first */

/* After stream_close() only `closed` is called, as the last call ever. No callback is called from
 * within a call of the owner's, except `bytes` from stream_resume(). */
struct stream_events {
    /* The connection is made (error 0), or is not: then close the stream. */
    void (*connected)(void *owner, int error);
    /* Returns how many octets were consumed. The stream keeps the others, and does not read until
     * stream_resume(), which offers them again with what came behind them. `in` is borrowed. */
    size_t (*bytes)(void *owner, struct bytes in);
    /* Everything that stream_write() took has been sent, after some of it had to wait. */
    void (*room)(void *owner);
    /* The peer will send nothing more; every octet before its end has been consumed. */
    void (*eof)(void *owner);
    /* Reading or writing failed: ERR_CLOSED, or -errno. No other event follows; close the
     * stream. */
    void (*failed)(void *owner, int error);
    /* The TLS handshake is over, and what is sent and read from now on is encrypted. `facts` is
     * borrowed. NULL: the owner never begins one. */
    void (*secured)(void *owner, const struct tls_facts *facts);
    void (*closed)(void *owner);
};

/* Begins to connect; `connected` follows. TCP_NODELAY is set. NULL: no memory or no descriptor (see
 * *error_out). There is no time-out: set a deadline and close. */
struct stream *stream_connect(struct loop *loop, const struct stream_target *to,
                              const struct stream_events *events, void *owner, int *error_out);

/* Legal when `count` is at most STREAM_PIECES_MAX. Returns how many octets were taken: all, or what
 * the kernel takes and what fits under STREAM_UNSENT_MAX, and then `room` follows. 0 also after a
 * failure, which `failed` reports. */
size_t stream_write(struct stream *stream, const struct bytes *pieces, int count);
size_t stream_unsent(const struct stream *stream);
/* Sends FIN behind the unsent octets. */
void stream_shutdown(struct stream *stream);
/* Offers the octets that were not consumed again, now, and reads on. Does nothing within
 * `bytes`. */
void stream_resume(struct stream *stream);
/* True: nothing has arrived that was not consumed. Asks the kernel, too, but leaves octets there.
 * For a pooled connection before it is used again. */
bool stream_is_quiet(struct stream *stream);
/* True: the peer sends nothing more, though octets may wait to be read. Asks the kernel, since a
 * stream that does not read sees no end. A reset that this finds is reported by `failed`. */
bool stream_is_ending(struct stream *stream);
/* Tells the peer that what has come is here, now. For a peer that sends small pieces while we have
 * nothing to say: without TCP_NODELAY it waits for that before each of them. */
void stream_acknowledge(struct stream *stream);
/* May be called any number of times; `closed` follows once, later. Sends what the kernel takes of
 * the unsent octets. */
void stream_close(struct stream *stream);

/* ---- TLS ---- */

#define STREAM_TLS_NAMES_MAX 2

struct stream_tls_start {
    struct tls *with; /* outlives the stream; decides whether we are the client or the server */
    /* A client: the names of which the certificate must have one, where `with` verifies; then there
     * must be one. The server is told the first. Empty ones do not count. */
    struct bytes names[STREAM_TLS_NAMES_MAX];
};

/* Begins the handshake: `secured` follows, or `failed` with ERR_TLS or ERR_CLOSED. Until then
 * nothing is taken for sending; what was taken before and not sent yet goes out in plain. What the
 * stream keeps unread is thrown away, since nobody knows who has said it: *dropped_out octets.
 * Within `bytes` what the owner does not consume is the peer's first word in the handshake. Legal
 * once, when the stream is connected. 0, or ERR_MEMORY. There is no time-out: set a deadline and
 * close. */
int stream_start_tls(struct stream *stream, const struct stream_tls_start *start,
                     size_t *dropped_out);
bool stream_is_secured(const struct stream *stream);
/* Why the handshake failed, or what came afterwards could not be decrypted; a constant. NULL: it
 * did not. */
const char *stream_tls_problem(const struct stream *stream);

/* What the peer's certificate says, verified or not: "subject CN=..., issuer CN=..., names ...,
 * until 2026-12-31", as it stands there. Legal when it is secured. Nothing: it has none. */
void stream_put_certificate(const struct stream *stream, struct buf *out);

struct netaddr stream_peer(const struct stream *stream); /* family NETADDR_NONE: unix */
struct netaddr stream_local(const struct stream *stream);

/* A new client, whose stream has no owner yet: the callback calls stream_adopt(), or the connection
 * is closed. Octets are read after the callback has returned. */
struct listener_events {
    void (*accepted)(void *owner, struct stream *stream);
    /* There is no descriptor for this client: what it is told before its connection is closed.
     * NULL: it waits in the kernel until there is one. */
    struct bytes (*no_room)(void *owner, struct netaddr peer);
};
/* Legal when the stream has no owner. */
void stream_adopt(struct stream *stream, const struct stream_events *events, void *owner);

/* Takes a bound, listening socket over. Accepts a bounded number of connections a turn, and none
 * but for `no_room` while the process has fewer than `reserve` descriptors left under
 * RLIMIT_NOFILE. NULL: see *error_out; the socket is still the caller's. */
struct listener *listener_new(struct loop *loop, int fd, unsigned reserve,
                              const struct listener_events *events, void *owner, int *error_out);
/* Legal when the listener was not closed before. No `accepted` follows; frees the listener. */
void listener_close(struct listener *listener);

#endif
