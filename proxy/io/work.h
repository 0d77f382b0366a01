/* SPDX-License-Identifier: BSD-2-Clause */
/* Jobs for the thread pool: the only place where files may be touched while serving. */
#ifndef POSTERN_WORK_H
#define POSTERN_WORK_H

#include "proxy/io/loop.h"

/* How many jobs run at the same time: they wait for the disk, not for a processor. */
#define WORK_THREADS 8

/* Embedded in what the job owns; must stay until `done` was called. */
struct work {
    void (*run)(struct work *w);  /* on a pool thread: only disk.h and pure code, own data only */
    void (*done)(struct work *w); /* on the loop; may free what holds `w` */
    void *shell;                  /* the implementation's, NULL while not running */
};

/* 0, or ERR_MEMORY: then neither function is called. There is no cancelling: who loses interest
 * says so in its own data and cleans up in `done`. */
int work_run(struct loop *l, struct work *w);

#endif
