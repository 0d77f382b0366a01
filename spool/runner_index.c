/* SPDX-License-Identifier: BSD-2-Clause */
/* Indexes of directories, made in the background, one directory at a time. */
#include <assert.h>

#include "proxy/base/mem.h"
#include "spool/runner_private.h"
#include "spool/spool_index.h"

struct indexing {
    struct work work;
    struct runner *runner;
    int64_t now_s;
    size_t next;
    struct runner_directories directories;
};

static void start_next(struct indexing *indexing);

/* An index that cannot be made is not missed: messages are opened instead. */
static void run_indexing(struct work *w)
{
    struct indexing *indexing = CONTAINER_OF(w, struct indexing, work);

    assert(indexing->next < indexing->directories.count);
    spool_index_refresh(indexing->runner->host.store, indexing->directories.at[indexing->next],
                        indexing->now_s);
}

static void done_indexing(struct work *w)
{
    struct indexing *indexing = CONTAINER_OF(w, struct indexing, work);
    struct runner *r = indexing->runner;

    assert(r->load.is_indexing);
    r->load.is_indexing = false;
    indexing->next++;
    start_next(indexing);
    runner_job_done(r);
}

static void start_next(struct indexing *indexing)
{
    struct runner *r = indexing->runner;

    indexing->now_s = loop_wall_ms(r->host.loop) / 1000;
    indexing->work = (struct work){.run = run_indexing, .done = done_indexing};
    if (indexing->next == indexing->directories.count || r->is_stopping ||
        work_run(r->host.loop, &indexing->work) != 0) {
        mem_free(indexing->directories.at);
        mem_free(indexing);
        return;
    }
    r->load.is_indexing = true;
    r->job_count++;
}

struct runner_directories runner_directories_of(const struct runner_places *places)
{
    struct runner_directories directories = {.count = 0};
    size_t capacity = 0;
    uint32_t last = 0;

    for (size_t i = 0; i < places->count; i++) {
        const struct store_place *place = &places->at[i];
        if (place->folder != STORE_QUEUE || place->directory == last)
            continue;
        uint32_t *grown =
            mem_make_room(directories.at, directories.count, &capacity, sizeof(*grown));
        if (grown == NULL)
            break;
        directories.at = grown;
        directories.at[directories.count++] = last = place->directory;
    }
    return directories;
}

void runner_index_start(struct runner *r, struct runner_directories directories)
{
    struct indexing *indexing =
        r->load.is_indexing || directories.count == 0 ? NULL : mem_alloc(sizeof(*indexing));

    if (indexing == NULL) {
        mem_free(directories.at);
        return;
    }
    *indexing = (struct indexing){.runner = r, .directories = directories};
    start_next(indexing);
}
