/* SPDX-License-Identifier: BSD-2-Clause */
/* A stream on libuv: what stream.c, stream_write.c and listener.c share. */
#ifndef POSTERN_STREAM_UV_H
#define POSTERN_STREAM_UV_H

#include "proxy/io/loop_uv.h"
#include "proxy/io/stream.h"

_Static_assert(LOOP_READ_BYTES <= STREAM_UNREAD_MAX, "what one read brings can be kept");

struct stream_tls; /* stream_tls.c */
struct unsent;     /* octets that the kernel did not take, with their write request */

/* One allocation, and blocks only while octets wait. Unix sockets use the TCP handle, too: what
 * libuv does with it is the same for both. */
struct stream {
    uv_tcp_t handle; /* first: the handle is the stream */
    struct loop *loop;
    const struct stream_events
        *events; /* NULL: nobody has adopted the stream, or connecting could not begin */
    void *owner;
    struct loop_post telling; /* calls connected, eof or failed */
    struct unsent *sending;   /* with libuv */
    struct unsent *waiting;   /* sent when `sending` is */
    struct stream_tls *tls;   /* NULL: what is sent and read is as it is */
    uint8_t *unread;          /* a pooled block, or NULL */
    uint32_t unread_start, unread_end, unread_capacity;
    uint32_t turn_number, turn_bytes; /* how much was read in which turn of the loop */
    int error;                        /* not 0: the stream has failed */
    struct netaddr peer;
    bool is_connecting, is_offering, is_stopped, is_shut, is_closing;
    bool is_holding;       /* what is decrypted is kept, and not offered */
    bool has_eof, is_told; /* is_told: eof or failed was called */
    bool is_stray;         /* counted in loop->stray_count, see listener.c */
};

/* A stream without a socket yet. NULL: no memory. */
struct stream *stream_new(struct loop *loop);
/* The socket of a new connection; 0 or -errno. */
int stream_open(struct stream *stream, int fd);
int stream_fd(const struct stream *stream);
void stream_start_reading(struct stream *stream);
/* Decrypted octets, for the owner. */
void stream_take_plain(struct stream *stream, struct bytes in);
/* The peer has said that it sends nothing more; `eof` follows. */
void stream_take_end(struct stream *stream);
/* Makes room for what could not be consumed. */
size_t stream_drop_unread(struct stream *stream);
/* Nothing is sent or read any more; `failed` follows. */
void stream_fail(struct stream *stream, int error);
struct netaddr stream_address(const struct sockaddr *address);

/* stream_write.c */
void stream_send_waiting(struct stream *stream); /* when connected */
void stream_send_last(struct stream *stream); /* what the kernel takes of the unsent octets, now */
void stream_drop_waiting(struct stream *stream);
/* Sends all of it, in its turn: what the kernel does not take waits, however much it is. */
void stream_put(struct stream *stream, struct bytes octets);

/* stream_tls.c: where stream->tls is not NULL, but for stream_tls_free() */
void stream_tls_take(struct stream *stream, struct bytes raw);
size_t stream_tls_write(struct stream *stream, const struct bytes *pieces, int count);
/* The next read would be a step of a handshake, and this turn has had enough of them: others come
 * first. */
bool stream_tls_must_wait(const struct stream *stream);
/* The peer has closed the connection. False: in the middle of the handshake. */
bool stream_tls_may_end(const struct stream *stream);
/* Says that nothing more is sent. */
void stream_tls_end(struct stream *stream);
void stream_tls_free(struct stream *stream); /* or NULL */

#endif
