/* SPDX-License-Identifier: BSD-2-Clause */
/* When which message is tried: one queue a target, fair among senders, bounded in concurrency. */
#include "spool/spool_schedule.h"

#include <assert.h>

#include "proxy/base/mem.h"
#include "spool/spool_schedule_private.h"

#define CONCURRENCY        4   /* of a target that is not known yet */
#define DUPLICATE_S        600 /* the shortest pause of a possible duplicate */
#define DOUBLINGS_MAX      12  /* of that pause: up to four weeks and more */
#define DOUBLINGS_READ_MAX 4
#define MADE_READY_MAX     256 /* by one schedule_take() at a target */
#define LOOK_AGAIN_S       300 /* until an entry whose look_s nobody moved on is given out again */
#define LAST_TRY_S         5   /* between tries of expired entries at a target that is down */
#define LAST_TURN_S        60 /* until an expired entry is looked at again: was it tried meanwhile? */

/* ---- states ---- */

static void activate(struct schedule_target *t)
{
    if (list_is_empty(&t->in_active))
        list_append(&t->schedule->active, &t->in_active);
}

static int64_t seconds(uint64_t ms)
{
    return (int64_t)((ms + 999) / 1000);
}

/* The pause after the nth try that failed; n from 1 on. */
static int64_t pause_s(const struct schedule_target *t, size_t n)
{
    const struct schedule_policy *policy = &t->policy;

    assert(n != 0);
    if (policy->retry_count == 0)
        return DUPLICATE_S;
    return seconds(policy->retry_ms[n > policy->retry_count ? policy->retry_count - 1 : n - 1]);
}

/* Puts an entry that is in no list into the right one. */
static void place(struct schedule_target *t, struct schedule_entry *e, bool is_due,
                  enum spool_schedule_place where)
{
    e->state = SCHEDULE_WAITING;
    if (is_due)
        spool_schedule_make_ready(t, e, where);
    else if (!e->may_be_duplicate)
        list_append(&t->waiting, &e->in_queue);
    spool_schedule_heap_push(t, e);
    activate(t);
}

/* A slot is free: targets that wanted one may try again. */
static void free_slot(struct schedule *schedule)
{
    struct list *first;

    assert(schedule->running != 0);
    schedule->running--;
    while ((first = list_first(&schedule->shorts)) != NULL) {
        list_remove(first);
        activate(LIST_ENTRY(first, struct schedule_target, in_short));
    }
}

static void leave_slot(struct schedule_target *t, struct schedule_entry *e)
{
    if (!e->has_slot)
        return;
    assert(t->running != 0);
    e->has_slot = false;
    t->running--;
    free_slot(t->schedule);
    activate(t);
}

static void detach(struct schedule_target *t, struct schedule_entry *e)
{
    switch ((enum schedule_state)e->state) {
    case SCHEDULE_WAITING:
        break;
    case SCHEDULE_READY:
        spool_schedule_leave_turn(t, e);
        break;
    case SCHEDULE_RUNNING:
        leave_slot(t, e);
        break;
    case SCHEDULE_HELD:
        assert(t->held != 0);
        t->held--;
        break;
    }
    spool_schedule_heap_remove(t, e);
    list_remove(&e->in_queue);
    activate(t);
}

static void give_out(struct schedule_target *t, struct schedule_entry *e)
{
    spool_schedule_heap_remove(t, e);
    list_remove(&e->in_queue);
    list_append(&t->others, &e->in_queue);
    e->state = SCHEDULE_RUNNING;
}

static struct schedule_entry *give_for_look(struct schedule_target *t, struct schedule_entry *e)
{
    give_out(t, e);
    e->is_look = true;
    e->has_slot = false;
    return e;
}

static struct schedule_entry *give_for_delivery(struct schedule_target *t, struct schedule_entry *e)
{
    give_out(t, e);
    e->is_look = false;
    e->has_slot = true;
    assert(t->schedule->running < t->schedule->slots);
    t->running++;
    t->schedule->running++;
    t->is_probing = t->is_down;
    return e;
}

/* ---- taking ---- */

bool schedule_was_missed(const struct schedule_entry *e)
{
    return e->target->is_down && e->target->missed_s >= e->expires_s;
}

/* The entry's time is over, and its target may be up: clocks jump, and we may have been down
 * ourselves. It is tried once more before it expires; a possible duplicate waits all the same. It
 * is the first of the heap. */
static void try_at_last(struct schedule_target *t, struct schedule_entry *e, int64_t now_s)
{
    int64_t try_s = t->missed_s + LAST_TRY_S;

    if (e->state == SCHEDULE_WAITING && !e->may_be_duplicate) {
        e->due_s = now_s;
        spool_schedule_make_ready(t, e, SPOOL_SCHEDULE_LAST);
    }
    e->look_s = now_s + (t->is_down ? LAST_TRY_S : LAST_TURN_S);
    if (t->next_try_s > try_s)
        t->next_try_s = try_s;
    spool_schedule_heap_down(t, 0);
}

/* Makes some entries ready that schedule_up() has made due: there may be a million. */
static void rush(struct schedule_target *t, int64_t now_s)
{
    struct list *first;

    for (int i = 0; i < MADE_READY_MAX && (first = list_first(&t->rushed)) != NULL; i++) {
        struct schedule_entry *e = LIST_ENTRY(first, struct schedule_entry, in_queue);
        e->due_s = now_s;
        spool_schedule_make_ready(t, e, SPOOL_SCHEDULE_LAST);
        spool_schedule_heap_down(t, e->heap_at);
    }
}

/* Entries that have become due get their turn. Returns an entry that is to be looked at; NULL:
 * none. */
static struct schedule_entry *advance(struct schedule_target *t, int64_t now_s)
{
    rush(t, now_s);
    for (int i = 0; i < MADE_READY_MAX && t->heap_count != 0; i++) {
        struct schedule_entry *e = t->heap[0];
        if (spool_schedule_key(e) > now_s)
            break;
        if (e->look_s <= now_s && e->expires_s <= now_s && !schedule_was_missed(e)) {
            try_at_last(t, e, now_s);
            continue;
        }
        if (e->look_s <= now_s) {
            if (e->state == SCHEDULE_READY)
                spool_schedule_leave_turn(t, e);
            return give_for_look(t, e);
        }
        spool_schedule_make_ready(t, e, SPOOL_SCHEDULE_LAST);
        spool_schedule_heap_down(t, 0);
    }
    return NULL;
}

static uint32_t allowed(const struct schedule_target *t)
{
    uint32_t max = t->policy.connections_max;
    return t->concurrency < max ? t->concurrency : max;
}

static bool may_run(const struct schedule_target *t, int64_t now_s)
{
    if (t->is_down && (t->running != 0 || now_s < t->next_try_s))
        return false;
    return t->running < allowed(t);
}

static bool has_slot(const struct schedule_target *t)
{
    return t->running < t->schedule->slots - t->schedule->running;
}

static struct schedule_entry *take_of(struct schedule_target *t, int64_t now_s)
{
    struct schedule_entry *e = advance(t, now_s);

    if (e != NULL || list_is_empty(&t->ring) || !may_run(t, now_s))
        return e;
    if (has_slot(t))
        return give_for_delivery(t, spool_schedule_next_in_turn(t));
    if (list_is_empty(&t->in_short))
        list_append(&t->schedule->shorts, &t->in_short);
    return NULL;
}

/* Nothing can be taken now. Finds out until when. */
static void deactivate(struct schedule_target *t)
{
    struct schedule *schedule = t->schedule;

    list_remove(&t->in_active);
    t->wake_s = t->heap_count == 0 ? INT64_MAX : spool_schedule_key(t->heap[0]);
    if (t->is_down && t->running == 0 && !list_is_empty(&t->ring) && t->next_try_s < t->wake_s)
        t->wake_s = t->next_try_s;
    if (t->wake_s < schedule->wake_s)
        schedule->wake_s = t->wake_s;
}

static void wake(struct schedule *schedule, int64_t now_s)
{
    schedule->wake_s = INT64_MAX;
    LIST_EACH (link, &schedule->targets) {
        struct schedule_target *t = LIST_ENTRY(link, struct schedule_target, in_schedule);
        if (!list_is_empty(&t->in_active))
            continue;
        if (t->wake_s <= now_s)
            activate(t);
        else if (t->wake_s < schedule->wake_s)
            schedule->wake_s = t->wake_s;
    }
}

struct schedule_entry *schedule_take(struct schedule *schedule, int64_t now_s)
{
    struct list *first;

    if (now_s >= schedule->wake_s)
        wake(schedule, now_s);
    while ((first = list_first(&schedule->active)) != NULL) {
        struct schedule_target *t = LIST_ENTRY(first, struct schedule_target, in_active);
        struct schedule_entry *e = take_of(t, now_s);
        list_remove(&t->in_active);
        if (e != NULL) {
            list_append(&schedule->active, &t->in_active);
            return e;
        }
        deactivate(t);
    }
    return NULL;
}

int64_t schedule_wake_s(const struct schedule *schedule)
{
    return schedule->wake_s;
}

/* ---- what became of it ---- */

void schedule_up(struct schedule_target *t)
{
    t->is_down = false;
    t->is_probing = false;
    if (t->concurrency < CONCURRENCY)
        t->concurrency = CONCURRENCY;
    list_move_all(&t->rushed, &t->waiting);
    activate(t);
}

static void went_down(struct schedule_target *t, int64_t now_s)
{
    t->missed_s = now_s;
    if (t->is_down && !t->is_probing)
        return; /* one of many entries that ran when the target went down */
    t->probes = t->is_down ? t->probes + 1 : 1;
    t->is_down = true;
    t->is_probing = false;
    t->next_try_s = now_s + pause_s(t, t->probes);
    t->concurrency = 1;
}

/* The target has replied. */
static void went_well(struct schedule_target *t)
{
    if (t->is_down)
        schedule_up(t);
    if (t->concurrency < t->policy.connections_max)
        t->concurrency++;
}

static void went_badly(struct schedule_target *t, uint32_t concurrency)
{
    t->concurrency = concurrency == 0 ? 1 : concurrency;
}

/* The shortest pause of a possible duplicate. */
static int64_t duplicate_pause_s(const struct schedule_target *t)
{
    int64_t first_s = pause_s(t, 1);
    return first_s < DUPLICATE_S ? DUPLICATE_S : first_s;
}

/* A possible duplicate waits at least twice as long each time, but not past the end of its time,
 * when the sender is told. `tries` counts the try that has failed at tried_s. */
static void put_off(const struct schedule_target *t, struct schedule_entry *e, int64_t tried_s)
{
    assert(e->doublings <= DOUBLINGS_MAX);
    int64_t first_s = duplicate_pause_s(t), due_s = tried_s + (first_s << e->doublings);

    e->due_s = tried_s + pause_s(t, e->tries == 0 ? 1 : e->tries);
    if (!e->may_be_duplicate)
        return;
    if (e->due_s < due_s)
        e->due_s = due_s;
    if (e->due_s > e->expires_s)
        e->due_s = e->expires_s > tried_s + first_s ? e->expires_s : tried_s + first_s;
    if (e->doublings < DOUBLINGS_MAX)
        e->doublings++;
}

/* The number of doublings is not on the disk. Each try counts as one, up to some hours. */
void schedule_set_due(const struct schedule_target *t, struct schedule_entry *e, int64_t tried_s)
{
    e->doublings = 0;
    if (e->may_be_duplicate && e->tries > 1)
        e->doublings =
            (uint8_t)(e->tries - 1 < DOUBLINGS_READ_MAX ? e->tries - 1 : DOUBLINGS_READ_MAX);
    put_off(t, e, tried_s);
}

static void failed(struct schedule_entry *e, int64_t now_s)
{
    if (e->tries < UINT16_MAX)
        e->tries++;
    put_off(e->target, e, now_s);
}

/* An entry that was given out for a look waits as long as after a failed try. */
static void failed_here(struct schedule_entry *e, int64_t now_s)
{
    int64_t due_s = e->due_s;

    failed(e, now_s);
    if (!e->is_look)
        return;
    e->look_s = e->due_s;
    e->due_s = due_s;
}

static void judge(struct schedule_entry *e, enum schedule_result result, int64_t now_s)
{
    struct schedule_target *t = e->target;

    switch (result) {
    case SCHEDULE_DONE:
        went_well(t);
        break;
    case SCHEDULE_DEFERRED:
        if (t->is_down)
            schedule_up(t);
        went_badly(t, t->concurrency - 1);
        failed(e, now_s);
        break;
    case SCHEDULE_UNKNOWN:
        went_badly(t, t->concurrency / 2);
        e->may_be_duplicate = true;
        failed(e, now_s);
        break;
    case SCHEDULE_NO_TARGET:
        went_down(t, now_s);
        break;
    case SCHEDULE_FAILED_HERE:
    case SCHEDULE_PUT_BACK:
        break;
    }
}

void schedule_report(struct schedule_entry *e, enum schedule_result result, int64_t now_s)
{
    struct schedule_target *t = e->target;

    assert(e->state == SCHEDULE_RUNNING);
    detach(t, e);
    e->state = SCHEDULE_WAITING;
    if (e->look_s <= now_s)
        e->look_s = now_s + LOOK_AGAIN_S;
    if (result == SCHEDULE_FAILED_HERE)
        failed_here(e, now_s);
    else if (!e->is_look)
        judge(e, result, now_s);
    e->is_look = false;
    if (result != SCHEDULE_DONE)
        place(t, e, e->due_s <= now_s, SPOOL_SCHEDULE_AS_IT_CAME);
}

void schedule_set_aside(struct schedule_entry *e)
{
    assert(e->state == SCHEDULE_RUNNING);
    leave_slot(e->target, e);
}

bool schedule_is_down(const struct schedule_target *t)
{
    return t->is_down;
}

bool schedule_hurry(struct schedule_entry *e, int64_t now_s, bool is_by_id)
{
    struct schedule_target *t = e->target;
    bool is_waiting = e->state == SCHEDULE_WAITING && (is_by_id || !e->may_be_duplicate);
    bool is_kept =
        e->state == SCHEDULE_READY && t->is_down && t->running == 0 && t->next_try_s > now_s;

    if (!is_waiting && !is_kept)
        return false;
    detach(t, e);
    e->due_s = now_s;
    place(t, e, e->due_s <= now_s, is_by_id ? SPOOL_SCHEDULE_FIRST : SPOOL_SCHEDULE_AS_IT_CAME);
    if (t->is_down && t->running == 0)
        t->next_try_s = now_s;
    return true;
}

/* ---- entries and targets ---- */

struct schedule_entry *schedule_add(struct schedule_target *t, const struct schedule_entry *entry)
{
    struct schedule_entry *e = spool_schedule_heap_reserve(t) ? mem_alloc(sizeof(*e)) : NULL;

    if (e == NULL)
        return NULL;
    *e = *entry;
    e->target = t;
    e->is_look = e->has_slot = false;
    e->heap_at = SPOOL_SCHEDULE_NOWHERE;
    list_init(&e->in_queue);
    list_init(&e->in_message);
    t->entry_count++;
    if (e->is_held) {
        e->state = SCHEDULE_HELD;
        list_append(&t->others, &e->in_queue);
        t->held++;
    } else {
        place(t, e, e->due_s == 0, SPOOL_SCHEDULE_LAST);
    }
    return e;
}

void schedule_remove(struct schedule_entry *e)
{
    struct schedule_target *t = e->target;

    assert(t->entry_count != 0);
    detach(t, e);
    list_remove(&e->in_message);
    t->entry_count--;
    mem_free(e);
}

struct schedule_entry *schedule_next_entry(struct schedule_target *t,
                                           const struct schedule_entry *e)
{
    struct list *link = t->others.next;

    if (e == NULL || e->heap_at != SPOOL_SCHEDULE_NOWHERE) {
        size_t at = e == NULL ? 0 : (size_t)e->heap_at + 1;
        if (at < t->heap_count)
            return t->heap[at];
    } else {
        link = e->in_queue.next;
    }
    return link == &t->others ? NULL : LIST_ENTRY(link, struct schedule_entry, in_queue);
}

struct schedule_counts schedule_count(const struct schedule_target *t)
{
    return (struct schedule_counts){
        .messages = t->entry_count,
        .running = t->running,
        .held = t->held,
        .concurrency = allowed(t),
    };
}

struct schedule_target *schedule_target_of(struct schedule *schedule, struct bytes name)
{
    struct hash_entry *found = hash_table_find(&schedule->by_name, name);

    if (found != NULL)
        return CONTAINER_OF(found, struct schedule_target, by_name);
    struct schedule_target *t = mem_zalloc(sizeof(*t) + name.len);
    if (t == NULL)
        return NULL;
    if (name.len != 0)
        memcpy(t->name, name.at, name.len);
    if (hash_table_add(&schedule->by_name, &t->by_name, bytes_make(t->name, name.len)) != 0) {
        mem_free(t);
        return NULL;
    }
    t->schedule = schedule;
    t->concurrency = CONCURRENCY;
    t->wake_s = INT64_MAX;
    t->missed_s = INT64_MIN;
    list_init(&t->in_active);
    list_init(&t->in_short);
    list_init(&t->others);
    list_init(&t->waiting);
    list_init(&t->rushed);
    list_init(&t->ring);
    for (size_t i = 0; i < SPOOL_SCHEDULE_TURNS; i++) {
        list_init(&t->turns[i].in_ring);
        list_init(&t->turns[i].ready);
    }
    list_append(&schedule->targets, &t->in_schedule);
    return t;
}

void schedule_set_policy(struct schedule_target *t, const struct schedule_policy *policy)
{
    t->policy = *policy;
    activate(t);
}

const struct schedule_policy *schedule_policy(const struct schedule_target *t)
{
    return &t->policy;
}

struct bytes schedule_target_name(const struct schedule_target *t)
{
    return t->by_name.key;
}

struct schedule_target *schedule_next_target(struct schedule *schedule, struct schedule_target *t)
{
    struct list *next = t == NULL ? schedule->targets.next : t->in_schedule.next;
    return next == &schedule->targets ? NULL
                                      : LIST_ENTRY(next, struct schedule_target, in_schedule);
}

/* ---- life ---- */

struct schedule *schedule_new(struct hash_key secret, uint32_t slots)
{
    struct schedule *schedule = mem_zalloc(sizeof(*schedule));

    assert(slots != 0);
    if (schedule == NULL)
        return NULL;
    hash_table_init(&schedule->by_name, secret);
    list_init(&schedule->targets);
    list_init(&schedule->active);
    list_init(&schedule->shorts);
    schedule->slots = slots;
    schedule->wake_s = INT64_MAX;
    return schedule;
}

static void free_target(struct schedule_target *t)
{
    struct schedule_entry *e;

    while ((e = schedule_next_entry(t, NULL)) != NULL)
        schedule_remove(e);
    assert(t->entry_count == 0);
    list_remove(&t->in_active);
    list_remove(&t->in_short);
    list_remove(&t->in_schedule);
    mem_free(t->heap);
    mem_free(t);
}

void schedule_free(struct schedule **gone)
{
    struct schedule *schedule = *gone;

    if (schedule == NULL)
        return;
    LIST_EACH (link, &schedule->targets)
        free_target(LIST_ENTRY(link, struct schedule_target, in_schedule));
    hash_table_done(&schedule->by_name);
    mem_free(schedule);
    *gone = NULL;
}
