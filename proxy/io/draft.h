/* SPDX-License-Identifier: BSD-2-Clause */
/* A file that gets its name when it is complete, or vanishes. Until then it is unnamed (O_TMPFILE)
 * or, where the file system has no unnamed files, has a temporary name. For jobs only. */
#ifndef POSTERN_DRAFT_H
#define POSTERN_DRAFT_H

#include <stdbool.h>

/* Where a process makes its drafts. Never changes, so that jobs may read it. */
struct draft_folder {
    const char *directory; /* has_names: of this process alone */
    bool has_names;        /* drafts have temporary names there, made of their descriptors */
};

/* A descriptor for reading and writing, or an error. -EOPNOTSUPP: has_names must be set here. */
int draft_open(const struct draft_folder *folder);
/* Gives the file its name, once. -EEXIST, -ENOENT as for a link. */
int draft_link(const struct draft_folder *folder, int fd, const char *path);
/* The file vanishes, unless draft_link() has given it a name. */
void draft_close(const struct draft_folder *folder, int fd);

#endif
