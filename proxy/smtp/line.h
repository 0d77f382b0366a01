/* SPDX-License-Identifier: BSD-2-Clause */
/* Cuts the client's octets into command lines. Pure. */
#ifndef POSTERN_LINE_H
#define POSTERN_LINE_H

#include <stdbool.h>

#include "proxy/base/bytes.h"
#include "proxy/base/mem.h"

/* RFC 5321 4.5.3.1.4 asks for 512 octets; ESMTP parameters need more. CRLF included. */
#define LINE_MAX_BYTES 1024
/* RFC 4954 4: what is said for AUTH may be longer: behind a mechanism, 12,288 octets. */
#define LINE_SECRET_MAX_BYTES 12352

#define LINE_HEAD_BYTES 8 /* of a line that is too long, so many are kept */

/* What the next line may hold. Lines for AUTH hold passwords: the block of one is wiped, and it may
 * be long. */
enum line_content {
    LINE_PLAIN,
    LINE_PERHAPS_AUTH, /* where it begins with AUTH, for that */
    LINE_SECRET        /* for AUTH */
};

/* A line that arrives in pieces is collected in a pooled block. The block is held until the call
 * after the one that hands the line out; that call's input may be empty. */
struct line {
    struct pool *pool; /* blocks of at least LINE_MAX_BYTES */
    uint8_t *begun;
    uint16_t begun_bytes;          /* 0 with `begun`: the line was handed out */
    bool is_long;                  /* `begun` is not of the pool, and of LINE_SECRET_MAX_BYTES */
    enum line_content content;     /* set by the owner, between two lines */
    bool is_skipping;              /* the rest of a line that is too long ... */
    uint8_t head[LINE_HEAD_BYTES]; /* ... which began so */
};

enum line_end {
    LINE_END_ANY, /* CRLF or LF */
    LINE_END_CRLF
};

void line_init(struct line *line, struct pool *pool);
void line_done(struct line *line);

/* Looks for the end of the line in `in`. Returns the octets taken off `in`, which are all of them
 * where the line has not ended yet. *error_out:
 *   0: a line in *line_out without its end, borrowed until the next call or until `in` goes
 *   ERR_NOT_FOUND: the line has not ended yet
 *   ERR_TOO_LONG: once, when the end of the long line has come
 *   ERR_BARE_NEWLINE: the line ends in LF where CRLF is wanted, or a CR or NUL is inside it
 *     With both *line_out is how the line begins, borrowed likewise: enough to see a verb.
 *   ERR_MEMORY: nothing was taken, and the call may be made again
 * Call until `in` is empty, and then once more or line_release(), so that an idle client holds no
 * block. */
size_t line_take(struct line *line, struct bytes in, enum line_end wanted, struct bytes *line_out,
                 int *error_out);

/* Gives back the block of a line that was handed out, whose octets must not be used any more. */
static inline void line_release(struct line *line)
{
    if (line->begun_bytes == 0)
        line_done(line);
}

#endif
