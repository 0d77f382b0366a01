/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets of the milter protocol: framing, and the commands of a mail server. Pure.
 *
 *   packet   length (32 bits, counts the command), command (one octet), data
 *
 * What the numbers and letters are called stands in libmilter's headers. */
#ifndef POSTERN_MILTER_WIRE_H
#define POSTERN_MILTER_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include <libmilter/mfapi.h>
#include <libmilter/mfdef.h>

#include "proxy/base/buf.h"
#include "proxy/base/bytes.h"
#include "proxy/base/netaddr.h"
#include "proxy/smtp/address.h"

#define MILTER_PACKET_MAX (MILTER_LEN_BYTES + 1 + MILTER_MAX_DATA_SIZE)

struct milter_packet {
    uint8_t command;
    struct bytes data; /* at most MILTER_MAX_DATA_SIZE */
};

/* ---- in ---- */

/* Reads packets off a stream. */
struct milter_reader {
    struct buf begun; /* the packet so far */
    bool is_whole;    /* `begun` is a packet that was handed out */
};

void milter_reader_init(struct milter_reader *reader, struct pool *pool);
void milter_reader_done(struct milter_reader *reader);
/* Takes octets off `*in` until one packet is whole. 0: *packet_out, borrowed from `in` or until the
 * next call; ERR_NOT_FOUND: more is needed (all of *in is taken); ERR_RANGE: a length that no
 * packet has; ERR_MEMORY. */
int milter_reader_take(struct milter_reader *reader, struct bytes *in,
                       struct milter_packet *packet_out);

/* Both take their value off `*data`. False: it is not there. */
bool milter_take_number(struct bytes *data, uint32_t *number_out);
bool milter_take_text(struct bytes *data, struct bytes *text_out); /* ended by NUL */

/* ---- out: each appends a whole packet ---- */

/* A NUL in a text ends it for the filter: it is sent as "?". */
void milter_put_bare(struct buf *out, uint8_t command);
void milter_put_text(struct buf *out, uint8_t command, struct bytes text);
void milter_put_options(struct buf *out, uint32_t version, uint32_t actions, uint32_t steps);
void milter_put_connect(struct buf *out, struct bytes host, const struct netaddr *client);
/* MAIL or RCPT; `params` as they stood in the client's command. */
void milter_put_path(struct buf *out, uint8_t command, const struct address *path,
                     struct bytes params);
/* Legal when it has a name (proxy/smtp/header_field.h); raw, with its line end. */
void milter_put_field(struct buf *out, struct bytes field, bool keeps_space);
/* Legal when the chunk has at least one octet and at most MILTER_CHUNK_SIZE. */
void milter_put_body(struct buf *out, struct bytes chunk);

/* What is appended between these two is the packet's data. */
size_t milter_begin(struct buf *out, uint8_t command);
void milter_put_string(struct buf *out, struct bytes text); /* and a NUL */
void milter_end(struct buf *out, size_t begun);

#endif
