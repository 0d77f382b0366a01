/* SPDX-License-Identifier: BSD-2-Clause */
/* From the copy to the wire: framing, stuffing of dots. */
#ifndef POSTERN_RELAY_CONTENT_H
#define POSTERN_RELAY_CONTENT_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/bytes.h"
#include "proxy/smtp/dot.h"
#include "route/outgoing.h"

struct branch;
struct outbound;
struct stream;

/* How far one branch's content has got on its connection. */
struct relay_content {
    struct outgoing message;
    struct branch *branch; /* hears that the end of data is on its way */
    bool is_end_released;  /* the final dot may go once the copy is finished */
    struct dot_stuffer stuffer;
    size_t tail_at; /* octets of the final dot that were written */
    bool is_open;   /* the target takes content */
};

/* Everything else is 0. The copy is kept for this branch from its beginning; NULL: there was no
 * memory for one. `more` is the reader's. */
void relay_content_init(struct relay_content *content, struct branch *branch, struct copy *copy,
                        void (*more)(struct reader *reader));
/* Nothing was sent yet on a connection that is new to this branch. */
void relay_content_reset(struct relay_content *content);
void relay_content_close(struct relay_content *content); /* nothing more is read */
/* The target takes content now. `own`: header fields of our own, or none; in the mail arena. */
void relay_content_open(struct relay_content *content, struct bytes own);
/* Writes commands and content as far as the stream takes them. `content` NULL: commands alone.
 * True: something was written. */
bool relay_content_pump(struct relay_content *content, struct outbound *out, struct stream *stream);

#endif
