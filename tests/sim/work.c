/* SPDX-License-Identifier: BSD-2-Clause */
/* work.h in a world: a job runs when the loop gets to it, and is done a turn later at least. */
#include "proxy/io/work.h"

#include "proxy/base/error.h"
#include "tests/sim/world.h"

struct job {
    struct sim_event event;
    struct loop *loop;
    struct work *work;
    bool has_run;
};

static void on_event(struct sim_event *e)
{
    struct job *j = CONTAINER_OF(e, struct job, event);
    struct work *w = j->work;

    if (!j->has_run) {
        j->has_run = true;
        w->run(w);
        sim_ready(j->loop->world, e);
        return;
    }
    j->loop->busy--;
    w->shell = NULL;
    mem_free(j);
    w->done(w);
}

int work_run(struct loop *l, struct work *w)
{
    struct job *j = mem_alloc(sizeof(*j));

    if (j == NULL)
        return ERR_MEMORY;
    *j = (struct job){.event.fn = on_event, .loop = l, .work = w};
    list_init(&j->event.link);
    w->shell = j;
    l->busy++;
    sim_ready(l->world, &j->event);
    return 0;
}
