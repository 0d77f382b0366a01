/* SPDX-License-Identifier: BSD-2-Clause */
/* Makes every line of a body end in CRLF, as content does everywhere: a bare LF becomes CRLF, a
 * bare CR a space. Pure. */
#ifndef POSTERN_LINE_ENDS_H
#define POSTERN_LINE_ENDS_H

#include <stdbool.h>

#include "proxy/base/bytes.h"

struct line_ends {
    bool is_after_cr; /* one was taken, and not given out yet */
    bool is_in_line;  /* what was given out does not end in CRLF */
};

/* Takes octets off `*in` and gives one run, which points into `in` or to a constant. Empty: all are
 * taken. All runs together are at most one octet longer than twice what was taken. */
struct bytes line_ends_take(struct line_ends *ends, struct bytes *in);
/* What is missing at the end of the body. */
struct bytes line_ends_finish(struct line_ends *ends);

#endif
