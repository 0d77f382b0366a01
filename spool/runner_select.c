/* SPDX-License-Identifier: BSD-2-Clause */
/* Which messages are meant, and made due: without a look at the disk. */
#include "spool/runner_private.h"

static bool is_meant(const struct schedule_entry *e, const struct runner_selection *which)
{
    switch (which->by) {
    case RUNNER_DOMAIN:
    case RUNNER_SUBDOMAINS:
        return runner_has_domain(e->domains, which);
    case RUNNER_TARGET:
        return bytes_equal(schedule_target_name(e->target), which->text);
    case RUNNER_ID:
    case RUNNER_ALL:
        break;
    }
    return true;
}

/* Entries of one target mostly follow one another: it is asked once for each such run. */
static void probe(struct runner_flush *f, const struct schedule_target *t)
{
    const struct runner_host *host = &f->walk.runner->host;

    if (f->probed == t)
        return;
    f->probed = t;
    struct target *target = host->find_target(host->owner, schedule_target_name(t));
    if (target != NULL && target->ops->probe != NULL && !host->is_cold)
        target->ops->probe(target);
}

/* ETRN has no such words. */
static bool is_of_operator(const struct runner_selection *which)
{
    return which->by == RUNNER_ID || which->by == RUNNER_ALL;
}

/* What is held does not wait for anything but its release. */
static void hurry(struct runner_walk *w, const struct list *entries)
{
    struct runner_flush *f = CONTAINER_OF(w, struct runner_flush, walk);
    bool is_waiting = false, is_hurried = false;

    LIST_EACH (link, entries) {
        struct schedule_entry *e = LIST_ENTRY(link, struct schedule_entry, in_message);
        if (e->state == SCHEDULE_HELD || !is_meant(e, &f->which))
            continue;
        is_waiting = true;
        probe(f, e->target); /* though it is running: that may come to nothing */
        if (schedule_hurry(e, runner_now_s(w->runner), f->which.by == RUNNER_ID) ||
            (is_of_operator(&f->which) && delivery_write_now(w->runner, e)))
            is_hurried = true;
    }
    f->waiting += is_waiting;
    f->flushed += is_hurried;
    if (is_hurried)
        runner_pump_later(w->runner);
}

static void on_hurried(struct runner_walk *w)
{
    struct runner_flush *f = CONTAINER_OF(w, struct runner_flush, walk);
    f->done(f);
}

/* The one that is meant is looked up: nothing else need be met. */
static void hurry_one(struct runner *r, struct runner_flush *f)
{
    struct id id = {{0}};

    memcpy(id.text, f->which.text.at, f->which.text.len == ID_LENGTH ? ID_LENGTH : 0);
    struct runner_message *m = runner_find(r, &id);
    if (m != NULL)
        hurry(&f->walk, &m->entries);
    f->walk.bucket = r->messages.bucket_count;
}

void runner_flush(struct runner *r, struct runner_flush *f)
{
    f->waiting = f->flushed = 0;
    f->probed = NULL;
    f->walk.meet = hurry;
    f->walk.done = on_hurried;
    runner_walk(r, &f->walk);
    if (f->which.by == RUNNER_ID)
        hurry_one(r, f);
}

const struct schedule_entry *runner_next_of(struct runner *r, const struct id *id,
                                            const struct schedule_entry *after)
{
    struct runner_message *m = runner_find(r, id);
    struct list *next = m == NULL ? NULL : after == NULL ? m->entries.next : after->in_message.next;

    return m == NULL || next == &m->entries ? NULL
                                            : LIST_ENTRY(next, struct schedule_entry, in_message);
}
