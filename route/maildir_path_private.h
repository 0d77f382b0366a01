/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of Maildirs and of the files in them. Private to route/maildir*.c. */
#ifndef POSTERN_MAILDIR_PATH_PRIVATE_H
#define POSTERN_MAILDIR_PATH_PRIVATE_H

#include "proxy/io/loop.h"
#include "proxy/smtp/address.h"
#include "route/maildir_conf.h"

#define MAILDIR_PATH_MAX  2048
#define MAILDIR_PATH_ROOM (2 * MAILDIR_PATH_MAX + 8) /* room for directory, folder and name */

/* May the path be used that the settings and this address make? Pure. */
bool maildir_path_takes(const struct maildir_conf *conf, const struct address *to);
/* The Maildir of this address. The caller frees it; NULL: no memory, or too long. */
char *maildir_path_directory(struct loop *loop, const struct maildir_conf *conf,
                             const struct address *to);
/* A new file name, unique without looking at the disk. The caller frees it; NULL: no memory, or too
 * long. */
char *maildir_path_new_name(struct loop *loop, struct bytes hostname);
/* Joins "directory", "/folder/" and "name" in `path`, which is returned. */
const char *maildir_path_join(char path[MAILDIR_PATH_ROOM], const char *directory,
                              const char *folder, const char *name);

#endif
