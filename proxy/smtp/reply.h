/* SPDX-License-Identifier: BSD-2-Clause */
/* SMTP replies: reading a target's, writing our own, passing one on. Pure. */
#ifndef POSTERN_REPLY_H
#define POSTERN_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/arena.h"
#include "proxy/base/buf.h"
#include "proxy/base/bytes.h"

/* RFC 5321 4.2. `wire` is the whole reply as it stands on the wire, every line ended by CRLF;
 * borrowed: from a constant, an arena, or the parser that read it. */
struct reply {
    uint16_t code;       /* 0: there is no reply */
    uint8_t enhanced[3]; /* RFC 3463 class, subject (both below 10) and detail; 0: none, or odd */
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
/* A one-line reply "CODE text" from outside (a route's reject, `refuse`), made in `arena`; its
 * text gets an enhanced code where it has none. ERR_SYNTAX: no code of class 4 or 5, control
 * characters, over 500 octets. */
int reply_make(struct arena *arena, struct bytes text, struct reply *reply_out);
int reply_copy(struct arena *arena, const struct reply *r, struct reply *copy_out);

/* Appends it as it is. `code` replaces the three digits of each line (421 told as 451), 0 keeps
 * them; `wants_enhanced` inserts X.0.0 in each line of a 2xx, 4xx or 5xx that has none. */
void reply_put(struct buf *out, const struct reply *r, uint16_t code, bool wants_enhanced);
/* For log lines: the text with code, lines joined by " / ", without line ends. */
void reply_put_text(struct buf *out, const struct reply *r);

static inline bool reply_is_positive(const struct reply *r)
{
    return r->code >= 200 && r->code < 300;
}

/* Reads replies off a stream. Lines may end in LF alone. */
#define REPLY_MAX_BYTES 8192 /* of one reply; LIMIT of what a target can make us hold */

struct reply_parser {
    struct buf begun;    /* the lines so far; limit REPLY_MAX_BYTES */
    uint32_t line_start; /* offset in begun of the line that has not ended */
    bool is_whole;       /* begun holds a reply that was handed out, or garbage */
};

void reply_parser_init(struct reply_parser *p, struct pool *pool);
void reply_parser_done(struct reply_parser *p);
/* Takes octets off `*in` until one reply is whole. 0: *reply_out, borrowed until the next call;
 * ERR_NOT_FOUND: more is needed (all of *in is taken); ERR_GARBAGE: no reply (not three digits
 * 2..5, NUL or CR inside a line), ERR_TOO_LONG, ERR_MEMORY. The last line has the say: where codes
 * differ, the others get its code, and the enhanced code is its own. */
int reply_parser_take(struct reply_parser *p, struct bytes *in, struct reply *reply_out);
/* After ERR_GARBAGE: what was said in place of a reply; borrowed likewise. */
struct bytes reply_parser_garbage(const struct reply_parser *p);
bool reply_parser_is_empty(const struct reply_parser *p); /* no reply has begun */

#endif
