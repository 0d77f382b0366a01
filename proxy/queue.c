/* SPDX-License-Identifier: BSD-2-Clause */
/* The runner within a process, and what it asks of targets and tables. */
#include "proxy/queue.h"

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/control/control.h"
#include "proxy/queue_private.h"
#include "route/relay/relay_memory.h"
#include "route/target_group.h"

/* ---- questions ---- */

/* A message that arrived before the question was asked counts, so the runner reads it first. After
 * that those that wait are counted and started. */
struct waiting {
    struct list in_queue;
    struct queue *queue;
    struct queue_question *question;
    uint64_t arrivals;
    bool is_flushing;
    struct runner_flush flush;
};

static void leave(struct waiting *w)
{
    if (w->is_flushing)
        runner_walk_end(&w->flush.walk);
    list_remove(&w->in_queue);
    mem_free(w);
}

static void answer(struct waiting *w, bool is_known, uint64_t count)
{
    struct queue_question *question = w->question;

    leave(w);
    question->done(question, is_known, count);
}

static void on_flushed(struct runner_flush *f)
{
    struct waiting *w = CONTAINER_OF(f, struct waiting, flush);

    answer(w, !w->queue->is_stopping, f->waiting);
}

static void flush(struct waiting *w)
{
    w->is_flushing = true;
    w->flush = (struct runner_flush){.which = w->question->which, .done = on_flushed};
    runner_flush(w->queue->services->runner, &w->flush);
}

static bool is_ready(const struct waiting *w)
{
    return !w->is_flushing && runner_knows(w->queue->services->runner, w->arrivals);
}

static void begin(struct waiting *w)
{
    if (!w->queue->is_stopping && runner_is_loaded(w->queue->services->runner))
        flush(w);
    else
        answer(w, false, 0);
}

/* An answer may end other questions, so the list is searched from its beginning each time. */
static struct waiting *find_ready(struct queue *q)
{
    LIST_EACH (link, &q->waiting) {
        struct waiting *w = LIST_ENTRY(link, struct waiting, in_queue);
        if (is_ready(w))
            return w;
    }
    return NULL;
}

static void on_read(void *owner)
{
    struct waiting *w;

    while ((w = find_ready(owner)) != NULL)
        begin(w);
}

static void answer_all(struct queue *q)
{
    struct list *first;

    while ((first = list_first(&q->waiting)) != NULL)
        answer(LIST_ENTRY(first, struct waiting, in_queue), false, 0);
}

static void ask_runner(struct queue *q, struct queue_question *question)
{
    struct waiting *w = q->is_stopping ? NULL : mem_alloc(sizeof(*w));

    if (w == NULL) {
        question->done(question, false, 0);
        return;
    }
    *w = (struct waiting){
        .queue = q, .question = question, .arrivals = runner_arrivals(q->services->runner)};
    list_append(&q->waiting, &w->in_queue);
    if (is_ready(w))
        begin(w);
}

void queue_ask(struct queue *q, struct queue_question *question)
{
    if (q->services->runner == NULL)
        queue_talk_ask(q, question);
    else
        ask_runner(q, question);
}

void queue_forget(struct queue *q, struct queue_question *question)
{
    queue_talk_forget(q, question);
    LIST_EACH (link, &q->waiting) {
        struct waiting *w = LIST_ENTRY(link, struct waiting, in_queue);
        if (w->question == question)
            leave(w);
    }
}

/* ---- what the runner asks ---- */

static struct target *find_target(void *owner, struct bytes name)
{
    struct queue *q = owner;
    return targets_find(&q->services->targets, name);
}

static struct bytes find_queue(void *owner, struct bytes name, uint64_t mailbox)
{
    const struct target *target = find_target(owner, name);
    return target == NULL ? name : target_group_queue(target, mailbox)->name;
}

/* The message is in the queue, so its client was allowed to send it. */
static void route(void *owner, struct bytes listener, const struct address *to, struct arena *arena,
                  struct routed *routed_out)
{
    struct queue *q = owner;
    struct route_client client = {.may_relay = true};
    struct route_set *routes = services_find_routes(q->services, listener);

    if (routes != NULL)
        route_resolve(routes, to, &client, arena, routed_out);
    else
        *routed_out = (struct routed){.reply = reply_own(REPLY_ROUTE_FAILED)};
}

static struct id next_id(void *owner)
{
    struct queue *q = owner;
    return services_next_id(q->services);
}

/* A host that no section bears is an implicit relay. */
static struct bytes find_bounce_relay(struct queue *q, struct bytes name)
{
    struct route_directory directory = targets_directory(&q->services->targets);
    struct target *target = name.len == 0 ? NULL : directory.find(directory.owner, name);

    if (name.len != 0 && target == NULL)
        target = directory.find_implicit(directory.owner, name);
    return target == NULL ? name : target->name;
}

static int start_runner(struct queue *q)
{
    struct services *s = q->services;
    const struct core_conf *core = &s->config->core;
    struct runner_host host = {
        .owner = q,
        .loop = s->loop,
        .log = s->log,
        .log_sinks = s->log_sinks,
        .store = s->store,
        .copies = &s->copies,
        .bounce = {.hostname = core->hostname,
                   .postmaster = core->postmaster,
                   .to = (enum bounce_to)core->bounce_to},
        .bounce_relay = find_bounce_relay(q, core->bounce_relay),
        .delay_warning_ms = core->delay_warning_ms,
        .quarantine_expire_ms = core->quarantine_expire_ms,
        .is_cold = s->is_cold,
        .find_target = find_target,
        .find_queue = find_queue,
        .route = route,
        .next_id = next_id,
        .has_read = on_read,
    };

    s->runner = runner_new(&host);
    return s->runner == NULL ? ERR_MEMORY : 0;
}

/* ---- what targets and their memory tell ---- */

static void on_came_up(void *owner, struct target *target)
{
    struct queue *q = owner;

    if (q->services->runner != NULL)
        runner_target_up(q->services->runner, target);
    else
        queue_talk_up(q, target->name);
}

static bool on_learnt(void *owner, struct bytes line)
{
    return queue_talk_learnt(owner, line);
}

static const struct relay_memory_events memory_events = {.learnt = on_learnt};

void queue_arrived(struct queue *q, const struct store_place *place, uint64_t body_bytes,
                   struct bytes records)
{
    if (q->services->runner != NULL)
        runner_heard(q->services->runner, place, body_bytes, records);
    else
        queue_talk_arrived(q, place, body_bytes, records);
}

/* ---- life ---- */

static int start_parts(struct queue *q)
{
    struct services *s = q->services;
    int error = 0;

    if (s->runs_queue)
        error = start_runner(q);
    else if (!s->is_alone)
        queue_talk_connect(q);
    if (error == 0 && s->runs_queue && !s->is_alone)
        error = queue_talk_listen(q);
    if (error != 0 || !s->runs_queue || s->is_cold)
        return error;
    q->control = control_start(s, &error);
    return q->control == NULL ? error : 0;
}

int queue_start(struct services *s,
                struct route_set *(*find_routes)(void *owner, struct bytes listener), void *owner)
{
    struct queue *q = mem_zalloc(sizeof(*q));

    if (q == NULL)
        return ERR_MEMORY;
    *q = (struct queue){.services = s};
    s->find_routes = find_routes;
    s->routes_owner = owner;
    list_init(&q->questions);
    list_init(&q->waiting);
    list_init(&q->asked);
    s->queue = q;
    int error = start_parts(q);
    if (error != 0)
        return error;
    s->relays.came_up = on_came_up;
    s->relays.owner = q;
    relay_memory_tell(s->relays.memory, &memory_events, q);
    return 0;
}

static void tell_stopped(void *owner)
{
    struct queue *q = owner;
    q->stopped(q->owner);
}

void queue_stop(struct queue *q, void (*stopped)(void *owner), void *owner)
{
    q->is_stopping = true;
    q->stopped = stopped;
    q->owner = owner;
    q->services->relays.came_up = NULL;
    relay_memory_tell(q->services->relays.memory, NULL, NULL);
    answer_all(q);
    queue_talk_stop(q);
    if (q->control != NULL)
        control_stop(q->control);
    q->control = NULL;
    if (q->services->runner != NULL)
        runner_stop(q->services->runner, tell_stopped);
    else
        loop_post(q->services->loop, &q->post, tell_stopped, q);
}

void queue_abort(struct queue *q)
{
    if (q->services->runner != NULL)
        runner_abort(q->services->runner);
}

void queue_free(struct queue **queue)
{
    struct queue *q = *queue;

    if (q == NULL)
        return;
    runner_free(&q->services->runner);
    mem_free(q);
    *queue = NULL;
}
