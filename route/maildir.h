/* SPDX-License-Identifier: BSD-2-Clause */
/* Maildirs: targets on the local disk, undoable until the commit. */
#ifndef POSTERN_MAILDIR_H
#define POSTERN_MAILDIR_H

#include "proxy/io/log.h"
#include "proxy/io/work_lane.h"
#include "route/maildir_conf.h"
#include "route/target.h"

struct maildir; /* a target; its first member is a struct target */

/* A disk may hang: jobs of all Maildirs leave half of the threads to the spool and the copies, and
 * those of one Maildir leave one more to the others. */
#define MAILDIR_JOBS_MAX  (WORK_THREADS / 2)
#define MAILDIR_JOBS_EACH (MAILDIR_JOBS_MAX - 1)

/* What all Maildirs of a process share. */
struct maildir_service {
    struct loop *loop;
    struct log *log;
    uint32_t log_sinks;
    struct bytes hostname; /* stands in for the domain that a bare postmaster lacks */
    struct work_road road; /* MAILDIR_JOBS_MAX */
};

/* `service` and `conf` outlive it. NULL: no memory. */
struct maildir *maildir_new(struct maildir_service *service, const struct maildir_conf *conf);
/* Jobs that run finish by themselves. */
void maildir_free(struct maildir **m);
struct target *maildir_target(struct maildir *m);
/* Is the path that the recipient's address makes one that may be used (postern.cf(5),
 * maildir.path)? Pure. Routes ask before they answer. */
bool maildir_takes(const struct maildir *m, const struct address *to);

#endif
