/* SPDX-License-Identifier: BSD-2-Clause */
/* Takes a message that passes by apart into its header fields and its body. Pure. */
#ifndef POSTERN_HEADER_FIELD_H
#define POSTERN_HEADER_FIELD_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/buf.h"
#include "proxy/base/bytes.h"

enum header_part {
    HEADER_PART_NONE,  /* all octets were taken, and no field is whole yet */
    HEADER_PART_FIELD, /* one field with its folds, every line ended by CRLF */
    HEADER_PART_BODY   /* octets of the body; the empty line before it belongs to nobody */
};

enum header_place { HEADER_AT_LINE_START, HEADER_IN_LINE, HEADER_IN_EMPTY_LINE, HEADER_IN_BODY };

struct header_splitter {
    struct buf field; /* as much of the field that has begun as its limit allows */
    enum header_place place;
    bool is_told; /* `field` was handed out, and the next one has not begun */
};

/* `field_max`: octets; of a longer field only the beginning is kept. */
void header_splitter_init(struct header_splitter *splitter, struct pool *pool, uint32_t field_max);
void header_splitter_done(struct header_splitter *splitter);
/* Takes octets off `*in` until a part is there; borrowed until the next call. Where there is no
 * memory, fields are shorter. */
enum header_part header_splitter_take(struct header_splitter *splitter, struct bytes *in,
                                      struct bytes *part_out);
/* The message is whole. A header without a body may leave a last field. */
enum header_part header_splitter_end(struct header_splitter *splitter, struct bytes *part_out);

/* Takes the first field of a header off it, with its folds and its line end. */
struct bytes header_field_take(struct bytes *header);
/* Before the colon, without the blanks that others take there; empty where it is no name (RFC 5322
 * 3.6.8), so that a line without one is no field. */
struct bytes header_field_name(struct bytes field);
/* Is this the field's name? In any case; blanks before the colon do not count. */
bool header_field_is(struct bytes field, const char *name);
/* Behind the colon, as it stands; empty where there is no colon. */
struct bytes header_field_value(struct bytes field);

#endif
