/* SPDX-License-Identifier: BSD-2-Clause */
/* Jobs that wait for their turn, so that jobs that hang on one disk leave threads to all others. A
 * road bounds how many of its jobs run at the same time, and each of its lanes how many of the
 * lane's own. Lanes with jobs that wait take turns. Built on work.h alone. */
#ifndef POSTERN_WORK_LANE_H
#define POSTERN_WORK_LANE_H

#include "proxy/base/list.h"
#include "proxy/io/work.h"

struct work_road {
    struct loop *loop;
    unsigned max, running;
    struct list lanes;  /* lanes that may start a job when the road has room */
    struct list failed; /* jobs that could not be started, until `done` is called */
    struct loop_post post;
};

struct work_lane {
    struct work_road *road;
    unsigned max, running;
    struct list in_road;
    struct list jobs; /* jobs that wait */
};

/* Embedded in what the job owns, as struct work is. */
struct work_lane_job {
    void (*run)(struct work_lane_job *job);  /* on a pool thread */
    void (*done)(struct work_lane_job *job); /* on the loop; may free what holds `job` */
    int error; /* 0, or ERR_MEMORY: the job could not be started, and `run` was not called */
    struct work_lane *lane;
    struct list in_lane;
    struct work work;
};

void work_road_init(struct work_road *road, struct loop *loop, unsigned max);
void work_lane_init(struct work_lane *lane, struct work_road *road, unsigned max);
/* `done` is always called, but never within this call. Road and lane must stay until then. */
void work_lane_run(struct work_lane *lane, struct work_lane_job *job);

#endif
