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
    struct store *s = CONTAINER_OF(w, struct store, job.work);

    if (s->job.retired_fd >= 0)
        disk_close(s->job.retired_fd);
    s->job.retired_fd = -1;
    if (store_make_next(s, "queue", s->job.behind, &s->job.made) != 0)
        s->job.made.fd = -1; /* the next message asks again */
}

static void done_make(struct work *w)
{
    struct store *s = CONTAINER_OF(w, struct store, job.work);

    assert(s->job.runs && s->next.fd < 0);
    s->job.runs = false;
    s->next = s->job.made;
}

static void start_make(struct store *s)
{
    assert(!s->job.runs && s->job.retired_fd < 0);
    s->job.behind = s->current.number;
    s->job.retired_fd = s->previous.fd;
    s->job.work = (struct work){.run = run_make, .done = done_make};
    if (work_run(s->loop, &s->job.work) != 0)
        return;
    s->previous.fd = -1;
    s->job.runs = true;
}

/* From so many names on the next directory is being made. */
static uint32_t prepare_at(const struct store *s)
{
    return s->limits.directory_names - s->limits.directory_names / 10;
}

struct store_place store_next_place(struct store *s, const struct id *id)
{
    if (s->used >= s->limits.directory_names && s->next.fd >= 0) {
        s->previous = s->current;
        s->current = s->next;
        s->next.fd = -1;
        s->used = 0;
    }
    s->used++;
    if (s->used >= prepare_at(s) && s->next.fd < 0 && !s->job.runs && !s->is_closing)
        start_make(s);
    return (struct store_place){.id = *id, .directory = s->current.number, .folder = STORE_QUEUE};
}

/* ---- life ---- */

static bool keep_highest(void *owner, const char *name)
{
    uint32_t *highest = owner, number = store_directory_number(name);

    if (number > *highest)
        *highest = number;
    return true;
}

static int open_directories(struct store *s)
{
    static const char *const folders[] = {"queue", "hold", "bad"};
    uint32_t highest = 0;
    int error = 0;

    for (size_t i = 0; i < ARRAY_LENGTH(folders) && error == 0; i++)
        error = disk_make_directories(store_folder_path(s, folders[i]).text);
    if (error == 0) /* where a start was cut short they are there, and not durable */
        error = disk_sync_directory(s->directory);
    if (error == 0)
        error = disk_list(store_folder_path(s, "queue").text, keep_highest, &highest);
    if (error == 0)
        error = store_make_next(s, "queue", highest, &s->current);
    return error == 0 ? store_open_drafts(s) : error;
}

struct store *store_open(struct loop *l, struct bytes directory, const struct store_limits *limits,
                         int *error_out)
{
    struct store *s = mem_zalloc(sizeof(*s));
    int error = s == NULL ? ERR_MEMORY : 0;

    if (error == 0 && directory.len >= sizeof(s->directory))
        error = -ENAMETOOLONG;
    if (error == 0) {
        s->loop = l;
        list_init(&s->commits.waiting);
        s->limits = limits != NULL ? *limits : server_limits;
        memcpy(s->directory, directory.at, directory.len);
        s->current.fd = s->next.fd = s->previous.fd = s->job.retired_fd = s->tmp.own.fd = -1;
        error = open_directories(s);
    }
    if (error == 0)
        return s;
    if (s != NULL)
        store_close_own(&s->current);
    mem_free(s);
    *error_out = error;
    return NULL;
}

void store_close(struct store *s)
{
    s->is_closing = true;
}

/* Empty directories go: each start makes one. */
static void end_own(const struct store *s, struct store_own *own)
{
    if (own->fd < 0)
        return;
    store_close_own(own);
    store_remove_directory(s, own->number);
}

void store_free(struct store **store)
{
    struct store *s = *store;

    *store = NULL;
    if (s == NULL)
        return;
    assert(!s->job.runs && list_is_empty(&s->commits.waiting));
    end_own(s, &s->previous);
    end_own(s, &s->current);
    end_own(s, &s->next);
    store_close_drafts(s);
    mem_free(s);
}

const struct store_limits *store_limits(const struct store *s)
{
    return &s->limits;
}

const char *store_directory(const struct store *s)
{
    return s->directory;
}

const struct draft_folder *store_drafts(const struct store *s)
{
    return &s->tmp.drafts;
}
