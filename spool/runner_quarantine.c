/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages that a filter has quarantined: why, and how long nobody has released them. */
#include "proxy/base/mem.h"
#include "spool/runner_private.h"

#define AGAIN_MS 600000 /* after a removal that failed */

struct runner_quarantine {
    struct runner *runner;
    struct runner_message *known;
    struct deadline deadline; /* when it expires */
    struct list in_runner;    /* runner.quarantine.all */
    struct list in_expired;   /* runner.quarantine.expired: the time is over */
    int64_t since_ms;
    size_t reason_len;
    uint8_t reason[];
};

static void on_deadline(struct deadline *deadline)
{
    struct runner_quarantine *q = CONTAINER_OF(deadline, struct runner_quarantine, deadline);

    list_append(&q->runner->quarantine.expired, &q->in_expired);
    q->runner->quarantine.expire(q->runner);
}

static const struct deadline_use deadline_use = {.reached = on_deadline};

/* From now on time is told by the clock that only goes on. A hold that lies in the future by the
 * wall clock, which was set back since, counts as begun now. */
static uint64_t due_ms(const struct runner *r, int64_t since_ms)
{
    int64_t age_ms = loop_wall_ms(r->host.loop) - since_ms;
    uint64_t old_ms = age_ms < 0 ? 0 : (uint64_t)age_ms;
    uint64_t left_ms =
        old_ms < r->host.quarantine_expire_ms ? r->host.quarantine_expire_ms - old_ms : 0;

    return loop_now_ms(r->host.loop) + left_ms;
}

void runner_quarantine_init(struct runner *r, void (*expire)(struct runner *r))
{
    list_init(&r->quarantine.all);
    list_init(&r->quarantine.expired);
    r->quarantine.expire = expire;
}

bool runner_quarantine_next(struct runner *r, struct id *id_out)
{
    struct list *first = list_first(&r->quarantine.expired);

    if (first == NULL)
        return false;
    *id_out = LIST_ENTRY(first, struct runner_quarantine, in_expired)->known->place.id;
    list_remove(first);
    return true;
}

void runner_quarantine_again(struct runner_message *known)
{
    struct runner_quarantine *q = known->quarantine;

    if (q != NULL && !q->runner->is_stopping)
        deadline_set(q->runner->host.loop, &q->deadline,
                     loop_now_ms(q->runner->host.loop) + AGAIN_MS);
}

bool runner_quarantine_begin(struct runner *r, struct runner_message *known,
                             const struct spool_hold *hold)
{
    struct runner_quarantine *q = mem_alloc(sizeof(*q) + hold->reason.len);

    if (q == NULL)
        return false;
    q->runner = r;
    q->known = known;
    q->since_ms = hold->since_ms;
    q->reason_len = hold->reason.len;
    if (q->reason_len != 0)
        memcpy(q->reason, hold->reason.at, q->reason_len);
    list_init(&q->in_expired);
    deadline_init(&q->deadline, &deadline_use);
    list_append(&r->quarantine.all, &q->in_runner);
    if (!r->host.is_cold && !r->is_stopping)
        deadline_set(r->host.loop, &q->deadline, due_ms(r, q->since_ms));
    known->quarantine = q;
    return true;
}

void runner_quarantine_end(struct runner_message *known)
{
    struct runner_quarantine *q = known->quarantine;

    if (q == NULL)
        return;
    known->quarantine = NULL;
    deadline_clear(q->runner->host.loop, &q->deadline);
    list_remove(&q->in_runner);
    list_remove(&q->in_expired);
    mem_free(q);
}

void runner_quarantine_stop(struct runner *r)
{
    LIST_EACH (link, &r->quarantine.all)
        deadline_clear(r->host.loop,
                       &LIST_ENTRY(link, struct runner_quarantine, in_runner)->deadline);
}

bool runner_find_hold(struct runner *r, const struct id *id, struct spool_hold *hold_out)
{
    const struct runner_message *known = runner_find(r, id);

    if (known == NULL || known->quarantine == NULL)
        return false;
    *hold_out = (struct spool_hold){
        .by = SPOOL_HELD_BY_FILTER,
        .since_ms = known->quarantine->since_ms,
        .reason = bytes_make(known->quarantine->reason, known->quarantine->reason_len)};
    return true;
}
