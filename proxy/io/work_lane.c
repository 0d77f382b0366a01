/* SPDX-License-Identifier: BSD-2-Clause */
/* Jobs that wait for their turn, bounded for a road and for each of its lanes. */
#include "proxy/io/work_lane.h"

#include "proxy/base/error.h"

static void start_next(struct work_road *road);

static void tell_failed(void *owner)
{
    struct work_road *road = owner;
    struct list *first;

    while ((first = list_first(&road->failed)) != NULL) {
        struct work_lane_job *job = LIST_ENTRY(first, struct work_lane_job, in_lane);
        list_remove(first);
        job->error = ERR_MEMORY;
        job->done(job);
    }
}

/* Puts the lane into the road's list if it may start a job. */
static void update(struct work_lane *lane)
{
    list_remove(&lane->in_road);
    if (!list_is_empty(&lane->jobs) && lane->running < lane->max)
        list_append(&lane->road->lanes, &lane->in_road);
}

static void run_job(struct work *work)
{
    struct work_lane_job *job = CONTAINER_OF(work, struct work_lane_job, work);
    job->run(job);
}

static void done_job(struct work *work)
{
    struct work_lane_job *job = CONTAINER_OF(work, struct work_lane_job, work);
    struct work_lane *lane = job->lane;

    assert(lane->running > 0 && lane->road->running > 0);
    lane->running--;
    lane->road->running--;
    if (list_is_empty(&lane->in_road))
        update(lane); /* else it keeps its turn among the others */
    start_next(lane->road);
    job->done(job);
}

static void start(struct work_lane *lane)
{
    struct work_road *road = lane->road;
    assert(!list_is_empty(&lane->jobs) && lane->running < lane->max && road->running < road->max);
    struct work_lane_job *job = LIST_ENTRY(lane->jobs.next, struct work_lane_job, in_lane);

    list_remove(&job->in_lane);
    job->work = (struct work){.run = run_job, .done = done_job};
    if (work_run(road->loop, &job->work) == 0) {
        lane->running++;
        road->running++;
    } else {
        list_append(&road->failed, &job->in_lane);
        loop_post(road->loop, &road->post, tell_failed, road);
    }
    update(lane);
}

static void start_next(struct work_road *road)
{
    struct list *first;

    while (road->running < road->max && (first = list_first(&road->lanes)) != NULL)
        start(LIST_ENTRY(first, struct work_lane, in_road));
}

void work_road_init(struct work_road *road, struct loop *loop, unsigned max)
{
    *road = (struct work_road){.loop = loop, .max = max};
    list_init(&road->lanes);
    list_init(&road->failed);
}

void work_lane_init(struct work_lane *lane, struct work_road *road, unsigned max)
{
    *lane = (struct work_lane){.road = road, .max = max};
    list_init(&lane->in_road);
    list_init(&lane->jobs);
}

void work_lane_run(struct work_lane *lane, struct work_lane_job *job)
{
    assert(job->run != NULL && job->done != NULL && lane->max > 0 && lane->road->max > 0);
    job->error = 0;
    job->lane = lane;
    list_append(&lane->jobs, &job->in_lane);
    if (list_is_empty(&lane->in_road))
        update(lane);
    start_next(lane->road);
}
