/* SPDX-License-Identifier: BSD-2-Clause */
/* The few parts of message headers that a proxy reads or writes. Pure. */
#ifndef POSTERN_HEADER_H
#define POSTERN_HEADER_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/arena.h"
#include "proxy/base/buf.h"
#include "proxy/base/bytes.h"
#include "proxy/smtp/address.h"
#include "proxy/smtp/identity.h"

#define HEADER_RECEIVED_MAX 100 /* RFC 5321 6.3: as many Received fields mean a loop */

/* Counts Received fields, and takes the first Message-ID, while decoded content passes by in pieces
 * of any size. */
struct header_counter {
    struct arena *arena; /* for the Message-ID; NULL: it is not wanted */
    uint8_t *id;         /* NULL: none yet, or no memory */
    uint16_t id_len;     /* of a longer one the rest is left out */
    uint16_t received;
    uint8_t matched;    /* octets of the name that are matched in this line, or what else it is */
    uint8_t name;       /* which name it may be */
    bool is_line_empty; /* nothing but CR so far */
    bool is_over;       /* the empty line has passed: feeding costs nothing */
};

void header_counter_init(struct header_counter *counter, struct arena *arena);
void header_counter_feed(struct header_counter *counter, struct bytes content);

/* Received: from HELO (NAME [ADDR]) by HOST (postern) with ESMTP id ID for <RCPT>; DATE
 * folded, ended by CRLF. `rcpt` NULL: no "for", since there are several (RFC 5321 7.2). In what
 * came from the client "?" replaces all but printable ASCII, and ( ) < > [ ] \ , ; : " as well. */
struct header_trace {
    const struct identity *client;
    struct bytes by;
    struct bytes id;
    const struct address *rcpt;
    int64_t wall_s;
};
void header_put_received(struct buf *out, const struct header_trace *trace);

/* A message that begins so has no header. Its first line would continue a field that is put in
 * front of it, so an empty line must go between. */
static inline bool header_would_continue(struct bytes content)
{
    return content.len > 0 && byte_is_blank(content.at[0]);
}

#endif
