/* SPDX-License-Identifier: BSD-2-Clause */
/* A process of postern in the world: it ends by itself, or is killed and runs no code any more. */
#include <unistd.h>

#include "tests/sim/world.h"

#define FIRST_PID 4000
#define STEPS_MAX 20000000 /* of one world */

/* Ids are made of it: it must be the same in each repetition. */
pid_t getpid(void)
{
    return FIRST_PID + (pid_t)sim_process_count();
}

/* ---- when it dies ---- */

void sim_kill_at_step(struct sim *w, uint64_t nth)
{
    w->process.kill_at_step = nth;
}

void sim_kill_at_call(struct sim *w, uint64_t nth)
{
    w->process.kill_at_call = nth;
}

static void count_down(struct sim *w, uint64_t *left)
{
    if (*left == 0 || !w->process.is_alive || --*left > 0)
        return;
    longjmp(w->process.death, 1);
}

void sim_process_step(struct sim *w)
{
    if (++w->process.steps > STEPS_MAX)
        sim_fault("it goes on for ever");
    count_down(w, &w->process.kill_at_step);
}

void sim_process_call(struct sim *w)
{
    count_down(w, &w->process.kill_at_call);
}

/* ---- what goes with it ---- */

/* As the kernel closes what a dead process had open. */
static void close_connections(struct sim *w)
{
    LIST_EACH (link, &w->conns) {
        struct sim_conn *c = LIST_ENTRY(link, struct sim_conn, link);
        bool is_ours[2];
        for (int i = 0; i < 2; i++)
            is_ours[i] = !c->ends[i].is_closed && !c->ends[i].is_peers;
        for (int i = 0; i < 2; i++)
            if (is_ours[i]) /* the second one frees the connection */
                sim_end_close(&c->ends[i], false);
    }
    LIST_EACH (link, &w->peers) {
        struct sim_peer *p = LIST_ENTRY(link, struct sim_peer, link);
        if (p->asked_by == NULL)
            continue;
        p->asked_by = NULL;
        p->has_eof = true;
        sim_ready(w, &p->event);
    }
}

static void forget_events(struct sim *w)
{
    struct list *lists[] = {&w->ready, &w->running};

    for (size_t i = 0; i < ARRAY_LENGTH(lists); i++)
        LIST_EACH (link, lists[i])
            if (!LIST_ENTRY(link, struct sim_event, link)->outlives)
                list_remove(link);
    LIST_EACH (link, &w->running) {
        list_remove(link);
        list_append(&w->ready, link);
    }
    LIST_EACH (link, &w->timers)
        if (!LIST_ENTRY(link, struct sim_timer, link)->event->outlives)
            list_remove(link);
}

static void drop(struct sim *w)
{
    sim_listeners_drop(w);
    close_connections(w);
    forget_events(w);
    sim_disk_close_all(w);
    list_init(&w->channels);
    w->loop = NULL;
    sim_heap_end();
}

bool sim_process(struct sim *w, int (*fn)(void *owner), void *owner, int *code_out)
{
    bool is_killed;

    sim_heap_begin();
    w->process.count++;
    w->process.is_alive = true;
    is_killed = setjmp(w->process.death) != 0;
    if (!is_killed)
        *code_out = fn(owner);
    w->process.is_alive = false;
    w->process.kill_at_step = w->process.kill_at_call = 0;
    if (is_killed || *code_out != 0)
        drop(w);
    else if (sim_heap_end() != 0)
        sim_fault("a process has ended and left memory behind");
    return !is_killed;
}
