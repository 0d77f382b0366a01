/* SPDX-License-Identifier: BSD-2-Clause */
/* Files that are closed when nobody needs them any more. */
#ifndef POSTERN_CLOSING_H
#define POSTERN_CLOSING_H

#include "proxy/io/draft.h"
#include "proxy/io/loop.h"

/* On the loop: a job closes it, since to give back what a large file held takes as long as it is
 * large. `drafts`: where it was made; NULL: it is no draft. Without memory for a job it is closed
 * at once; the name that a draft may have is another one's later, or goes at the next start. */
void closing_begin(struct loop *l, const struct draft_place *drafts, int fd);

#endif
