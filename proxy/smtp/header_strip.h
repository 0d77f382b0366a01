/* SPDX-License-Identifier: BSD-2-Clause */
/* Takes Authentication-Results fields out of a message that passes by, where they claim to be of
 * our making: nobody but we may write our name there (RFC 8601 5). Pure. */
#ifndef POSTERN_HEADER_STRIP_H
#define POSTERN_HEADER_STRIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/buf.h"
#include "proxy/base/bytes.h"

#define HEADER_STRIP_HELD_MAX                                                                      \
    1024 /* octets before the name; a field with more of them is dropped */
#define HEADER_STRIP_NAME_MAX 255

/* As far as NAME the line is held, since it is not decided whether it stays. */
enum header_strip_place {
    STRIP_LINE_START,
    STRIP_FIELD,  /* in the field's name */
    STRIP_COLON,  /* behind it */
    STRIP_VALUE,  /* between the colon and the server's name: blanks, comments */
    STRIP_FOLD,   /* a line has ended there */
    STRIP_QUOTED, /* in the server's name, a quoted string */
    STRIP_NAME,   /* ... or none */
    STRIP_KEEP,   /* in the rest of a line that stays, or goes */
    STRIP_DROP,
    STRIP_BODY
};

struct header_strip {
    const struct bytes *names; /* ours */
    size_t name_count;
    enum header_strip_place place;
    bool is_dropping; /* the field of the line before goes */
    bool is_escaped;  /* a backslash came before, in a comment or a quoted string */
    bool is_told;     /* `held` was handed out */
    unsigned depth;   /* of comments */
    unsigned matched; /* octets of the field's name */
    struct buf held;  /* what is not decided yet */
    uint8_t name[HEADER_STRIP_NAME_MAX];
    unsigned name_len; /* more than HEADER_STRIP_NAME_MAX: it cannot be ours */
};

/* `names` is borrowed; none: everything stays, and costs nothing. */
void header_strip_init(struct header_strip *strip, const struct bytes *names, size_t name_count,
                       struct pool *pool);
void header_strip_done(struct header_strip *strip);
/* Takes octets off `*in` and hands out what stays, in pieces, borrowed until the next call. False:
 * all are taken. strip->held.has_failed: there was no memory, and the message is not complete. */
bool header_strip_take(struct header_strip *strip, struct bytes *in, struct bytes *kept_out);
/* The message is whole: what is still held, which stays. */
struct bytes header_strip_end(struct header_strip *strip);

#endif
