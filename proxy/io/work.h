/* SPDX-License-Identifier: BSD-2-Clause */
/* Jobs for the thread pool: only they touch files while postern serves. */
#ifndef POSTERN_WORK_H
#define POSTERN_WORK_H

#include "proxy/io/loop.h"

/* How many jobs run at the same time: they wait for disks, not for processors. */
#define WORK_THREADS 8

/* Embedded in what the job owns; must stay until `done` is called. */
struct work {
    /* On a pool thread: may use disk.h, pure code, and its own data only. */
    void (*run)(struct work *work);
    void (*done)(struct work *work); /* on the loop; may free what holds `work` */
    void *shell;                     /* the implementation's; NULL while the job does not run */
};

/* Legal when the job does not run. 0, or ERR_MEMORY: then neither function is called. A job cannot
 * be cancelled: whoever loses interest marks that in its own data, and cleans up in `done`. */
int work_run(struct loop *loop, struct work *work);

#endif
