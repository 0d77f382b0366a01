/* SPDX-License-Identifier: BSD-2-Clause */
/* Indexes of directories, made in the background, one directory at a time. */
#include "proxy/base/mem.h"
#include "spool/runner_private.h"
#include "spool/spool_index.h"

struct indexing {
    struct work work;
    struct runner *runner;
    int64_t now_s;
    size_t next, count;
    uint32_t directories[];
};

static void start_next(struct indexing *j);

/* What cannot be made is not missed: messages are opened instead. */
static void run_indexing(struct work *w)
{
    struct indexing *j = CONTAINER_OF(w, struct indexing, work);
    spool_index_refresh(j->runner->host.store, j->directories[j->next], j->now_s);
}

static void done_indexing(struct work *w)
{
    struct indexing *j = CONTAINER_OF(w, struct indexing, work);
    struct runner *r = j->runner;

    r->load.is_indexing = false;
    j->next++;
    start_next(j);
    runner_job_done(r);
}

static void start_next(struct indexing *j)
{
    struct runner *r = j->runner;

    j->now_s = loop_wall_ms(r->host.loop) / 1000;
    j->work = (struct work){.run = run_indexing, .done = done_indexing};
    if (j->next == j->count || r->is_stopping || work_run(r->host.loop, &j->work) != 0) {
        mem_free(j);
        return;
    }
    r->load.is_indexing = true;
    r->job_count++;
}

void runner_index_start(struct runner *r, const struct runner_places *places)
{
    uint32_t last = 0;

    if (r->load.is_indexing || places->count == 0)
        return;
    struct indexing *j = mem_alloc(sizeof(*j) + places->count * sizeof(j->directories[0]));
    if (j == NULL)
        return;
    j->runner = r;
    j->next = j->count = 0;
    for (size_t i = 0; i < places->count; i++) {
        const struct store_place *place = &places->at[i];
        if (place->folder == STORE_QUEUE && place->directory != last)
            j->directories[j->count++] = last = place->directory;
    }
    start_next(j);
}
