/* SPDX-License-Identifier: BSD-2-Clause */
/* Starts, asks and ends the evaluator; calls wait while there is none. */
#include "filters/spf/spf_child.h"

#include "proxy/base/mem.h"
#include "proxy/io/child.h"
#include "proxy/io/deadline.h"

#define PAUSE_MIN_MS 100 /* between two starts */
#define PAUSE_MAX_MS 10000
#define STEADY_MS    10000 /* who lived so long is started again at once */

/* A domain during whose evaluation the program died. */
struct killer {
    struct spf_name domain;
    unsigned deaths;
    uint64_t last_ms;
};

/* A request that the program has; it replies in their order. */
struct sent {
    struct spf_call *call; /* NULL: forgotten */
    uint32_t number;
};

struct spf_child {
    struct loop *loop;
    const char *path;
    spf_child_trouble *trouble;
    void *owner;
    struct child *program;          /* NULL: it has ended */
    struct sent sent[SPF_SENT_MAX]; /* the oldest first */
    struct list waiting;
    struct list failed;  /* calls that get no reply; told by `telling` */
    struct list refused; /* of domains that are killers; likewise */
    unsigned sent_count, waiting_count;
    unsigned requests; /* that this program got */
    struct deadline hang, start;
    bool is_late; /* one of two SPF_HANG_MS has passed */
    bool has_hung;
    bool is_closing;
    struct loop_post telling;
    uint64_t started_ms, pause_ms;
    struct killer killers[SPF_KILLERS_MAX];
};

/* ---- domains that kill ---- */

static struct killer *find_killer(struct spf_child *child, struct bytes domain)
{
    for (size_t i = 0; i < SPF_KILLERS_MAX; i++) {
        struct killer *k = &child->killers[i];

        if (k->deaths > 0 && bytes_equal_nocase(bytes_make(k->domain.text, k->domain.len), domain))
            return k;
    }
    return NULL;
}

static struct killer *oldest_killer(struct spf_child *child)
{
    struct killer *oldest = &child->killers[0];

    for (size_t i = 1; i < SPF_KILLERS_MAX; i++)
        if (child->killers[i].last_ms < oldest->last_ms)
            oldest = &child->killers[i];
    return oldest;
}

/* What is no name leads to no record, and cannot be to blame. */
static void note_death(struct spf_child *child, struct bytes domain)
{
    struct killer *k = find_killer(child, domain);

    if (domain.len == 0 || domain.len > SPF_NAME_MAX)
        return;
    if (k == NULL) {
        k = oldest_killer(child);
        k->deaths = 0;
        k->domain.len = domain.len;
        memcpy(k->domain.text, domain.at, domain.len);
    }
    k->deaths++;
    k->last_ms = loop_now_ms(child->loop);
}

static bool is_killer(struct spf_child *child, struct bytes domain)
{
    struct killer *k = find_killer(child, domain);

    if (k == NULL || loop_now_ms(child->loop) - k->last_ms < SPF_KILLER_KEPT_S * UINT64_C(1000))
        return k != NULL && k->deaths >= SPF_DEATHS_MAX;
    k->deaths = 0;
    return false;
}

/* ---- calls ---- */

static struct spf_call *first_call(const struct list *calls)
{
    struct list *first = list_first(calls);
    return first == NULL ? NULL : LIST_ENTRY(first, struct spf_call, link);
}

/* The owner may ask and forget other calls meanwhile. */
static void answer_all(struct list *calls, const struct spf_reply *reply)
{
    struct spf_call *call;

    while ((call = first_call(calls)) != NULL) {
        list_remove(&call->link);
        call->answered(call, reply);
    }
}

static void tell(void *owner)
{
    static const struct spf_reply error = {
        .result = SPF_PERMERROR,
        .problem = {(const uint8_t *)"the policy cannot be evaluated", 30}};
    struct spf_child *child = owner;

    answer_all(&child->failed, NULL);
    answer_all(&child->refused, &error);
}

static void tell_later(struct spf_child *child, struct list *list, struct spf_call *call)
{
    call->is_told = true;
    list_append(list, &call->link);
    loop_post(child->loop, &child->telling, tell, child);
}

static void stop_waiting(struct spf_child *child, struct spf_call *call, struct list *list)
{
    list_remove(&call->link);
    child->waiting_count--;
    tell_later(child, list, call);
}

static void watch(struct spf_child *child)
{
    child->is_late = false;
    if (child->sent_count == 0)
        deadline_clear(child->loop, &child->hang);
    else
        deadline_set(child->loop, &child->hang, loop_now_ms(child->loop) + SPF_HANG_MS);
}

static struct sent take_oldest(struct spf_child *child)
{
    struct sent oldest = child->sent[0];

    assert(child->sent_count > 0);
    child->sent_count--;
    memmove(child->sent, child->sent + 1, child->sent_count * sizeof(oldest));
    return oldest;
}

static void send_more(struct spf_child *child)
{
    bool was_idle = child->sent_count == 0;
    struct spf_call *call;

    if (child->program == NULL)
        return;
    while (child->sent_count < SPF_SENT_MAX && child->requests < SPF_REQUESTS_MAX &&
           (call = first_call(&child->waiting)) != NULL) {
        if (is_killer(child, call->domain)) {
            stop_waiting(child, call, &child->refused);
            continue;
        }
        if (!child_send(child->program, call->message))
            break; /* it is sent again when there is room, or a program */
        list_remove(&call->link);
        child->waiting_count--;
        child->sent[child->sent_count++] = (struct sent){call, call->number};
        child->requests++;
    }
    if (was_idle && child->sent_count > 0)
        watch(child);
}

void spf_child_ask(struct spf_child *child, struct spf_call *call)
{
    assert(!child->is_closing && call->message.len > 0);
    list_init(&call->link);
    call->is_told = false;
    if (child->waiting_count >= SPF_CALLS_MAX) {
        tell_later(child, &child->failed, call);
    } else {
        list_append(&child->waiting, &call->link);
        child->waiting_count++;
        send_more(child);
    }
}

/* The program goes on with a call that was sent; its reply is dropped. */
void spf_child_forget(struct spf_child *child, struct spf_call *call)
{
    bool is_sent = false;

    for (unsigned i = 0; i < child->sent_count; i++) {
        if (child->sent[i].call != call)
            continue;
        child->sent[i].call = NULL;
        is_sent = true;
    }
    assert(is_sent != !list_is_empty(&call->link));
    child->waiting_count -= !is_sent && !call->is_told;
    list_remove(&call->link);
}

/* ---- the program ---- */

static void start_later(struct spf_child *child)
{
    uint64_t now_ms = loop_now_ms(child->loop);

    if (now_ms - child->started_ms >= STEADY_MS)
        child->pause_ms = 0;
    deadline_set(child->loop, &child->start, now_ms + child->pause_ms);
    child->pause_ms = child->pause_ms == 0 ? PAUSE_MIN_MS : 2 * child->pause_ms;
    if (child->pause_ms > PAUSE_MAX_MS)
        child->pause_ms = PAUSE_MAX_MS;
}

/* The oldest call is the one that was evaluated. It is asked again with the others, unless it hung:
 * that took its time. */
static void blame(struct spf_child *child)
{
    struct spf_call *culprit = child->sent_count == 0 ? NULL : child->sent[0].call;

    while (child->sent_count > 0) {
        struct spf_call *call = child->sent[--child->sent_count].call;

        if (call == NULL)
            continue;
        list_prepend(&child->waiting, &call->link);
        child->waiting_count++;
    }
    watch(child);
    if (culprit == NULL)
        return;
    note_death(child, culprit->domain);
    child->trouble(child->owner, culprit->domain, 0);
    if (child->has_hung)
        stop_waiting(child, culprit, &child->failed);
}

static void on_ended(void *owner)
{
    struct spf_child *child = owner;

    child->program = NULL;
    if (child->is_closing) {
        mem_free(child);
        return;
    }
    blame(child);
    start_later(child);
}

static void on_message(void *owner, struct bytes message)
{
    struct spf_child *child = owner;
    struct spf_reply reply;
    struct sent sent;

    if (child->sent_count == 0 || !spf_wire_read_reply(message, &reply) ||
        reply.number != child->sent[0].number) {
        child_end(child->program);
        return;
    }
    sent = take_oldest(child);
    watch(child);
    if (sent.call != NULL)
        sent.call->answered(sent.call, &reply);
    if (child->requests >= SPF_REQUESTS_MAX && child->sent_count == 0)
        child_end(child->program);
    else
        send_more(child);
}

static const struct child_events events = {.message = on_message, .ended = on_ended};

/* Nobody waits for a program that does not start. */
static void on_start(struct deadline *deadline)
{
    struct spf_child *child = CONTAINER_OF(deadline, struct spf_child, start);
    struct spf_call *call;
    int error;

    child->requests = 0;
    child->has_hung = false;
    child->started_ms = loop_now_ms(child->loop);
    child->program = child_start(child->loop, child->path, &events, child, &error);
    if (child->program != NULL) {
        send_more(child);
        return;
    }
    child->trouble(child->owner, bytes_make(NULL, 0), error);
    start_later(child);
    while ((call = first_call(&child->waiting)) != NULL)
        stop_waiting(child, call, &child->failed);
}

/* Whatever came meanwhile is read between two deadlines, also when it was we who hung. */
static void on_hang(struct deadline *deadline)
{
    struct spf_child *child = CONTAINER_OF(deadline, struct spf_child, hang);

    if (child->is_late) {
        child->has_hung = true;
        child_end(child->program);
        return;
    }
    child->is_late = true;
    deadline_set(child->loop, deadline, loop_now_ms(child->loop) + SPF_HANG_MS);
}

static const struct deadline_use hang_use = {.reached = on_hang};
static const struct deadline_use start_use = {.reached = on_start};

/* ---- beginning and ending ---- */

struct spf_child *spf_child_new(struct loop *loop, const char *path, spf_child_trouble *trouble,
                                void *owner)
{
    struct spf_child *child = mem_zalloc(sizeof(*child));

    if (child == NULL)
        return NULL;
    child->loop = loop;
    child->path = path;
    child->trouble = trouble;
    child->owner = owner;
    list_init(&child->waiting);
    list_init(&child->failed);
    list_init(&child->refused);
    deadline_init(&child->hang, &hang_use);
    deadline_init(&child->start, &start_use);
    deadline_set(loop, &child->start, loop_now_ms(loop));
    return child;
}

void spf_child_close(struct spf_child **held)
{
    struct spf_child *child = *held;

    if (child == NULL)
        return;
    *held = NULL;
    for (unsigned i = 0; i < child->sent_count; i++)
        assert(child->sent[i].call == NULL);
    assert(list_is_empty(&child->waiting));
    assert(list_is_empty(&child->failed) && list_is_empty(&child->refused));
    child->is_closing = true;
    deadline_clear(child->loop, &child->hang);
    deadline_clear(child->loop, &child->start);
    loop_unpost(child->loop, &child->telling);
    if (child->program == NULL)
        mem_free(child);
    else
        child_end(child->program);
}
