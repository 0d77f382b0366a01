/* SPDX-License-Identifier: BSD-2-Clause */
/* The message as one branch gives it to its target: header fields of filters, our own, and then the
 * range of the copy that its view names. */
#ifndef POSTERN_OUTGOING_H
#define POSTERN_OUTGOING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/bytes.h"
#include "proxy/io/copy.h"
#include "proxy/smtp/transaction.h"

/* Fields of the target's filters, of others, our own, more of others, an empty line. */
#define OUTGOING_HEAD_PIECES 5

/* Embedded in its owner. */
struct outgoing {
    struct reader reader;
    const struct branch *branch;
    struct bytes own; /* our own fields; the owner keeps them */
    struct bytes head[OUTGOING_HEAD_PIECES];
    int head_count;
    uint64_t head_bytes, head_at; /* head_at: octets of it that were given */
    bool has_view;                /* the view was taken: `head` and the range are set */
    bool has_begun;               /* ... and whether an empty line ends `head` is decided */
};

/* Legal when the copy is whole: it is kept for this branch from its beginning. `more` is the
 * reader's. */
void outgoing_open(struct outgoing *out, const struct branch *branch, struct copy *copy,
                   void (*more)(struct reader *reader));
void outgoing_close(struct outgoing *out); /* does nothing to one that is not open */
static inline bool outgoing_is_open(const struct outgoing *out)
{
    return out->reader.of != NULL;
}

/* Legal when it is open, and the copy is whole or nothing was read. From the start, with these
 * fields of our own: borrowed until it is closed or rewound. */
void outgoing_rewind(struct outgoing *out, struct bytes own);
/* Legal when the branch's view is decided, and some of the message is in the copy or all of it.
 * Takes the view and looks at the first octets. False: these are being read back, and `more`
 * follows. */
bool outgoing_begin(struct outgoing *out);
/* Legal, as what follows, once outgoing_begin() was true. Octets that can be given now. */
uint64_t outgoing_left(const struct outgoing *out);
/* As reader_pieces() and reader_advance(). */
int outgoing_pieces(struct outgoing *out, struct bytes *pieces, int max);
void outgoing_advance(struct outgoing *out, size_t octets);

#endif
