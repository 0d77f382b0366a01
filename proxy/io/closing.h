/* SPDX-License-Identifier: BSD-2-Clause */
/* Closes files in jobs. */
#ifndef POSTERN_CLOSING_H
#define POSTERN_CLOSING_H

#include "proxy/io/draft.h"
#include "proxy/io/loop.h"

/* Called on the loop: a job closes the descriptor, since freeing the blocks of a large file takes
 * long. `drafts`: where the draft was made; NULL: the file is no draft. Without memory for a job
 * the descriptor is closed at once; a name that the draft has is then reused by another draft, or
 * removed at the next start. */
void closing_begin(struct loop *loop, const struct draft_folder *drafts, int fd);

#endif
