/* SPDX-License-Identifier: BSD-2-Clause */
/* Maildirs: targets on the local disk, undoable until the commit. */
#ifndef POSTERN_MAILDIR_H
#define POSTERN_MAILDIR_H

#include "proxy/io/loop.h"
#include "route/maildir_conf.h"
#include "route/target.h"

struct maildir; /* a target; its first member is a struct target */

/* `conf` and `hostname` outlive it; the name stands in for the domain that a bare postmaster
 * lacks. NULL: no memory. */
struct maildir *maildir_new(struct loop *l, const struct maildir_conf *conf, struct bytes hostname);
/* Jobs that run finish by themselves. */
void maildir_free(struct maildir **m);
struct target *maildir_target(struct maildir *m);
/* Is the path that the recipient's address makes one that may be used (postern.cf(5),
 * maildir.path)? Pure. Routes ask before they answer. */
bool maildir_takes(const struct maildir *m, const struct address *to);

#endif
