/* SPDX-License-Identifier: BSD-2-Clause */
/* What lies in the three folders, and the end of directories that are empty. */
#include "spool/store.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/disk.h"
#include "spool/store_private.h"

static bool begins_with_id(const char *name)
{
    return strspn(name, "0123456789BCDFGHJKLMNPQRSTVWXYZ") == ID_LENGTH;
}

static bool is_id(const char *name)
{
    return begins_with_id(name) && name[ID_LENGTH] == '\0';
}

/* What a rewrite puts beside its message. */
static bool is_new_name(const char *name)
{
    return begins_with_id(name) && strcmp(name + ID_LENGTH, STORE_NEW) == 0;
}

/* What is put beside the messages: by the runner, and by the process that fills the directory. */
static const char *const index_names[] = {STORE_INDEX, STORE_NEW_INDEX};

static bool is_index_name(const char *name)
{
    return strcmp(name, STORE_INDEX) == 0 || strcmp(name, STORE_NEW_INDEX) == 0;
}

/* ---- empty directories ---- */

struct content {
    bool has_owner, has_others;
};

static bool look_for_content(void *owner, const char *name)
{
    struct content *c = owner;

    if (strcmp(name, STORE_OWNER) == 0)
        c->has_owner = true;
    else if (!is_index_name(name))
        c->has_others = true;
    return !c->has_others;
}

/* What left the directory a moment ago, or when a process died, may not be synced: after a power
 * cut it would be there again, or, if it was moved, be lost with the directory. */
static int sync_what_left(const struct store *s, uint32_t directory)
{
    int error = disk_sync_directory(store_queue_path(s, directory, "").text);

    if (error == 0)
        error = disk_sync_directory(store_folder_path(s, "hold").text);
    return error == 0 ? disk_sync_directory(store_folder_path(s, "bad").text) : error;
}

/* `is_locked`: the lock of its owner is held, so nobody fills it, and nobody begins to. Where there
 * is no such file, one that appears meanwhile is somebody's who begins. */
static int remove_if_empty(const struct store *s, uint32_t directory, bool is_locked)
{
    struct store_path path = store_queue_path(s, directory, "");
    struct content content = {.has_owner = false};
    int error = disk_list(path.text, look_for_content, &content);

    if (error != 0 || content.has_others || content.has_owner != is_locked)
        return error == -ENOENT ? 0 : error;
    error = sync_what_left(s, directory);
    for (size_t i = 0; i < ARRAY_LENGTH(index_names) && (error == 0 || error == -ENOENT); i++)
        error = disk_unlink(store_queue_path(s, directory, index_names[i]).text);
    if (is_locked && (error == 0 || error == -ENOENT))
        error = disk_unlink(store_queue_path(s, directory, STORE_OWNER).text);
    if (error == 0 || error == -ENOENT)
        error = disk_remove_directory(path.text);
    return error == -ENOTEMPTY || error == -ENOENT ? 0 : error;
}

int store_remove_directory(const struct store *s, uint32_t directory)
{
    struct disk_facts facts;
    int fd = disk_open_read(store_queue_path(s, directory, STORE_OWNER).text);

    if (fd == -ENOENT)
        return remove_if_empty(s, directory, false);
    if (fd < 0)
        return fd;
    int error = disk_lock(fd);
    if (error == 0)
        error = disk_facts_of(fd, &facts);
    if (error == 0 && facts.links != 0) /* else another one was first */
        error = remove_if_empty(s, directory, true);
    disk_close(fd);
    return error == -EAGAIN ? 0 : error;
}

int store_sync(const struct store *s, uint32_t directory, bool may_remove)
{
    int error = disk_sync_directory(store_queue_path(s, directory, "").text);

    if (error == -ENOENT)
        return 0;
    return error == 0 && may_remove ? store_remove_directory(s, directory) : error;
}

/* ---- what rewrites leave ---- */

/* One that is at work holds the lock of its new file before this has a name. */
static void remove_unless_used(const char *path)
{
    int fd = disk_open_read(path);

    if (fd < 0)
        return;
    if (disk_lock(fd) == 0 && store_compare_name(fd, path) == 0)
        disk_unlink(path);
    disk_close(fd);
}

/* ---- listing ---- */

/* Names of one directory, which are gathered before fn is asked: it may change what is there. */
struct names {
    char (*at)[ID_LENGTH + 1];
    size_t count, capacity;
    int error;
};

struct listing {
    const struct store *store;
    bool (*fn)(void *owner, const struct store_found *found);
    void *owner;
    struct store_place place; /* of the directory */
    struct names names;
    bool is_folder_of_directories; /* queue/ itself */
    bool is_whole;                 /* the directory was read to its end */
    bool goes_on;
};

static bool tell(struct listing *l, const struct store_found *found)
{
    if (l->goes_on)
        l->goes_on = l->fn(l->owner, found);
    return l->goes_on;
}

/* The directory that is being listed. */
static struct store_path path_of_listed(const struct listing *l)
{
    return l->is_folder_of_directories ? store_folder_path(l->store, "queue")
                                       : store_parent_path(l->store, &l->place);
}

static bool tell_stray(struct listing *l, const char *name)
{
    struct store_path parent = path_of_listed(l);
    char path[sizeof(parent.text) + 256];

    snprintf(path, sizeof(path), "%s/%s", parent.text, name);
    return tell(l, &(struct store_found){.place = l->place, .stray = path});
}

static bool keep_name(struct names *n, const char *name)
{
    void *grown = mem_make_room(n->at, n->count, &n->capacity, sizeof(*n->at));

    if (grown == NULL) {
        n->error = ERR_MEMORY;
        return false;
    }
    assert(strlen(name) < sizeof(*n->at));
    n->at = grown;
    memcpy(n->at[n->count++], name, strlen(name) + 1);
    return true;
}

static bool on_name(void *owner, const char *name)
{
    struct listing *l = owner;

    if (!l->is_folder_of_directories && is_new_name(name)) {
        struct store_place place = l->place;
        memcpy(place.id.text, name, ID_LENGTH);
        remove_unless_used(store_new_path(l->store, &place).text);
        return true;
    }
    if (l->is_folder_of_directories ? store_directory_number(name) != 0 : is_id(name))
        return keep_name(&l->names, name);
    if (l->place.folder == STORE_QUEUE && !l->is_folder_of_directories &&
        (is_index_name(name) || strcmp(name, STORE_OWNER) == 0))
        return true;
    return tell_stray(l, name);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Fills l->names, sorted; the caller frees them. Where the directory cannot be read, that is told,
 * and l->names has what could be. 0 or ERR_MEMORY. */
static int gather(struct listing *l)
{
    struct store_path path = path_of_listed(l);

    l->names = (struct names){0};
    int error = disk_list(path.text, on_name, l);
    if (error == 0)
        error = l->names.error;
    if (l->names.count != 0)
        qsort(l->names.at, l->names.count, sizeof(*l->names.at), compare_names);
    if (error == 0 || error == ERR_MEMORY)
        return error;
    l->is_whole = false;
    if (error != -ENOENT || l->is_folder_of_directories) /* else removed meanwhile */
        tell(l, &(struct store_found){
                    .place = l->place, .stray = path.text, .error = error == -ENOTDIR ? 0 : error});
    return 0;
}

static int list_messages(struct listing *l)
{
    struct store_found found = {.place = l->place};

    l->is_whole = true;
    int error = gather(l);
    for (size_t i = 0; error == 0 && l->goes_on && i < l->names.count; i++) {
        memcpy(found.place.id.text, l->names.at[i], ID_LENGTH + 1);
        tell(l, &found);
    }
    if (error == 0 && l->is_whole && l->names.count == 0 && l->goes_on &&
        l->place.folder == STORE_QUEUE)
        store_remove_directory(l->store, l->place.directory);
    mem_free(l->names.at);
    return error;
}

int store_list_directory(const struct store *s, uint32_t directory,
                         bool (*fn)(void *owner, const struct store_found *found), void *owner)
{
    struct listing l = {.store = s, .fn = fn, .owner = owner, .goes_on = true};

    l.place = (struct store_place){.directory = directory, .folder = STORE_QUEUE};
    return list_messages(&l);
}

static int list_queue(struct listing *l)
{
    l->is_folder_of_directories = true;
    int error = gather(l);
    struct names directories = l->names;

    l->is_folder_of_directories = false;
    for (size_t i = 0; error == 0 && l->goes_on && i < directories.count; i++) {
        l->place.directory = store_directory_number(directories.at[i]);
        error = list_messages(l);
    }
    mem_free(directories.at);
    return error;
}

int store_list(const struct store *s, bool (*fn)(void *owner, const struct store_found *found),
               void *owner)
{
    struct listing l = {.store = s, .fn = fn, .owner = owner, .goes_on = true};
    int error = list_queue(&l);

    l.place = (struct store_place){.folder = STORE_HOLD};
    if (error == 0 && l.goes_on)
        error = list_messages(&l);
    l.place.folder = STORE_BAD;
    if (error == 0 && l.goes_on)
        error = list_messages(&l);
    return error;
}
