/* SPDX-License-Identifier: BSD-2-Clause */
/* The directories that this process fills, and where everything lies. */
#include "spool/store.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/disk.h"
#include "spool/store_private.h"

static const struct store_limits server_limits = {
    .directory_names = 1000,
    .index_messages_min = 100,
    .index_quiet_s = 60,
    .records_bytes = 256U << 10,
};

/* ---- directories of our own ---- */

static void run_make(struct work *w)
{
    struct store *store = CONTAINER_OF(w, struct store, job.work);

    if (store->job.retired_fd >= 0)
        disk_close(store->job.retired_fd);
    store->job.retired_fd = -1;
    if (store_make_next(store, "queue", store->job.after, &store->job.made) != 0)
        store->job.made.fd = -1; /* the next message tries again */
}

static void done_make(struct work *w)
{
    struct store *store = CONTAINER_OF(w, struct store, job.work);

    assert(store->job.runs && store->next.fd < 0);
    store->job.runs = false;
    store->next = store->job.made;
}

static void start_make(struct store *store)
{
    assert(!store->job.runs && store->job.retired_fd < 0);
    store->job.after = store->current.number;
    store->job.retired_fd = store->previous.fd;
    store->job.work = (struct work){.run = run_make, .done = done_make};
    if (work_run(store->loop, &store->job.work) != 0) {
        store->job.retired_fd = -1;
        return;
    }
    store->previous.fd = -1;
    store->job.runs = true;
}

/* How many names are given out before the next directory is made. */
static uint32_t prepare_at(const struct store *store)
{
    return store->limits.directory_names - store->limits.directory_names / 10;
}

struct store_place store_next_place(struct store *store, const struct id *id)
{
    if (store->used >= store->limits.directory_names && store->next.fd >= 0) {
        store->previous = store->current;
        store->current = store->next;
        store->next.fd = -1;
        store->used = 0;
    }
    store->used++;
    if (store->used >= prepare_at(store) && store->next.fd < 0 && !store->job.runs &&
        !store->is_closing)
        start_make(store);
    return (struct store_place){
        .id = *id, .directory = store->current.number, .folder = STORE_QUEUE};
}

/* ---- life ---- */

static bool keep_highest(void *owner, const char *name)
{
    uint32_t *highest = owner, number = store_directory_number(name);

    if (number > *highest)
        *highest = number;
    return true;
}

static int open_directories(struct store *store)
{
    static const char *const folders[] = {"queue", "hold", "bad"};
    uint32_t highest = 0;
    int error = 0;

    for (size_t i = 0; i < ARRAY_LENGTH(folders) && error == 0; i++)
        error = disk_make_directories(store_folder_path(store, folders[i]).text);
    if (error == 0) /* after a start that was cut short they exist, and are not durable */
        error = disk_sync_directory(store->directory);
    if (error == 0)
        error = disk_list(store_folder_path(store, "queue").text, keep_highest, &highest);
    if (error == 0)
        error = store_make_next(store, "queue", highest, &store->current);
    return error == 0 ? store_open_drafts(store) : error;
}

struct store *store_open(struct loop *l, struct bytes directory, const struct store_limits *limits,
                         int *error_out)
{
    struct store *store = mem_zalloc(sizeof(*store));
    int error = store == NULL ? ERR_MEMORY : 0;

    if (error == 0 && directory.len >= sizeof(store->directory))
        error = -ENAMETOOLONG;
    if (error == 0) {
        store->loop = l;
        list_init(&store->commits.waiting);
        store->limits = limits != NULL ? *limits : server_limits;
        memcpy(store->directory, directory.at, directory.len);
        store->current.fd = store->next.fd = store->previous.fd = store->job.retired_fd =
            store->tmp.own.fd = -1;
        error = open_directories(store);
    }
    if (error == 0)
        return store;
    if (store != NULL)
        store_close_own(&store->current);
    mem_free(store);
    *error_out = error;
    return NULL;
}

void store_close(struct store *store)
{
    store->is_closing = true;
}

/* Removes our directory if it is empty: each start makes one. */
static void end_own(const struct store *store, struct store_own *own)
{
    if (own->fd < 0)
        return;
    store_close_own(own);
    store_remove_directory(store, own->number);
}

void store_free(struct store **gone)
{
    struct store *store = *gone;

    *gone = NULL;
    if (store == NULL)
        return;
    assert(!store->job.runs && list_is_empty(&store->commits.waiting));
    end_own(store, &store->previous);
    end_own(store, &store->current);
    end_own(store, &store->next);
    store_close_drafts(store);
    mem_free(store);
}

const struct store_limits *store_limits(const struct store *store)
{
    return &store->limits;
}

const char *store_directory(const struct store *store)
{
    return store->directory;
}

const struct draft_folder *store_drafts(const struct store *store)
{
    return &store->tmp.drafts;
}
