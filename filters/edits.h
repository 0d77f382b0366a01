/* SPDX-License-Identifier: BSD-2-Clause */
/* What one filter does to a message: its edits are collected while it gives them, and made at once
 * when it has said its last word. Pure. */
#ifndef POSTERN_EDITS_H
#define POSTERN_EDITS_H

#include <stdbool.h>
#include <stdint.h>

#include "filters/filter.h"
#include "filters/line_ends.h"
#include "proxy/base/arena.h"
#include "proxy/base/buf.h"
#include "proxy/base/bytes.h"

struct edit {
    struct edit *next;
    struct filter_edit told;
};

struct edits {
    struct arena *arena;
    struct edit *first, *last;  /* all but those of the body, in the order given */
    size_t bytes;               /* that they can add to the header, at most */
    uint32_t kinds;             /* FILTER_EDIT() bits of those that were given */
    uint64_t body_at, body_end; /* the new body, in the copy; meaningful where `kinds` says so */
    struct line_ends ends;      /* ... of its lines */
};

/* Everything else is 0. `arena` outlives the edits. */
void edits_init(struct edits *edits, struct arena *arena);
/* Copies it. Not for FILTER_REPLACE_BODY. ERR_MEMORY. */
int edits_add(struct edits *edits, const struct filter_edit *edit);
/* Appends the header with the edits made. `header`: whole fields, without the empty line. *above:
 * octets of it, and then of what was appended, that stand above our own Received. False: no
 * memory. */
bool edits_put_header(const struct edits *edits, struct bytes header, size_t *above,
                      struct buf *out);

#endif
