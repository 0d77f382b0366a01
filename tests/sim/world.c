/* SPDX-License-Identifier: BSD-2-Clause */
/* The world: chance, time, and what happens next. */
#include <stdio.h>
#include <stdlib.h>

#include "proxy/io/deadline.h"
#include "tests/sim/world.h"

#define WALL_BEGIN_MS 1795305600000 /* the night of 22 November 2026 */

/* The one variable: disk.h and listen.h have nothing that a world could hang on. */
static struct sim *current;

void sim_fault(const char *what)
{
    fprintf(stderr, "sim: %s\n", what);
    abort();
}

void *sim_alloc(size_t size)
{
    void *block = calloc(1, size == 0 ? 1 : size);

    if (block == NULL)
        sim_fault("no memory");
    return block;
}

void sim_put(struct sim_text *t, struct bytes octets)
{
    if (t->capacity - t->len < octets.len) {
        t->capacity = 2 * (t->len + octets.len) + 64;
        t->at = realloc(t->at, t->capacity);
        if (t->at == NULL)
            sim_fault("no memory");
    }
    if (octets.len > 0)
        memcpy(t->at + t->len, octets.at, octets.len);
    t->len += octets.len;
}

uint64_t sim_mix(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* ---- making it ---- */

struct sim *sim_new(uint64_t seed)
{
    struct sim *w = sim_alloc(sizeof(*w));

    w->seed = seed;
    w->chance = seed;
    w->now_us = 1000000000;
    w->next_listener = SIM_FD_DISK + SIM_FDS;
    w->next_port = 40000;
    list_init(&w->ready);
    list_init(&w->running);
    list_init(&w->timers);
    list_init(&w->conns);
    list_init(&w->peers);
    list_init(&w->bound);
    list_init(&w->answers);
    list_init(&w->loops);
    list_init(&w->channels.listeners);
    list_init(&w->channels.links);
    list_init(&w->processes.alive);
    list_init(&w->processes.ended);
    current = w;
    sim_disk_init(w);
    return w;
}

struct sim *sim_current(void)
{
    return current != NULL ? current : sim_new(1);
}

unsigned sim_process_number(void)
{
    const struct sim_processes *p = current == NULL ? NULL : &current->processes;

    return p == NULL ? 0 : p->running == NULL ? p->count : p->running->number;
}

void sim_free(struct sim **world)
{
    struct sim *w = *world;

    if (!list_is_empty(&w->loops) || sim_processes_are_there(w))
        sim_fault("a process or a loop is still there");
    sim_processes_forget(w);
    sim_peers_free(w);
    LIST_EACH (link, &w->bound)
        free(LIST_ENTRY(link, struct sim_bound, link));
    if (!list_is_empty(&w->conns))
        sim_fault("a connection is still there");
    sim_dns_done(w);
    sim_disk_done(w);
    free(w->log.at);
    if (current == w)
        current = NULL;
    free(w);
    *world = NULL;
}

void sim_set_ways(struct sim *w, const struct sim_ways *ways)
{
    w->ways = *ways;
}

uint64_t sim_random(struct sim *w)
{
    return sim_mix(&w->chance);
}

uint64_t sim_below(struct sim *w, uint64_t end)
{
    return sim_random(w) % end;
}

void sim_on_quiet(struct sim *w, bool (*fn)(void *owner), void *owner)
{
    w->quiet.fn = fn;
    w->quiet.owner = owner;
}

void sim_wait(struct sim *w, uint64_t ms)
{
    w->wait_until_us = w->now_us + ms * 1000;
}

uint64_t sim_now_ms(const struct sim *w)
{
    return w->now_us / 1000;
}

int64_t sim_wall_ms(const struct sim *w)
{
    return WALL_BEGIN_MS + w->wall_jumps_ms + (int64_t)sim_now_ms(w);
}

void sim_wall_jump(struct sim *w, int64_t ms)
{
    w->wall_jumps_ms += ms;
}

struct bytes sim_log(const struct sim *w)
{
    return bytes_make(w->log.at, w->log.len);
}

void sim_forget_log(struct sim *w)
{
    w->log.len = 0;
}

/* ---- what happens next ---- */

void sim_ready(struct sim *w, struct sim_event *e)
{
    if (list_is_empty(&e->link))
        list_append(&w->ready, &e->link);
}

static struct sim_timer *timer_of(struct list *link)
{
    return LIST_ENTRY(link, struct sim_timer, link);
}

void sim_at(struct sim *w, struct sim_timer *t, struct sim_event *e, uint64_t delay_ms)
{
    struct list *before = w->timers.prev;

    t->due_us = w->now_us + delay_ms * 1000;
    t->event = e;
    while (before != &w->timers && timer_of(before)->due_us > t->due_us)
        before = before->prev;
    list_prepend(before, &t->link);
}

static struct list *pick(struct sim *w, struct list *from)
{
    struct list *link = from->next;
    size_t count = 0;

    if (!w->ways.shuffles)
        return link;
    LIST_EACH (each, from)
        count++;
    for (uint64_t n = sim_below(w, count); n > 0; n--)
        link = link->next;
    return link;
}

/* Within its process. */
static void happen(struct sim *w, struct sim_event *e)
{
    struct sim_process *before = sim_process_enter(w, e->process);

    e->fn(e);
    sim_process_enter(w, before);
}

/* All that is ready now; what becomes ready meanwhile comes in the next turn. */
static void run_ready(struct sim *w)
{
    while (!list_is_empty(&w->ready)) {
        struct list *link = w->ready.next;
        list_remove(link);
        list_append(&w->running, link);
    }
    while (!list_is_empty(&w->running)) {
        struct list *link = pick(w, &w->running);
        struct sim_event *e = LIST_ENTRY(link, struct sim_event, link);

        list_remove(link);
        if (e->process != NULL && !e->process->is_in_loop && !e->is_beside)
            list_append(&e->process->held, link);
        else if (sim_process_step(w, e->process))
            happen(w, e);
    }
}

/* The loops of processes that are not in them wait, and with them what hangs off them. False from
 * each of these: there was nothing to do. A loop may be gone with its process. */
static bool run_posts(struct loop *l)
{
    struct sim *w = l->world;
    struct sim_process *p = l->process, *before;
    struct loop_post *post;

    if (l->posted == NULL)
        return false;
    l->due_posts = l->posted;
    l->posted = NULL;
    l->posted_end = &l->posted;
    before = sim_process_enter(w, p);
    while ((post = l->due_posts) != NULL) {
        l->due_posts = post->next;
        post->is_posted = 0;
        if (!sim_process_step(w, p))
            break;
        post->fn(post->owner);
    }
    sim_process_enter(w, before);
    return true;
}

static bool run_deadlines(struct loop *l)
{
    struct sim *w = l->world;
    uint64_t now_ms = w->now_us / 1000;
    struct sim_process *p = l->process, *before;
    struct wheel_entry *entry;

    if (l->served_ms == now_ms) /* what became past since waits for the next tick */
        return false;
    l->served_ms = now_ms;
    entry = wheel_next_due(&l->wheel, now_ms);
    if (entry == NULL)
        return false;
    before = sim_process_enter(w, p);
    for (; entry != NULL; entry = wheel_next_due(&l->wheel, now_ms)) {
        struct deadline *d = CONTAINER_OF(entry, struct deadline, entry);
        if (!sim_process_step(w, p))
            break;
        d->use->reached(d);
    }
    sim_process_enter(w, before);
    return true;
}

static bool run_signals(struct loop *l)
{
    struct sim *w = l->world;
    struct sim_process *before;

    if (!l->has_signals)
        return false;
    l->has_signals = false;
    before = sim_process_enter(w, l->process);
    for (unsigned i = 0; i < l->signal_count; i++) {
        bool is_pending = l->signals[i].is_pending;
        l->signals[i].is_pending = false;
        if (is_pending)
            l->signals[i].fn(l->signals[i].owner, l->signals[i].number);
    }
    sim_process_enter(w, before);
    return true;
}

static bool run_loops(struct sim *w, bool (*run)(struct loop *l))
{
    bool has_any = false;

    LIST_EACH (link, &w->loops) {
        struct loop *l = LIST_ENTRY(link, struct loop, link);
        if (l->is_running)
            has_any = run(l) || has_any;
    }
    return has_any;
}

static bool run_timers(struct sim *w)
{
    bool has_any = false;
    struct list *link;

    while ((link = list_first(&w->timers)) != NULL && timer_of(link)->due_us <= w->now_us) {
        list_remove(link);
        sim_ready(w, timer_of(link)->event);
        has_any = true;
    }
    return has_any;
}

/* False: there was nothing to do. */
static bool run_turn(struct sim *w)
{
    bool has_any = sim_processes_tell(w);

    has_any = run_loops(w, run_deadlines) || has_any;
    has_any = run_loops(w, run_signals) || has_any;
    has_any = run_timers(w) || has_any;
    has_any = run_loops(w, run_posts) || has_any;
    if (!list_is_empty(&w->ready)) {
        run_ready(w);
        has_any = true;
    }
    return sim_processes_go_on(w) || has_any;
}

/* ---- time ---- */

/* UINT64_MAX: never. */
static uint64_t next_us(const struct sim *w)
{
    struct list *timer = list_first(&w->timers);
    uint64_t next = timer == NULL ? UINT64_MAX : timer_of(timer)->due_us;

    LIST_EACH (link, &w->loops) {
        const struct loop *l = LIST_ENTRY(link, struct loop, link);
        uint64_t wake_ms = l->is_running ? wheel_wake_ms(&l->wheel) : UINT64_MAX;
        if (wake_ms != UINT64_MAX && wake_ms * 1000 < next)
            next = wake_ms * 1000;
    }
    return next;
}

static void pass_time(struct sim *w)
{
    uint64_t next = next_us(w);

    if (next > w->wait_until_us && w->wait_until_us > w->now_us)
        next = w->wait_until_us;
    if (next == UINT64_MAX)
        sim_fault("nothing will ever happen again");
    if (next > w->now_us)
        w->now_us = next;
}

/* Some process serves, so that there is somebody to do something with; or hangs until the test lets
 * it go on. */
static bool asks_test(const struct sim *w)
{
    if (!list_is_empty(&w->disk.hung))
        return true;
    LIST_EACH (link, &w->loops) {
        const struct loop *l = LIST_ENTRY(link, struct loop, link);
        if (l->is_running && !l->is_stopped)
            return true;
    }
    return false;
}

void sim_go_on(struct sim *w)
{
    if (run_turn(w) || sim_peers_go_on(w))
        return;
    if (w->wait_until_us <= w->now_us && w->quiet.fn != NULL && asks_test(w) &&
        w->quiet.fn(w->quiet.owner))
        return;
    pass_time(w);
}

void sim_run(struct sim *w)
{
    w->is_stopped = false;
    while (!w->is_stopped)
        sim_go_on(w);
}

void sim_run_for(struct sim *w, uint64_t ms)
{
    uint64_t until_us = w->now_us + ms * 1000;

    sim_wait(w, ms);
    while (w->now_us < until_us)
        sim_go_on(w);
}

void sim_stop(struct sim *w)
{
    w->is_stopped = true;
}

/* ---- a loop ---- */

bool sim_loop_is_over(const struct loop *l)
{
    return l->is_stopped && l->busy == 0 && l->posted == NULL;
}

/* Until it is stopped, and then until every handle is closed and nothing happens any more. */
static void run_alone(struct loop *l)
{
    struct sim *w = l->world;

    while (!l->is_stopped)
        sim_go_on(w);
    for (;;) {
        if (run_turn(w) || sim_peers_go_on(w))
            continue;
        if (l->busy == 0)
            break;
        pass_time(w);
    }
}

int loop_run(struct loop *l)
{
    l->is_running = true;
    if (l->process != NULL)
        sim_process_serve(l->process);
    else
        run_alone(l);
    l->is_running = l->is_stopped = false;
    return 0;
}

void loop_stop(struct loop *l)
{
    l->is_stopped = true;
}
