/* SPDX-License-Identifier: BSD-2-Clause */
/* The little that a proxy reads and writes of message headers. Pure. */
#ifndef POSTERN_HEADER_H
#define POSTERN_HEADER_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/buf.h"
#include "proxy/base/bytes.h"
#include "proxy/smtp/address.h"
#include "proxy/smtp/identity.h"

#define HEADER_RECEIVED_MAX 100 /* RFC 5321 6.3: so many Received fields are a loop */

/* Counts Received fields while decoded content passes by in pieces of any size. */
struct header_counter {
    uint16_t received;
    uint8_t matched;    /* octets of "received:" matched in this line; 0xff: another field */
    bool is_line_empty; /* nothing but CR so far */
    bool is_over;       /* the empty line has passed: feeding costs nothing */
};

void header_counter_init(struct header_counter *h);
void header_counter_feed(struct header_counter *h, struct bytes content);

/* Received: from HELO (NAME [ADDR]) by HOST (postern) with ESMTP id ID for <RCPT>; DATE
 * folded, ended by CRLF. `rcpt` NULL: several, no "for" (RFC 5321 7.2). What came from the client
 * is neutralized: printable ASCII without ( ) < > [ ] \ , ; : " only, else "?". */
struct header_trace {
    const struct identity *client;
    struct bytes by;
    struct bytes id;
    const struct address *rcpt;
    int64_t wall_s;
};
void header_put_received(struct buf *out, const struct header_trace *t);

/* A message that begins so has no header, and its first line would continue a field that is put in
 * front: an empty line must go between. */
static inline bool header_would_continue(struct bytes content)
{
    return content.len > 0 && (content.at[0] == ' ' || content.at[0] == '\t');
}

#endif
