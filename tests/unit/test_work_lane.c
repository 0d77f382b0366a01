/* SPDX-License-Identifier: BSD-2-Clause */
/* Lanes of jobs on real threads: how many run at the same time, and what passes those that hang. */
/* needs: io */
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/work_lane.h"
#include "tests/unit/lib.h"

#define JOBS_MAX 12

struct job;

struct world {
    struct loop *loop;
    struct work_road road;
    struct work_lane lanes[2];
    sem_t gate; /* jobs of the first lane wait here */
    atomic_uint hanging;
    atomic_bool is_too_many; /* of them, at the same time */
    struct job *plain;       /* in no lane */
    int left;
};

struct job {
    struct work_lane_job lane_job;
    struct work work;
    struct world *world;
    int runs, dones;
    bool is_posting;
};

static void begin(struct world *w)
{
    *w = (struct world){.loop = loop_new()};
    assert_non_null(w->loop);
    assert_int_equal(sem_init(&w->gate, 0, 0), 0);
    work_road_init(&w->road, w->loop, 4);
    work_lane_init(&w->lanes[0], &w->road, 3);
    work_lane_init(&w->lanes[1], &w->road, 3);
}

static void end(struct world *w)
{
    assert_int_equal(w->road.running + w->lanes[0].running + w->lanes[1].running, 0);
    sem_destroy(&w->gate);
    loop_free(&w->loop);
}

static void open_gate(struct world *w)
{
    for (int i = 0; i < JOBS_MAX; i++)
        sem_post(&w->gate);
}

static void pass_gate(struct world *w)
{
    while (sem_wait(&w->gate) != 0 && errno == EINTR)
        ;
}

static void run_hanging(struct work_lane_job *lane_job)
{
    struct job *j = CONTAINER_OF(lane_job, struct job, lane_job);

    if (atomic_fetch_add(&j->world->hanging, 1) >= 3)
        atomic_store(&j->world->is_too_many, true);
    pass_gate(j->world);
    j->runs++;
    atomic_fetch_sub(&j->world->hanging, 1);
}

static void run_quick(struct work_lane_job *lane_job)
{
    CONTAINER_OF(lane_job, struct job, lane_job)->runs++;
}

static void is_done(struct job *j)
{
    assert_false(j->is_posting);
    j->dones++;
    if (--j->world->left == 0)
        loop_stop(j->world->loop);
}

static void done(struct work_lane_job *lane_job)
{
    struct job *j = CONTAINER_OF(lane_job, struct job, lane_job);

    assert_int_equal(lane_job->error == 0, j->runs == 1);
    is_done(j);
}

static void post(struct job *j, int lane, void (*run)(struct work_lane_job *job),
                 void (*then)(struct work_lane_job *job))
{
    j->lane_job = (struct work_lane_job){.run = run, .done = then};
    j->is_posting = true;
    j->world->left++;
    work_lane_run(&j->world->lanes[lane], &j->lane_job);
    j->is_posting = false;
}

static void run_plain(struct work *work)
{
    CONTAINER_OF(work, struct job, work)->runs++;
}

static void done_plain(struct work *work)
{
    struct job *j = CONTAINER_OF(work, struct job, work);

    open_gate(j->world);
    is_done(j);
}

/* The last one of its lane: three of the other lane hang meanwhile, and something else runs. */
static void done_quick(struct work_lane_job *lane_job)
{
    struct world *w = CONTAINER_OF(lane_job, struct job, lane_job)->world;

    assert_int_equal(w->lanes[0].running, 3);
    done(lane_job);
    w->left++;
    assert_int_equal(work_run(w->loop, &w->plain->work), 0);
}

/* As many jobs hang in one lane as there are threads, and more: jobs of another lane pass them, one
 * after another, and so does what runs in no lane. Only that opens the gate. */
static void test_what_hangs_is_passed(void **state)
{
    struct job hanging[JOBS_MAX] = {{.runs = 0}}, quick[5] = {{.runs = 0}};
    struct job plain = {.work = {.run = run_plain, .done = done_plain}};
    struct world w;

    (void)state;
    begin(&w);
    w.plain = &plain;
    plain.world = &w;
    for (size_t i = 0; i < ARRAY_LENGTH(hanging); i++) {
        hanging[i].world = &w;
        post(&hanging[i], 0, run_hanging, done);
    }
    assert_int_equal(w.lanes[0].running, 3);
    for (size_t i = 0; i < ARRAY_LENGTH(quick); i++) {
        quick[i].world = &w;
        post(&quick[i], 1, run_quick, i + 1 < ARRAY_LENGTH(quick) ? done : done_quick);
    }
    assert_int_equal(w.road.running, 4);
    assert_int_equal(loop_run(w.loop), 0);
    for (size_t i = 0; i < ARRAY_LENGTH(hanging); i++)
        assert_int_equal(hanging[i].dones, 1);
    for (size_t i = 0; i < ARRAY_LENGTH(quick); i++)
        assert_int_equal(quick[i].dones, 1);
    assert_int_equal(plain.runs, 1);
    assert_false(w.is_too_many);
    end(&w);
}

/* One of three cannot be started: it is told, later, and the others run. */
static void test_shortage(void **state)
{
    (void)state;
    for (unsigned nth = 1; nth <= 3; nth++) {
        struct job jobs[3] = {{.runs = 0}};
        struct world w;
        int runs = 0;
        begin(&w);
        mem_fail_nth(nth);
        for (size_t i = 0; i < ARRAY_LENGTH(jobs); i++) {
            jobs[i].world = &w;
            post(&jobs[i], 0, run_quick, done);
        }
        mem_fail_nth(0);
        assert_int_equal(loop_run(w.loop), 0);
        for (size_t i = 0; i < ARRAY_LENGTH(jobs); i++) {
            assert_int_equal(jobs[i].dones, 1);
            runs += jobs[i].runs;
        }
        assert_int_equal(runs, 2);
        end(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_hangs_is_passed),
        cmocka_unit_test(test_shortage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
