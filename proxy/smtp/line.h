/* SPDX-License-Identifier: BSD-2-Clause */
/* Cuts the client's octets into command lines. Pure. */
#ifndef POSTERN_LINE_H
#define POSTERN_LINE_H

#include <stdbool.h>

#include "proxy/base/bytes.h"
#include "proxy/base/mem.h"

/* RFC 5321 4.5.3.1.4 asks for 512 octets; ESMTP parameters need more. CRLF included. */
#define LINE_MAX_BYTES 1024

/* Holds a pooled block from the first octets of a line that arrives in pieces until the call after
 * the one that handed it out, which may be one with empty input. */
struct line {
    struct pool *pool; /* blocks of at least LINE_MAX_BYTES */
    uint8_t *begun;
    uint16_t begun_bytes; /* 0 with `begun`: handed out */
    bool is_skipping;     /* inside a line that was too long already */
};

void line_init(struct line *l, struct pool *pool);
void line_done(struct line *l);

/* Looks for the end of the line in `in`. Returns the octets taken off `in` (all of them when the
 * line has not ended yet). *error_out: 0 and a line in *line_out without its line end, borrowed
 * until the next call or until `in` goes; or ERR_NOT_FOUND (no end yet), ERR_TOO_LONG (told once,
 * when the end of the long line has come), ERR_BARE_NEWLINE (ended by LF alone and `wants_crlf`;
 * or a CR or NUL stands inside it: then also where not `wants_crlf`), ERR_MEMORY (nothing was
 * taken, and the call may be made again). Call until `in` is empty, and then once more or
 * line_release(), so that an idle client holds no block. */
size_t line_take(struct line *l, struct bytes in, bool wants_crlf, struct bytes *line_out,
                 int *error_out);

/* Gives back the block of a line that was handed out, which is borrowed no longer. */
static inline void line_release(struct line *l)
{
    if (l->begun_bytes == 0)
        line_done(l);
}

#endif
