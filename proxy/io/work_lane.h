/* SPDX-License-Identifier: BSD-2-Clause */
/* Jobs that wait for their turn, so that what hangs on one disk leaves threads to all others.
 *
 * A road bounds how many of its jobs run at the same time, each of its lanes how many of its own.
 * Lanes that have something to run take turns. Built on work.h alone. */
#ifndef POSTERN_WORK_LANE_H
#define POSTERN_WORK_LANE_H

#include "proxy/base/list.h"
#include "proxy/io/work.h"

struct work_road {
    struct loop *loop;
    unsigned max, running;
    struct list lanes;  /* that may start a job, but for the road's own bound */
    struct list failed; /* jobs that could not be started, until they are told */
    struct loop_post post;
};

struct work_lane {
    struct work_road *road;
    unsigned max, running;
    struct list in_road;
    struct list jobs; /* that wait */
};

/* Embedded in what the job owns, as struct work is. */
struct work_lane_job {
    void (*run)(struct work_lane_job *job);  /* on a pool thread */
    void (*done)(struct work_lane_job *job); /* on the loop; may free what holds `job` */
    int error; /* 0, or ERR_MEMORY: it could not be started, and `run` was not called */
    struct work_lane *lane;
    struct list in_lane;
    struct work work;
};

void work_road_init(struct work_road *road, struct loop *l, unsigned max);
void work_lane_init(struct work_lane *lane, struct work_road *road, unsigned max);
/* `done` comes always, and never within the call. Road and lane stay until then. */
void work_lane_run(struct work_lane *lane, struct work_lane_job *job);

#endif
