/* SPDX-License-Identifier: BSD-2-Clause */
/* The runner's jobs: how many run, the directories from which names were removed, and the end once
 * nothing runs any more. */
#include <assert.h>

#include "proxy/base/mem.h"
#include "spool/runner_private.h"

#define SYNC_MS                                                                                    \
    100 /* until a removal is durable: what a power cut brings back is delivered again */

int64_t runner_now_s(const struct runner *r)
{
    return (int64_t)(loop_now_ms(r->host.loop) / 1000);
}

void runner_pump_later(struct runner *r)
{
    loop_post(r->host.loop, &r->pump, r->pump_now, r);
}

/* ---- removals ---- */

struct syncing {
    struct work work;
    struct runner *runner;
    uint32_t directories[RUNNER_DIRTY_MAX];
    size_t count;
    int error;
};

static void run_syncing(struct work *w)
{
    struct syncing *syncing = CONTAINER_OF(w, struct syncing, work);

    for (size_t i = 0; i < syncing->count; i++) {
        int error = store_sync(syncing->runner->host.store, syncing->directories[i]);
        if (error != 0)
            syncing->error = error;
    }
}

static void done_syncing(struct work *w)
{
    struct syncing *syncing = CONTAINER_OF(w, struct syncing, work);
    struct runner *r = syncing->runner;

    if (syncing->error != 0) {
        struct log_line line =
            log_begin(r->host.log, r->host.log_sinks, LOG_LEVEL_ERROR, "queue-not-synced");
        log_put_text(&line, "directory", store_directory(r->host.store));
        log_put_error(&line, "error", syncing->error);
        log_end(&line);
    }
    mem_free(syncing);
    runner_job_done(r);
}

static void on_sync(struct deadline *d)
{
    struct runner *r = CONTAINER_OF(d, struct runner, dirty.deadline);
    struct syncing *syncing = mem_alloc(sizeof(*syncing));

    deadline_clear(r->host.loop, d);
    if (syncing != NULL) {
        *syncing = (struct syncing){.work = {.run = run_syncing, .done = done_syncing},
                                    .runner = r,
                                    .count = r->dirty.count};
        memcpy(syncing->directories, r->dirty.at, sizeof(r->dirty.at));
        if (work_run(r->host.loop, &syncing->work) == 0) {
            r->dirty.count = 0;
            r->job_count++;
            return;
        }
    }
    mem_free(syncing);
    deadline_set(r->host.loop, d, loop_now_ms(r->host.loop) + SYNC_MS);
}

static const struct deadline_use sync_use = {.reached = on_sync};

static bool is_dirty(const struct runner *r, uint32_t directory)
{
    for (size_t i = r->dirty.count; i-- != 0;)
        if (r->dirty.at[i] == directory)
            return true;
    return false;
}

void runner_sync_later(struct runner *r, uint32_t directory)
{
    if (is_dirty(r, directory))
        return;
    if (r->dirty.count == RUNNER_DIRTY_MAX)
        on_sync(&r->dirty.deadline);
    if (r->dirty.count == RUNNER_DIRTY_MAX)
        return; /* no memory for long: the kernel syncs the directory in its own time */
    if (r->dirty.count == 0)
        deadline_set(r->host.loop, &r->dirty.deadline, loop_now_ms(r->host.loop) + SYNC_MS);
    r->dirty.at[r->dirty.count++] = directory;
}

/* ---- the end ---- */

static void tell_stopped(void *owner)
{
    struct runner *r = owner;
    r->stopped(r->host.owner);
}

void runner_may_stop(struct runner *r)
{
    if (!r->is_stopping || r->delivery_count != 0 || r->job_count != 0)
        return;
    if (r->dirty.count != 0) {
        on_sync(&r->dirty.deadline);
        return;
    }
    if (!r->is_stopped)
        loop_post(r->host.loop, &r->stopping, tell_stopped, r);
    r->is_stopped = true;
}

void runner_job_done(struct runner *r)
{
    assert(r->job_count != 0);
    r->job_count--;
    runner_may_stop(r);
}

void runner_jobs_init(struct runner *r, void (*pump)(void *owner))
{
    r->pump_now = pump;
    deadline_init(&r->dirty.deadline, &sync_use);
}
