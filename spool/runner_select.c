/* SPDX-License-Identifier: BSD-2-Clause */
/* Finds the messages that a selection means and makes them due, without a look at the disk. */
#include "spool/runner_private.h"

/* A group's name means all its members. */
bool runner_is_at(const struct runner *r, const struct schedule_entry *e, struct bytes name)
{
    struct bytes queue = schedule_target_name(e->target);
    const struct target *target = NULL;

    if (queue.len > name.len && bytes_equal(bytes_first(queue, name.len), name))
        target = r->host.find_target(r->host.owner, queue);
    return bytes_equal(queue, name) ||
           (target != NULL && bytes_equal(target_section(target), name));
}

bool runner_is_for(const struct runner *r, const struct schedule_entry *e,
                   const struct spool_recipient *s)
{
    struct bytes queue = r->host.find_queue(r->host.owner, s->target, s->to.mailbox);
    return bytes_equal(queue, schedule_target_name(e->target));
}

static bool is_meant(const struct runner *r, const struct schedule_entry *e,
                     const struct runner_selection *which)
{
    switch (which->by) {
    case RUNNER_DOMAIN:
    case RUNNER_SUBDOMAINS:
        return runner_has_domain(e->domains, which);
    case RUNNER_TARGET:
        return runner_is_at(r, e, which->text);
    case RUNNER_ID:
    case RUNNER_ALL:
        break;
    }
    return true;
}

/* Entries of one target mostly follow one another: the target is probed once for each such run. */
static void probe(struct runner_flush *flush, const struct schedule_target *t)
{
    const struct runner_host *host = &flush->walk.runner->host;

    if (flush->last_probed == t)
        return;
    flush->last_probed = t;
    struct target *target = host->find_target(host->owner, schedule_target_name(t));
    if (target != NULL && target->ops->probe != NULL && !host->is_cold)
        target->ops->probe(target);
}

/* ETRN cannot say these. */
static bool is_of_operator(const struct runner_selection *which)
{
    return which->by == RUNNER_ID || which->by == RUNNER_ALL;
}

/* What becomes of an entry now; of several entries of a message the first in this order counts. */
enum hurried { HURRIED_STARTED, HURRIED_PROBED, HURRIED_RUNNING, HURRIED_LEFT, HURRIED_HELD };

static enum hurried outcome_of(const struct runner_flush *flush, const struct schedule_entry *e)
{
    switch ((enum schedule_state)e->state) {
    case SCHEDULE_HELD:
        return HURRIED_HELD;
    case SCHEDULE_RUNNING:
        return HURRIED_RUNNING;
    case SCHEDULE_WAITING:
        if (e->may_be_duplicate && flush->which.by != RUNNER_ID)
            return HURRIED_LEFT;
        break;
    case SCHEDULE_READY:
        break;
    }
    return schedule_is_down(e->target) ? HURRIED_PROBED : HURRIED_STARTED;
}

static void count_outcome(struct runner_flush *flush, enum hurried outcome)
{
    uint64_t *const counts[] = {[HURRIED_STARTED] = &flush->started,
                                [HURRIED_PROBED] = &flush->probed,
                                [HURRIED_RUNNING] = &flush->running,
                                [HURRIED_LEFT] = &flush->left,
                                [HURRIED_HELD] = &flush->held};

    ++*counts[outcome];
}

/* A held message waits only for its release. */
static void hurry(struct runner_walk *walk, const struct list *entries)
{
    struct runner_flush *flush = CONTAINER_OF(walk, struct runner_flush, walk);
    bool is_met = false, is_waiting = false, is_hurried = false;
    enum hurried outcome = HURRIED_HELD;

    LIST_EACH (link, entries) {
        struct schedule_entry *e = LIST_ENTRY(link, struct schedule_entry, in_message);
        if (!is_meant(walk->runner, e, &flush->which))
            continue;
        is_met = true;
        if (outcome_of(flush, e) < outcome)
            outcome = outcome_of(flush, e);
        if (e->state == SCHEDULE_HELD)
            continue;
        is_waiting = true;
        probe(flush, e->target); /* even for a running entry, whose delivery may fail */
        if (schedule_hurry(e, runner_now_s(walk->runner), flush->which.by == RUNNER_ID) ||
            (is_of_operator(&flush->which) && delivery_write_now(walk->runner, e)))
            is_hurried = true;
    }
    if (is_met)
        count_outcome(flush, outcome);
    flush->waiting += is_waiting;
    flush->flushed += is_hurried;
    if (is_hurried)
        runner_pump_later(walk->runner);
}

static void on_hurried(struct runner_walk *walk)
{
    struct runner_flush *flush = CONTAINER_OF(walk, struct runner_flush, walk);
    flush->done(flush);
}

/* Looks up the one message that is meant, instead of walking over all. */
static void hurry_one(struct runner *r, struct runner_flush *flush)
{
    struct id id = {{0}};

    memcpy(id.text, flush->which.text.at, flush->which.text.len == ID_LENGTH ? ID_LENGTH : 0);
    struct runner_message *known = runner_find(r, &id);
    if (known != NULL)
        hurry(&flush->walk, &known->entries);
    flush->walk.bucket = r->messages.bucket_count;
}

void runner_flush(struct runner *r, struct runner_flush *flush)
{
    flush->waiting = flush->flushed = 0;
    flush->started = flush->probed = flush->running = flush->held = flush->left = 0;
    flush->last_probed = NULL;
    flush->walk.meet = hurry;
    flush->walk.done = on_hurried;
    runner_walk(r, &flush->walk);
    if (flush->which.by == RUNNER_ID)
        hurry_one(r, flush);
}

const struct schedule_entry *runner_next_of(struct runner *r, const struct id *id,
                                            const struct schedule_entry *after)
{
    struct runner_message *known = runner_find(r, id);
    struct list *next = known == NULL   ? NULL
                        : after == NULL ? known->entries.next
                                        : after->in_message.next;

    return known == NULL || next == &known->entries
               ? NULL
               : LIST_ENTRY(next, struct schedule_entry, in_message);
}
