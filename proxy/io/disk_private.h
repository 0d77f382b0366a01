/* SPDX-License-Identifier: BSD-2-Clause */
/* Single calls of a file system; disk_steps.c combines them into what disk.h promises. */
#ifndef POSTERN_DISK_PRIVATE_H
#define POSTERN_DISK_PRIVATE_H

#include <stdbool.h>

/* -EEXIST: never replaces a file. -EINVAL, -ENOSYS: this file system cannot do that. */
int disk_move(const char *from, const char *to);
bool disk_is_same_file(const char *a, const char *b); /* two names of one file? */
int disk_make_directory(const char *path);            /* -EEXIST: the name is taken */
int disk_find_directory(const char *path);            /* 0, -ENOTDIR, -ENOENT */

#endif
