/* SPDX-License-Identifier: BSD-2-Clause */
/* SMTP replies: reading a target's, writing our own, passing one on. Pure. */
#ifndef POSTERN_REPLY_H
#define POSTERN_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/arena.h"
#include "proxy/base/buf.h"
#include "proxy/base/bytes.h"

enum reply_by { REPLY_BY_POSTERN, REPLY_BY_TARGET, REPLY_BY_FILTER };

/* RFC 5321 4.2. `wire` is the whole reply as it stands on the wire, every line ended by CRLF;
 * borrowed: from a constant, an arena, or the parser that read it. */
struct reply {
    uint16_t code;       /* 0: there is no reply */
    uint8_t enhanced[3]; /* RFC 3463 class, subject (both below 10) and detail; 0: none, or out of
                            range */
    uint8_t by;          /* enum reply_by: who speaks */
    uint16_t own;        /* 1 and the enum reply_id whose words or reason these are; 0: of none */
    const struct bytes *by_name; /* of the target or the filter; NULL: not known. Borrowed */
    struct bytes wire;
};

/* Every reply that postern invents is one line of replies.def. */
enum reply_id {
#define REPLY(id, code, enhanced, text) REPLY_##id,
#include "proxy/smtp/replies.def"
#undef REPLY
    REPLY_COUNT
};

struct reply reply_own(enum reply_id id);
const char *reply_name(enum reply_id id); /* "TOO_MANY_ERRORS" */
/* A one-line reply "CODE text" from outside (a route's reject, `refuse`), made in `arena`; its
 * text gets an enhanced code where it has none. ERR_SYNTAX: the code is not of class 4 or 5,
 * control characters, over 500 octets. */
int reply_make(struct arena *arena, struct bytes text, struct reply *reply_out);
int reply_copy(struct arena *arena, const struct reply *reply, struct reply *copy_out);

enum reply_enhanced {
    REPLY_AS_IT_IS,
    REPLY_ENHANCED_ADDED /* X.0.0 in each line of a 2xx, 4xx or 5xx that has no enhanced code */
};
/* Appends the reply. `code` replaces the digits of each line (421 becomes 451), 0 keeps them. */
void reply_put(struct buf *out, const struct reply *reply, uint16_t code,
               enum reply_enhanced enhanced);
/* For log lines: the text with code, lines joined by " / ", without line ends. */
void reply_put_text(struct buf *out, const struct reply *reply);

#define REPLY_CODES_MAX 16
/* "550 5.7.1", or "550" where it has no enhanced code: for who may not see its words. */
void reply_put_codes(const struct reply *reply, char out[REPLY_CODES_MAX]);

static inline bool reply_is_positive(const struct reply *reply)
{
    return reply->code >= 200 && reply->code < 300;
}

/* Reads replies off a stream. Lines may end in LF alone. */
#define REPLY_MAX_BYTES 8192 /* of one reply: so much memory may a target take */

struct reply_parser {
    struct buf begun;    /* the lines so far; limit REPLY_MAX_BYTES */
    uint32_t line_start; /* offset in `begun` of the line that has not ended */
    bool is_whole;       /* `begun` is a reply that was handed out, or garbage */
};

void reply_parser_init(struct reply_parser *parser, struct pool *pool);
void reply_parser_done(struct reply_parser *parser);
/* Takes octets off `*in` until one reply of a target is whole. 0: *reply_out, borrowed until the
 * next call; ERR_NOT_FOUND: more is needed (all of *in is taken); ERR_GARBAGE: no reply (not three
 * digits 2..5, NUL or CR inside a line), ERR_TOO_LONG, ERR_MEMORY. The last line counts: where
 * codes differ, the other lines get its code, and reply.enhanced is its own. */
int reply_parser_take(struct reply_parser *parser, struct bytes *in, struct reply *reply_out);
/* After ERR_GARBAGE: what came instead of a reply; borrowed likewise. */
struct bytes reply_parser_garbage(const struct reply_parser *parser);
bool reply_parser_is_empty(const struct reply_parser *parser); /* no reply has begun */

#endif
