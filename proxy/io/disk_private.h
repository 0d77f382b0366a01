/* SPDX-License-Identifier: BSD-2-Clause */
/* Single calls of a file system, from which disk_steps.c makes what disk.h promises. */
#ifndef POSTERN_DISK_PRIVATE_H
#define POSTERN_DISK_PRIVATE_H

#include <stdbool.h>

/* Never over an existing file: -EEXIST. -EINVAL, -ENOSYS: this file system cannot do that. */
int disk_move(const char *from, const char *to);
bool disk_is_same_file(const char *a, const char *b); /* two names of one */
int disk_make_directory(const char *path);            /* one; -EEXIST: there is something */
int disk_find_directory(const char *path);            /* 0: it is one; -ENOTDIR, -ENOENT */

#endif
