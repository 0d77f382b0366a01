/* SPDX-License-Identifier: BSD-2-Clause */
/* Between the processes: hints for the runner, what was learnt of targets, questions for ETRN. */
#include <stdio.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "proxy/queue_private.h"
#include "route/relay/relay_memory.h"

#define TICK_MS   1000 /* connect again, look for questions that got no answer \ */
#define ANSWER_MS 5000 /* for the runner to answer */

/* A question that was sent. */
struct asked {
    struct list in_queue;
    struct queue_question *question;
    uint64_t number;
    uint64_t due_ms;
};

static uint64_t now_ms(const struct queue *q)
{
    return loop_now_ms(q->services->loop);
}

/* ---- lines ---- */

static struct buf begin_line(struct queue *q, const char *verb)
{
    struct buf line;

    buf_init(&line, &loop_pools(q->services->loop)->medium, CHANNEL_MESSAGE_MAX);
    buf_text(&line, verb);
    return line;
}

static void put_number(struct buf *line, uint64_t number)
{
    buf_byte(line, ' ');
    buf_decimal(line, number);
}

static bool send_line(struct channel *c, struct buf *line)
{
    bool is_sent = c != NULL && !line->has_failed && channel_send(c, buf_bytes(line));

    buf_done(line);
    return is_sent;
}

static bool take_number(struct bytes *line, uint64_t max, uint64_t *number_out)
{
    return text_decimal(text_word(line), max, number_out) == 0;
}

static void hear_learnt(struct queue *q, struct bytes fact)
{
    struct relay_service *relays = &q->services->relays;

    relays->caps_generation += relay_memory_hear(relays->memory, fact);
}

/* ---- what the runner hears ---- */

static void hear_arrived(struct queue *q, struct bytes line)
{
    struct store_place place = {.folder = STORE_QUEUE};
    uint64_t directory, body_bytes;
    struct bytes id;

    if (!take_number(&line, UINT32_MAX, &directory))
        return;
    id = text_word(&line);
    if (id.len != ID_LENGTH || !take_number(&line, UINT64_MAX, &body_bytes))
        return;
    place.directory = (uint32_t)directory;
    if (directory == 0) /* there is none of that number in queue/ */
        place.folder = STORE_HOLD;
    memcpy(place.id.text, id.at, ID_LENGTH);
    if (line.len > 1)
        runner_heard(q->services->runner, &place, body_bytes, bytes_skip(line, 1));
    else
        runner_arrived(q->services->runner, &place);
}

static void hear_up(struct queue *q, struct bytes line)
{
    struct target *target = NULL;
    struct arena arena;
    struct bytes name;

    arena_init(&arena, &loop_pools(q->services->loop)->small, CHANNEL_MESSAGE_MAX);
    if (text_from_xtext(text_word(&line), &arena, &name) == 0)
        target = targets_find(&q->services->targets, name);
    if (target != NULL && target->ops->probe != NULL)
        target->ops->probe(
            target); /* where it counts as down here, the probe tells the runner that it is back */
    if (target != NULL)
        runner_target_up(q->services->runner, target);
    arena_reset(&arena);
}

/* A question of a worker's, which may be gone before the answer. */
struct heard {
    struct list in_queue;
    struct queue_question question;
    struct queue *queue;
    struct channel *channel;
    uint64_t number;
    uint8_t text[]; /* question.which points to it */
};

static void on_counted(struct queue_question *question, bool known, uint64_t count)
{
    struct heard *h = CONTAINER_OF(question, struct heard, question);
    struct buf line = begin_line(h->queue, "answer");

    put_number(&line, h->number);
    if (known)
        put_number(&line, count);
    else
        buf_text(&line, " -");
    send_line(h->channel, &line);
    list_remove(&h->in_queue);
    mem_free(h);
}

static void hear_ask(struct queue *q, struct channel *c, struct bytes line)
{
    uint64_t number, kind;
    struct arena arena;
    struct bytes text;

    if (!take_number(&line, UINT64_MAX, &number) || !take_number(&line, RUNNER_ALL, &kind))
        return;
    arena_init(&arena, &loop_pools(q->services->loop)->small, CHANNEL_MESSAGE_MAX);
    bool is_text = text_from_xtext(text_word(&line), &arena, &text) == 0;
    struct heard *h = is_text ? mem_zalloc(sizeof(*h) + text.len) : NULL;
    if (h != NULL) {
        if (text.len != 0)
            memcpy(h->text, text.at, text.len);
        h->queue = q;
        h->channel = c;
        h->number = number;
        h->question.which.by = (enum runner_selector)kind;
        h->question.which.text = bytes_make(h->text, text.len);
        h->question.done = on_counted;
        list_append(&q->asked, &h->in_queue);
        queue_ask(q, &h->question);
    }
    arena_reset(&arena);
}

/* The worker that asked is gone. */
static void forget_asked(struct queue *q, const struct channel *c)
{
    LIST_EACH (link, &q->asked) {
        struct heard *h = LIST_ENTRY(link, struct heard, in_queue);
        if (h->channel == c)
            h->channel = NULL;
    }
}

/* A worker that has just come. */
struct newcomer {
    struct queue *queue;
    struct channel *channel;
};

static bool tell_newcomer(void *owner, struct bytes fact)
{
    const struct newcomer *n = owner;
    struct buf message = begin_line(n->queue, "learnt ");

    buf_put(&message, fact);
    return send_line(n->channel, &message);
}

static void hear_again(struct queue *q, struct channel *c)
{
    struct newcomer n = {.queue = q, .channel = c};

    runner_look_again(q->services->runner);
    relay_memory_tell_recent(q->services->relays.memory, tell_newcomer, &n);
}

static void on_runner_message(void *owner, struct channel *c, struct bytes message)
{
    struct queue *q = owner;
    struct bytes line = message, verb = text_word(&line);

    if (bytes_is(verb, "arrived")) {
        hear_arrived(q, line);
    } else if (bytes_is(verb, "again")) {
        hear_again(q, c);
    } else if (bytes_is(verb, "up")) {
        hear_up(q, line);
    } else if (bytes_is(verb, "ask")) {
        hear_ask(q, c, line);
    } else if (bytes_is(verb, "learnt") && line.len != 0) {
        hear_learnt(q, bytes_skip(line, 1));
        channel_broadcast(q->listener, c, message);
    }
}

static void on_runner_closed(void *owner, struct channel *c)
{
    forget_asked(owner, c);
}

static const struct channel_events runner_events = {
    .message = on_runner_message,
    .closed = on_runner_closed,
};

static const char *path_of(struct queue *q)
{
    snprintf(q->path, sizeof(q->path), "%s/runner", store_directory(q->services->store));
    return q->path;
}

int queue_talk_listen(struct queue *q)
{
    int error = 0;

    q->listener = channel_listen(q->services->loop, path_of(q), &runner_events, q, &error);
    return error;
}

/* ---- a worker's side ---- */

static void answer(struct asked *a, bool known, uint64_t count)
{
    struct queue_question *question = a->question;

    list_remove(&a->in_queue);
    mem_free(a);
    question->done(question, known, count);
}

static struct asked *find_asked(struct queue *q, uint64_t number)
{
    LIST_EACH (link, &q->questions) {
        struct asked *a = LIST_ENTRY(link, struct asked, in_queue);
        if (a->number == number)
            return a;
    }
    return NULL;
}

static void hear_answer(struct queue *q, struct bytes line)
{
    uint64_t number, count = 0;
    struct asked *a;
    bool is_known;

    if (!take_number(&line, UINT64_MAX, &number))
        return;
    is_known = take_number(&line, UINT64_MAX, &count);
    a = find_asked(q, number);
    if (a != NULL)
        answer(a, is_known, count);
}

static void on_worker_message(void *owner, struct channel *c, struct bytes message)
{
    struct queue *q = owner;
    struct bytes line = message, verb = text_word(&line);
    (void)c;

    if (bytes_is(verb, "answer"))
        hear_answer(q, line);
    else if (bytes_is(verb, "learnt") && line.len != 0)
        hear_learnt(q, bytes_skip(line, 1));
}

static void on_worker_closed(void *owner, struct channel *c)
{
    struct queue *q = owner;
    (void)c;
    q->channel = NULL;
}

static const struct channel_events worker_events = {
    .message = on_worker_message,
    .closed = on_worker_closed,
};

static void connect_again(struct queue *q)
{
    int error;

    if (q->channel != NULL || q->is_stopping)
        return;
    q->channel = channel_connect(q->services->loop, q->path, &worker_events, q, &error);
    if (q->channel != NULL) /* until now we may have told a runner that has gone */
        (void)channel_send(q->channel, bytes_of("again"));
}

static void on_tick(struct deadline *d)
{
    struct queue *q = CONTAINER_OF(d, struct queue, deadline);
    struct list *first;

    while ((first = list_first(&q->questions)) != NULL) {
        struct asked *a = LIST_ENTRY(first, struct asked, in_queue);
        if (q->channel != NULL && now_ms(q) < a->due_ms)
            break;
        answer(a, false, 0);
    }
    connect_again(q);
    deadline_set(q->services->loop, d, now_ms(q) + TICK_MS);
}

static const struct deadline_use tick_use = {.reached = on_tick};

void queue_talk_connect(struct queue *q)
{
    path_of(q);
    deadline_init(&q->deadline, &tick_use);
    on_tick(&q->deadline);
}

void queue_talk_stop(struct queue *q)
{
    struct list *first;

    if (q->listener != NULL)
        channel_listener_close(q->listener);
    q->listener = NULL;
    if (q->path[0] == '\0' || q->services->runner != NULL)
        return;
    deadline_clear(q->services->loop, &q->deadline);
    while ((first = list_first(&q->questions)) != NULL)
        answer(LIST_ENTRY(first, struct asked, in_queue), false, 0);
    if (q->channel != NULL)
        channel_close(q->channel);
}

bool queue_talk_arrived(struct queue *q, const struct store_place *place, uint64_t body_bytes,
                        struct bytes records)
{
    struct buf line = begin_line(q, "arrived");

    connect_again(q); /* where nobody listens, the next runner will look for itself */
    put_number(&line, place->directory);
    buf_cat(&line, " ", place->id.text, NULL);
    put_number(&line, body_bytes);
    if (records.len < CHANNEL_MESSAGE_MAX - buf_length(&line)) {
        buf_byte(&line, ' ');
        buf_put(&line, records);
    }
    return send_line(q->channel, &line);
}

bool queue_talk_up(struct queue *q, struct bytes target)
{
    struct buf line = begin_line(q, "up ");

    text_put_xtext(&line, target);
    return send_line(q->channel, &line);
}

bool queue_talk_learnt(struct queue *q, struct bytes line)
{
    struct buf message = begin_line(q, "learnt ");

    buf_put(&message, line);
    if (q->services->runner == NULL)
        return send_line(q->channel, &message);
    if (q->listener != NULL && !message.has_failed)
        channel_broadcast(q->listener, NULL, buf_bytes(&message));
    buf_done(&message);
    return true;
}

static bool send_question(struct queue *q, const struct asked *a)
{
    struct buf line = begin_line(q, "ask");

    put_number(&line, a->number);
    put_number(&line, (uint64_t)a->question->which.by);
    buf_byte(&line, ' ');
    text_put_xtext(&line, a->question->which.text);
    return send_line(q->channel, &line);
}

void queue_talk_ask(struct queue *q, struct queue_question *question)
{
    struct asked *a = q->is_stopping ? NULL : mem_zalloc(sizeof(*a));

    if (a == NULL) {
        question->done(question, false, 0);
        return;
    }
    connect_again(q);
    a->question = question;
    a->number = ++q->sequence;
    a->due_ms = now_ms(q) + ANSWER_MS;
    list_append(&q->questions, &a->in_queue);
    if (!send_question(q, a))
        answer(a, false, 0);
}

void queue_talk_forget(struct queue *q, struct queue_question *question)
{
    LIST_EACH (link, &q->questions) {
        struct asked *a = LIST_ENTRY(link, struct asked, in_queue);
        if (a->question != question)
            continue;
        list_remove(link);
        mem_free(a);
        return;
    }
}
