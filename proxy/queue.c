/* SPDX-License-Identifier: BSD-2-Clause */
/* The runner within a process, and what it asks of targets and tables. */
#include "proxy/queue.h"

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/control.h"
#include "proxy/queue_private.h"
#include "route/relay_memory.h"

/* ---- questions ---- */

/* What has arrived before a question was asked counts: it is read first. */
struct waiting {
    struct list in_queue;
    struct queue_question *question;
    uint64_t arrivals;
};

/* How many wait; and they are started. */
static void answer(struct queue *q, struct queue_question *question)
{
    bool is_known = !q->is_stopping && runner_is_loaded(q->runner);
    uint64_t count = is_known ? runner_count(q->runner, &question->which) : 0;

    if (count != 0)
        runner_flush(q->runner, &question->which);
    question->done(question, is_known, count);
}

static void answer_waiting(struct queue *q, struct waiting *w)
{
    struct queue_question *question = w->question;

    list_remove(&w->in_queue);
    mem_free(w);
    answer(q, question);
}

/* Answering may add and remove others. */
static void on_read(void *owner)
{
    struct queue *q = owner;
    struct list *first;

    while ((first = list_first(&q->waiting)) != NULL) {
        struct waiting *w = LIST_ENTRY(first, struct waiting, in_queue);
        if (!q->is_stopping && !runner_knows(q->runner, w->arrivals))
            break;
        answer_waiting(q, w);
    }
}

static void ask_runner(struct queue *q, struct queue_question *question)
{
    uint64_t arrivals = runner_arrivals(q->runner);
    bool must_wait = !q->is_stopping && !runner_knows(q->runner, arrivals);
    struct waiting *w = must_wait ? mem_alloc(sizeof(*w)) : NULL;

    if (w == NULL) {
        answer(q, question);
        return;
    }
    *w = (struct waiting){.question = question, .arrivals = arrivals};
    list_append(&q->waiting, &w->in_queue);
}

void queue_ask(struct queue *q, struct queue_question *question)
{
    if (q->runner == NULL)
        queue_talk_ask(q, question);
    else
        ask_runner(q, question);
}

void queue_forget(struct queue *q, struct queue_question *question)
{
    queue_talk_forget(q, question);
    LIST_EACH (link, &q->waiting) {
        struct waiting *w = LIST_ENTRY(link, struct waiting, in_queue);
        if (w->question != question)
            continue;
        list_remove(link);
        mem_free(w);
    }
}

/* ---- what the runner asks ---- */

static struct target *find_target(void *owner, struct bytes name)
{
    struct queue *q = owner;
    struct route_directory directory = targets_directory(&q->worker->targets);
    return directory.find(directory.owner, name);
}

static const struct smtpd *smtpd_of(const struct worker *w, struct bytes listener)
{
    for (size_t i = 0; i < w->smtpd_count; i++)
        if (bytes_equal(w->smtpds[i].conf->section, listener))
            return &w->smtpds[i];
    return NULL;
}

/* Who sent it was allowed to: it is in the queue. */
static void route(void *owner, struct bytes listener, const struct address *to, struct arena *arena,
                  struct routed *routed_out)
{
    struct queue *q = owner;
    struct route_client client = {.may_relay = true};
    const struct smtpd *d = smtpd_of(q->worker, listener);

    if (d != NULL)
        route_resolve(d->routes, to, &client, arena, routed_out);
    else
        *routed_out = (struct routed){.reply = reply_own(REPLY_ROUTE_FAILED)};
}

static struct id next_id(void *owner)
{
    struct queue *q = owner;
    return worker_next_id(q->worker);
}

/* A host that no section bears is an implicit relay. */
static struct bytes find_bounce_relay(struct queue *q, struct bytes name)
{
    struct route_directory directory = targets_directory(&q->worker->targets);
    struct target *target = name.len == 0 ? NULL : directory.find(directory.owner, name);

    if (name.len != 0 && target == NULL)
        target = directory.find_implicit(directory.owner, name);
    return target == NULL ? name : target->name;
}

static int start_runner(struct queue *q)
{
    struct worker *w = q->worker;
    const struct core_conf *core = &w->config->core;
    struct runner_host host = {
        .owner = q,
        .loop = w->loop,
        .log = w->log,
        .log_sinks = w->log_sinks,
        .store = w->store,
        .copies = &w->copies,
        .bounce = {.hostname = core->hostname,
                   .postmaster = core->postmaster,
                   .to = (enum bounce_to)core->bounce_to},
        .bounce_relay = find_bounce_relay(q, core->bounce_relay),
        .delay_warning_ms = core->delay_warning_ms,
        .is_cold = w->task->is_cold,
        .find_target = find_target,
        .route = route,
        .next_id = next_id,
        .has_read = on_read,
    };

    q->runner = runner_new(&host);
    return q->runner == NULL ? ERR_MEMORY : 0;
}

/* ---- what targets and their memory tell ---- */

static void on_came_up(void *owner, struct target *target)
{
    struct queue *q = owner;

    if (q->runner != NULL)
        runner_target_up(q->runner, target);
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
    if (q->runner != NULL)
        runner_heard(q->runner, place, body_bytes, records);
    else
        queue_talk_arrived(q, place, body_bytes, records);
}

struct runner *queue_runner(struct queue *q)
{
    return q->runner;
}

/* ---- life ---- */

static int start_parts(struct queue *q)
{
    const struct worker_task *task = q->worker->task;
    int error = 0;

    if (task->runs_queue)
        error = start_runner(q);
    else if (!task->is_alone)
        queue_talk_connect(q);
    if (error == 0 && task->runs_queue && !task->is_alone)
        error = queue_talk_listen(q);
    if (error != 0 || !task->runs_queue || task->is_cold)
        return error;
    q->control = control_start(q->worker, &error);
    return q->control == NULL ? error : 0;
}

struct queue *queue_start(struct worker *w, int *error_out)
{
    struct queue *q = mem_zalloc(sizeof(*q));
    int error;

    if (q == NULL) {
        *error_out = ERR_MEMORY;
        return NULL;
    }
    q->worker = w;
    list_init(&q->questions);
    list_init(&q->waiting);
    list_init(&q->asked);
    w->queue = q; /* control_start() looks there */
    error = start_parts(q);
    if (error != 0) {
        *error_out = error;
        return NULL;
    }
    w->relays.came_up = on_came_up;
    w->relays.owner = q;
    relay_memory_tell(w->relays.memory, &memory_events, q);
    return q;
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
    q->worker->relays.came_up = NULL;
    relay_memory_tell(q->worker->relays.memory, NULL, NULL);
    on_read(q);
    queue_talk_stop(q);
    if (q->control != NULL)
        control_stop(q->control);
    q->control = NULL;
    if (q->runner != NULL)
        runner_stop(q->runner, tell_stopped);
    else
        loop_post(q->worker->loop, &q->post, tell_stopped, q);
}

void queue_abort(struct queue *q)
{
    if (q->runner != NULL)
        runner_abort(q->runner);
}

void queue_free(struct queue **queue)
{
    struct queue *q = *queue;

    if (q == NULL)
        return;
    runner_free(&q->runner);
    mem_free(q);
    *queue = NULL;
}
