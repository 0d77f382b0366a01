/* SPDX-License-Identifier: BSD-2-Clause */
/* Processes of postern in the world, side by side: one ends by itself, or is killed and runs no
 * code any more. */
#include <unistd.h>

#include <stdlib.h>

#include "tests/sim/world.h"

#define FIRST_PID 4000
#define STEPS_MAX 20000000 /* of one world */

/* Ids are made of it: it must be the same in each repetition. */
pid_t getpid(void)
{
    return FIRST_PID + (pid_t)sim_process_number();
}

struct sim_process *sim_process_enter(struct sim *w, struct sim_process *p)
{
    struct sim_process *before = w->processes.running;

    if (p != before)
        sim_heap_open(p == NULL ? NULL : p->heap);
    w->processes.running = p;
    return before;
}

/* ---- when one dies ---- */

void sim_kill_at_step(struct sim *w, uint64_t nth)
{
    struct sim_process *p = w->processes.running;

    *(p == NULL ? &w->processes.kill_at_step : &p->kill_at_step) = nth;
}

void sim_kill_at_call(struct sim *w, uint64_t nth)
{
    struct sim_process *p = w->processes.running;

    *(p == NULL ? &w->processes.kill_at_call : &p->kill_at_call) = nth;
}

void sim_hang_at_call(struct sim *w, uint64_t nth)
{
    w->processes.hang_at_call = nth;
}

void sim_process_kill_at_step(struct sim_process *p, uint64_t nth)
{
    p->kill_at_step = nth;
}

void sim_process_kill_at_call(struct sim_process *p, uint64_t nth)
{
    p->kill_at_call = nth;
}

static bool is_due(uint64_t *left)
{
    return *left > 0 && --*left == 0;
}

bool sim_process_step(struct sim *w, struct sim_process *p)
{
    if (++w->processes.steps > STEPS_MAX)
        sim_fault("it goes on for ever");
    if (p == NULL || !is_due(&p->kill_at_step))
        return true;
    sim_process_kill(p);
    return false;
}

void sim_process_call(struct sim *w)
{
    struct sim_process *p = w->processes.running;

    if (p == NULL)
        return;
    if (sim_fiber_running() == NULL)
        sim_fault("a call of disk.h on the loop");
    if (is_due(&p->hang_at_call))
        sim_fiber_wait(&w->disk.hung);
    if (!is_due(&p->kill_at_call))
        return;
    p->is_dying = true;
    sim_fiber_give_way();
}

bool sim_process_is_dying(const struct sim_process *p)
{
    return p->is_dying;
}

/* ---- what goes with it ---- */

/* As the kernel closes what a dead process had open. */
static void close_connections(struct sim_process *p)
{
    LIST_EACH (link, &p->world->conns) {
        struct sim_conn *c = LIST_ENTRY(link, struct sim_conn, link);
        bool is_its[2];
        for (int i = 0; i < 2; i++)
            is_its[i] = !c->ends[i].is_closed && c->ends[i].process == p;
        for (int i = 0; i < 2; i++)
            if (is_its[i]) /* the second one frees the connection */
                sim_end_close(&c->ends[i], false);
    }
    LIST_EACH (link, &p->world->peers) {
        struct sim_peer *peer = LIST_ENTRY(link, struct sim_peer, link);
        if (peer->asking != p)
            continue;
        peer->asking = NULL;
        peer->is_orphan = true;
        if (peer->asked_by == NULL)
            continue;
        peer->asked_by = NULL;
        peer->has_eof = true;
        sim_ready(p->world, &peer->event);
    }
}

static void forget_events(struct sim_process *p)
{
    struct list *lists[] = {&p->world->ready, &p->world->running, &p->held};

    for (size_t i = 0; i < ARRAY_LENGTH(lists); i++)
        LIST_EACH (link, lists[i])
            if (LIST_ENTRY(link, struct sim_event, link)->process == p)
                list_remove(link);
    LIST_EACH (link, &p->world->timers)
        if (LIST_ENTRY(link, struct sim_timer, link)->event->process == p)
            list_remove(link);
}

/* Returns how many blocks and files it has left. */
static size_t take_away(struct sim_process *p)
{
    size_t left;

    sim_listeners_drop(p);
    sim_channels_drop(p);
    close_connections(p);
    sim_fibers_free(&p->fibers);
    forget_events(p);
    left = sim_disk_close_all(p->world, p);
    if (p->loop != NULL)
        list_remove(&p->loop->link);
    p->loop = NULL;
    left += sim_heap_free(&p->heap);
    list_remove(&p->link);
    list_append(&p->world->processes.ended, &p->link);
    return left;
}

void sim_process_kill(struct sim_process *p)
{
    if (p->heap == NULL)
        return;
    sim_process_enter(p->world, NULL);
    p->end.is_killed = true;
    take_away(p);
}

/* ---- life ---- */

static void run(void *owner)
{
    struct sim_process *p = owner;

    p->end.code = p->run(p->owner);
}

static void on_end(void *owner)
{
    struct sim_process *p = owner;

    sim_process_enter(p->world, NULL);
    if (take_away(p) != 0 && p->end.code == 0)
        sim_fault("a process has ended and left memory or a file behind");
}

struct sim_process *sim_process_start(struct sim *w, int (*fn)(void *owner), void *owner,
                                      void (*ended)(void *owner, const struct sim_process_end *end))
{
    struct sim_process *p = sim_alloc(sizeof(*p));

    p->world = w;
    p->number = ++w->processes.count;
    p->heap = sim_heap_new();
    list_init(&p->fibers);
    list_init(&p->held);
    p->kill_at_step = w->processes.kill_at_step;
    p->kill_at_call = w->processes.kill_at_call;
    p->hang_at_call = w->processes.hang_at_call;
    w->processes.kill_at_step = w->processes.kill_at_call = w->processes.hang_at_call = 0;
    p->run = fn;
    p->owner = owner;
    p->ended = ended;
    p->end.process = p;
    list_append(&w->processes.alive, &p->link);
    p->fiber = sim_fiber_new(w, p, run, on_end, p);
    sim_fiber_run(p->fiber);
    return p;
}

void sim_process_serve(struct sim_process *p)
{
    p->is_in_loop = true;
    LIST_EACH (link, &p->held) {
        list_remove(link);
        list_append(&p->world->ready, link);
    }
    sim_fiber_give_way();
}

bool sim_process_is_serving(const struct sim_process *p)
{
    return p->is_in_loop;
}

bool sim_processes_go_on(struct sim *w)
{
    bool has_any = false;

    LIST_EACH (link, &w->processes.alive) {
        struct sim_process *p = LIST_ENTRY(link, struct sim_process, link);
        if (!p->is_in_loop || !sim_loop_is_over(p->loop))
            continue;
        p->is_in_loop = false;
        sim_fiber_run(p->fiber);
        has_any = true;
    }
    return has_any;
}

bool sim_processes_tell(struct sim *w)
{
    bool has_any = false;
    struct list *link;

    while ((link = list_first(&w->processes.ended)) != NULL) {
        struct sim_process *p = LIST_ENTRY(link, struct sim_process, link);
        list_remove(link);
        p->ended(p->owner, &p->end);
        free(p);
        has_any = true;
    }
    return has_any;
}

void sim_processes_forget(struct sim *w)
{
    LIST_EACH (link, &w->processes.ended)
        free(LIST_ENTRY(link, struct sim_process, link));
}

bool sim_processes_are_there(const struct sim *w)
{
    return !list_is_empty(&w->processes.alive);
}

void sim_processes_kill(struct sim *w)
{
    LIST_EACH (link, &w->processes.alive)
        sim_process_kill(LIST_ENTRY(link, struct sim_process, link));
}

/* ---- one, from its beginning to its end ---- */

struct alone {
    int (*run)(void *owner);
    void *owner;
    bool has_ended;
    struct sim_process_end end;
};

static int run_alone(void *owner)
{
    struct alone *a = owner;

    return a->run(a->owner);
}

static void alone_ended(void *owner, const struct sim_process_end *end)
{
    struct alone *a = owner;

    a->has_ended = true;
    a->end = *end;
}

bool sim_process(struct sim *w, int (*fn)(void *owner), void *owner, int *code_out)
{
    struct alone a = {.run = fn, .owner = owner};

    sim_process_start(w, run_alone, &a, alone_ended);
    for (;;) {
        sim_processes_tell(w);
        if (a.has_ended)
            break;
        sim_go_on(w);
    }
    if (!a.end.is_killed)
        *code_out = a.end.code;
    return !a.end.is_killed;
}
