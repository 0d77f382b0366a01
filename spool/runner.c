/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue at work: its life, and what is done next. */
#include <assert.h>

#include "proxy/base/mem.h"
#include "proxy/io/disk.h"
#include "spool/runner_private.h"

/* ---- what is due ---- */

static void arm(struct runner *r)
{
    int64_t wake_s = schedule_wake_s(r->schedule);

    if (wake_s == INT64_MAX)
        deadline_clear(r->host.loop, &r->wake);
    else
        deadline_set(r->host.loop, &r->wake, wake_s < 0 ? 0 : (uint64_t)wake_s * 1000);
}

static void pump(void *owner)
{
    struct runner *r = owner;
    struct schedule_entry *e = NULL;

    while (!r->is_stopping && r->delivery_count < RUNNER_DELIVERIES_MAX &&
           (e = schedule_take(r->schedule, runner_now_s(r))) != NULL)
        delivery_start(r, e);
    if (!r->is_stopping && r->delivery_count < RUNNER_DELIVERIES_MAX)
        arm(r);
}

static void on_wake(struct deadline *d)
{
    pump(CONTAINER_OF(d, struct runner, wake));
}

static const struct deadline_use wake_use = {.reached = on_wake};

void runner_target_up(struct runner *r, struct target *target)
{
    bool is_any = target->group != NULL && target->group->fails_over;
    struct bytes queue = is_any ? target->group->name : target->name;
    struct schedule_target *t = schedule_target_of(r->schedule, queue);

    if (t == NULL)
        return;
    r->up_count++;
    schedule_up(t);
    runner_pump_later(r);
}

/* ---- life ---- */

struct runner *runner_new(const struct runner_host *host)
{
    struct runner *r = mem_zalloc(sizeof(*r));

    if (r == NULL)
        return NULL;
    r->host = *host;
    r->schedule = schedule_new(loop_hash_key(host->loop), RUNNER_DELIVERIES_MAX);
    if (r->schedule == NULL) {
        mem_free(r);
        return NULL;
    }
    hash_table_init(&r->domains, loop_hash_key(host->loop));
    r->mark.fd = -1;
    runner_quarantine_init(r, runner_expire);
    list_init(&r->walks);
    list_init(&r->deliveries);
    list_init(&r->spare);
    deadline_init(&r->wake, &wake_use);
    runner_jobs_init(r, pump);
    runner_load_start(r);
    return r;
}

void runner_stop(struct runner *r, void (*stopped)(void *owner))
{
    assert(!r->is_stopping && stopped != NULL);
    r->is_stopping = true;
    r->stopped = stopped;
    loop_unpost(r->host.loop, &r->pump);
    loop_unpost(r->host.loop, &r->load.look);
    runner_end_walks(r);
    runner_quarantine_stop(r);
    deadline_clear(r->host.loop, &r->wake);
    deadline_clear(r->host.loop, &r->load.rescan);
    runner_may_stop(r);
}

void runner_abort(struct runner *r)
{
    r->is_aborted = true;
    delivery_abort_all(r);
}

static void end_mark(struct runner *r)
{
    if (r->mark.fd >= 0 && r->mark.must_stay)
        disk_close(r->mark.fd);
    else if (r->mark.fd >= 0)
        store_unmark(r->host.store, &r->mark.id, r->mark.fd);
}

void runner_free(struct runner **runner)
{
    struct runner *r = *runner;

    if (r == NULL)
        return;
    assert(r->delivery_count == 0 && r->job_count == 0 && list_is_empty(&r->walks));
    end_mark(r);
    delivery_free_spare(r);
    runner_load_done(r);
    runner_forget_all(r);
    mem_free(r);
    *runner = NULL;
}

struct schedule *runner_schedule(struct runner *r)
{
    return r->schedule;
}
