/* SPDX-License-Identifier: BSD-2-Clause */
/* A file that gets its name when it is complete, or vanishes: unnamed (O_TMPFILE), or, where the
 * file system knows no such files, under a name of no account until then. Jobs only. */
#ifndef POSTERN_DRAFT_H
#define POSTERN_DRAFT_H

#include <stdbool.h>

/* Where a process makes its drafts; never changes, so that jobs may read it. */
struct draft_place {
    const char *directory; /* has_names: nobody else's */
    bool has_names;        /* drafts have names there, by their descriptors */
};

/* A descriptor to read and write, or an error. -EOPNOTSUPP: without names there are none here. */
int draft_open(const struct draft_place *place);
/* The file's name from now on, once. -EEXIST, -ENOENT as for a link. */
int draft_link(const struct draft_place *place, int fd, const char *path);
/* It vanishes, if it was not linked. */
void draft_close(const struct draft_place *place, int fd);

#endif
