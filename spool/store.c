/* SPDX-License-Identifier: BSD-2-Clause */
/* The directories that this process fills, and where everything lies. */
#include "spool/store.h"

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

/* ---- paths ---- */

/* What does not fit is cut off: the spool's own path has been measured. */
static void put(struct store_path *path, size_t *at, const char *text)
{
    size_t len = strlen(text);

    if (len > sizeof(path->text) - 1 - *at)
        len = sizeof(path->text) - 1 - *at;
    memcpy(path->text + *at, text, len);
    *at += len;
    path->text[*at] = '\0';
}

static void put_number(struct store_path *path, size_t *at, uint32_t number)
{
    char digits[11];
    size_t first = sizeof(digits) - 1;

    digits[first] = '\0';
    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0 || sizeof(digits) - 1 - first < 6);
    put(path, at, digits + first);
}

static void put_folder(struct store_path *path, size_t *at, const struct store *s,
                       const char *folder)
{
    put(path, at, s->directory);
    put(path, at, "/");
    put(path, at, folder);
}

static void put_name(struct store_path *path, size_t *at, const char *name)
{
    put(path, at, name[0] == '\0' ? "" : "/");
    put(path, at, name);
}

static struct store_path path_of(const struct store *s, const char *folder, const char *name)
{
    struct store_path path;
    size_t at = 0;

    put_folder(&path, &at, s, folder);
    put_name(&path, &at, name);
    return path;
}

struct store_path store_folder_path(const struct store *s, const char *name)
{
    return path_of(s, name, "");
}

struct store_path store_numbered_path(const struct store *s, const char *folder, uint32_t directory,
                                      const char *name)
{
    struct store_path path;
    size_t at = 0;

    put_folder(&path, &at, s, folder);
    put(&path, &at, "/");
    put_number(&path, &at, directory);
    put_name(&path, &at, name);
    return path;
}

struct store_path store_queue_path(const struct store *s, uint32_t directory, const char *name)
{
    return store_numbered_path(s, "queue", directory, name);
}

static struct store_path path_in(const struct store *s, const struct store_place *place,
                                 const char *name)
{
    switch (place->folder) {
    case STORE_HOLD:
        return path_of(s, "hold", name);
    case STORE_BAD:
        return path_of(s, "bad", name);
    case STORE_QUEUE:
        break;
    }
    return store_queue_path(s, place->directory, name);
}

struct store_path store_message_path(const struct store *s, const struct store_place *place)
{
    return path_in(s, place, place->id.text);
}

struct store_path store_new_path(const struct store *s, const struct store_place *place)
{
    char name[ID_LENGTH + sizeof(STORE_NEW)];

    snprintf(name, sizeof(name), "%s%s", place->id.text, STORE_NEW);
    return path_in(s, place, name);
}

struct store_path store_mark_path(const struct store *s, const char *name)
{
    return path_of(s, "running", name);
}

struct store_path store_parent_path(const struct store *s, const struct store_place *place)
{
    return path_in(s, place, "");
}

/* ---- directories of our own ---- */

static void close_own(struct store_own *own)
{
    if (own->fd >= 0)
        disk_close(own->fd);
    own->fd = -1;
}

/* A stray file has the name, or another process has removed the directory while we were making it:
 * the next number will do. Not where the folder itself cannot be had: then no number would. */
static int why_not_made(const struct store *s, const char *folder)
{
    int error = disk_make_directories(store_folder_path(s, folder).text);

    return error == 0 ? -EEXIST : error;
}

int store_make_own(const struct store *s, const char *folder, uint32_t number,
                   struct store_own *own_out)
{
    struct store_path directory = store_numbered_path(s, folder, number, "");
    struct store_path owner = store_numbered_path(s, folder, number, STORE_OWNER);
    struct disk_facts facts;
    int fd, error = disk_make_directories(directory.text);

    if (error == -ENOTDIR || error == -ENOENT)
        return why_not_made(s, folder);
    if (error != 0)
        return error;
    fd = disk_create(owner.text);
    if (fd >= 0) { /* nothing open for writing: the file system can be remounted */
        disk_close(fd);
        fd = disk_open_read(owner.text);
    }
    if (fd < 0)
        return fd == -ENOENT ? -EEXIST : fd;
    error = disk_lock(fd);
    if (error == 0)
        error = disk_facts_of(fd, &facts);
    if (error == -EAGAIN || (error == 0 && facts.links == 0))
        error = -EEXIST; /* somebody came between, thinks that nobody owns it, and removes it */
    if (error == 0)      /* it may be there since a start that was cut short before this */
        error = disk_sync_directory(store_folder_path(s, folder).text);
    if (error == 0)
        *own_out = (struct store_own){.number = number, .fd = fd};
    else
        disk_close(fd);
    return error;
}

int store_make_next(const struct store *s, const char *folder, uint32_t behind,
                    struct store_own *own_out)
{
    int error = -EEXIST;

    for (uint32_t i = 0; i < STORE_DIRECTORY_MAX && error == -EEXIST; i++) {
        behind = behind % STORE_DIRECTORY_MAX + 1;
        error = store_make_own(s, folder, behind, own_out);
    }
    return error;
}

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

    s->job.runs = false;
    s->next = s->job.made;
}

static void start_make(struct store *s)
{
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
        close_own(&s->current);
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
    close_own(own);
    store_remove_directory(s, own->number);
}

void store_free(struct store **store)
{
    struct store *s = *store;

    *store = NULL;
    if (s == NULL)
        return;
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
