/* SPDX-License-Identifier: BSD-2-Clause */
/* work.h in a world: a job runs beside the loop, call by call of disk.h, and is done a turn later
 * at least. As many run at once as there are threads in the real pool. */
#include "proxy/io/work.h"

#include <assert.h>

#include "proxy/base/error.h"
#include "tests/sim/world.h"

struct job {
    struct sim_event done;
    struct list in_loop; /* while it waits for a thread */
    struct loop *loop;
    struct work *work;
};

static void start(struct job *j);

static void run(void *owner)
{
    struct job *j = owner;

    j->work->run(j->work);
}

static void ended(void *owner)
{
    struct job *j = owner;
    struct loop *l = j->loop;
    struct list *next = list_first(&l->jobs_waiting);

    l->jobs_running--;
    sim_ready(l->world, &j->done);
    if (next != NULL) {
        list_remove(next);
        start(LIST_ENTRY(next, struct job, in_loop));
    }
}

static void start(struct job *j)
{
    struct loop *l = j->loop;

    l->jobs_running++;
    sim_fiber_wake(sim_fiber_new(l->world, l->process, run, ended, j));
}

static void on_done(struct sim_event *e)
{
    struct job *j = CONTAINER_OF(e, struct job, done);
    struct work *w = j->work;

    j->loop->busy--;
    w->shell = NULL;
    mem_free(j);
    w->done(w);
}

int work_run(struct loop *l, struct work *w)
{
    struct job *j = mem_alloc(sizeof(*j));

    assert(w->shell == NULL && w->run != NULL && w->done != NULL);
    if (j == NULL)
        return ERR_MEMORY;
    *j = (struct job){.done = {.fn = on_done, .process = l->process}, .loop = l, .work = w};
    list_init(&j->done.link);
    list_init(&j->in_loop);
    w->shell = j;
    l->busy++;
    if (l->jobs_running < WORK_THREADS)
        start(j);
    else
        list_append(&l->jobs_waiting, &j->in_loop);
    return 0;
}
