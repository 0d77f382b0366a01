/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of Maildirs and of what lies in them. Private to route/maildir*.c. */
#ifndef POSTERN_MAILDIR_PATH_PRIVATE_H
#define POSTERN_MAILDIR_PATH_PRIVATE_H

#include "proxy/io/loop.h"
#include "proxy/smtp/address.h"
#include "route/maildir_conf.h"

#define MAILDIR_PATH_MAX  2048
#define MAILDIR_PATH_ROOM (2 * MAILDIR_PATH_MAX + 8) /* directory, folder and name */

/* Is the path that the address makes one that may be used? Pure. */
bool maildir_path_takes(const struct maildir_conf *conf, const struct address *to);
/* The Maildir of that address. The caller frees; NULL: no memory, or too long. */
char *maildir_path_directory(struct loop *l, const struct maildir_conf *conf,
                             const struct address *to);
/* A new name, unique without asking anybody. Likewise. */
char *maildir_path_new_name(struct loop *l, struct bytes hostname);
/* "directory" "/folder/" "name", in `path`, which is returned. */
const char *maildir_path_join(char path[MAILDIR_PATH_ROOM], const char *directory,
                              const char *folder, const char *name);

#endif
