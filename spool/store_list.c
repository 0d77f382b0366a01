/* SPDX-License-Identifier: BSD-2-Clause */
/* Lists the three folders, and removes empty directories. */
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

/* What the runner puts beside the messages. */
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
    struct content *content = owner;

    if (strcmp(name, STORE_OWNER) == 0)
        content->has_owner = true;
    else if (!is_index_name(name))
        content->has_others = true;
    return !content->has_others;
}

/* A name that left the directory a moment ago, or when a process died, may not be synced. After a
 * power cut its message would be back, or, if it was moved, be lost with the directory. */
static int sync_what_left(const struct store *store, uint32_t directory)
{
    int error = disk_sync_directory(store_queue_path(store, directory, "").text);

    if (error == 0)
        error = disk_sync_directory(store_folder_path(store, "hold").text);
    return error == 0 ? disk_sync_directory(store_folder_path(store, "bad").text) : error;
}

/* `is_locked`: we hold the lock of the owner's file, so nobody fills the directory or begins to. If
 * it has no such file, one that appears meanwhile is that of a process that begins to fill it. */
static int remove_if_empty(const struct store *store, uint32_t directory, bool is_locked)
{
    struct store_path path = store_queue_path(store, directory, "");
    struct content content = {.has_owner = false};
    int error = disk_list(path.text, look_for_content, &content);

    if (error != 0 || content.has_others || content.has_owner != is_locked)
        return error == -ENOENT ? 0 : error;
    error = sync_what_left(store, directory);
    for (size_t i = 0; i < ARRAY_LENGTH(index_names) && (error == 0 || error == -ENOENT); i++)
        error = disk_unlink(store_queue_path(store, directory, index_names[i]).text);
    if (is_locked && (error == 0 || error == -ENOENT))
        error = disk_unlink(store_queue_path(store, directory, STORE_OWNER).text);
    if (error == 0 || error == -ENOENT)
        error = disk_remove_directory(path.text);
    return error == -ENOTEMPTY || error == -ENOENT ? 0 : error;
}

int store_remove_directory(const struct store *store, uint32_t directory)
{
    struct disk_facts facts;
    int fd = disk_open_read(store_queue_path(store, directory, STORE_OWNER).text);

    if (fd == -ENOENT)
        return remove_if_empty(store, directory, false);
    if (fd < 0)
        return fd;
    int error = disk_lock(fd);
    if (error == 0)
        error = disk_facts_of(fd, &facts);
    if (error == 0 && facts.links != 0) /* else another process was first */
        error = remove_if_empty(store, directory, true);
    disk_close(fd);
    return error == -EAGAIN ? 0 : error;
}

int store_sync(const struct store *store, uint32_t directory)
{
    int error = disk_sync_directory(store_queue_path(store, directory, "").text);

    if (error == -ENOENT)
        return 0;
    return error == 0 ? store_remove_directory(store, directory) : error;
}

/* ---- what rewrites leave ---- */

/* A rewrite that is at work has locked its new file before the file gets a name. */
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

/* Names of one directory. All are gathered before `fn` is called, which may change the
 * directory. */
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

static bool tell(struct listing *listing, const struct store_found *found)
{
    if (listing->goes_on)
        listing->goes_on = listing->fn(listing->owner, found);
    return listing->goes_on;
}

/* The directory that is being listed. */
static struct store_path path_of_listed(const struct listing *listing)
{
    return listing->is_folder_of_directories ? store_folder_path(listing->store, "queue")
                                             : store_parent_path(listing->store, &listing->place);
}

static bool tell_stray(struct listing *listing, const char *name)
{
    struct store_path parent = path_of_listed(listing);
    char path[sizeof(parent.text) + 256];

    snprintf(path, sizeof(path), "%s/%s", parent.text, name);
    return tell(listing, &(struct store_found){.place = listing->place, .stray = path});
}

static bool keep_name(struct names *names, const char *name)
{
    void *grown = mem_make_room(names->at, names->count, &names->capacity, sizeof(*names->at));

    if (grown == NULL) {
        names->error = ERR_MEMORY;
        return false;
    }
    assert(strlen(name) < sizeof(*names->at));
    names->at = grown;
    memcpy(names->at[names->count++], name, strlen(name) + 1);
    return true;
}

static bool on_name(void *owner, const char *name)
{
    struct listing *listing = owner;

    if (!listing->is_folder_of_directories && is_new_name(name)) {
        struct store_place place = listing->place;
        memcpy(place.id.text, name, ID_LENGTH);
        remove_unless_used(store_new_path(listing->store, &place).text);
        return true;
    }
    if (listing->is_folder_of_directories ? store_directory_number(name) != 0 : is_id(name))
        return keep_name(&listing->names, name);
    if (listing->place.folder == STORE_QUEUE && !listing->is_folder_of_directories &&
        (is_index_name(name) || strcmp(name, STORE_OWNER) == 0))
        return true;
    return tell_stray(listing, name);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Fills l->names, sorted; the caller frees them. A directory that cannot be read to its end is
 * told, and l->names has what could be read. 0 or ERR_MEMORY. */
static int gather(struct listing *listing)
{
    struct store_path path = path_of_listed(listing);

    listing->names = (struct names){0};
    int error = disk_list(path.text, on_name, listing);
    if (error == 0)
        error = listing->names.error;
    if (listing->names.count != 0)
        qsort(listing->names.at, listing->names.count, sizeof(*listing->names.at), compare_names);
    if (error == 0 || error == ERR_MEMORY)
        return error;
    listing->is_whole = false;
    if (error != -ENOENT || listing->is_folder_of_directories) /* else it was removed meanwhile */
        tell(listing, &(struct store_found){.place = listing->place,
                                            .stray = path.text,
                                            .error = error == -ENOTDIR ? 0 : error});
    return 0;
}

static int list_messages(struct listing *listing)
{
    struct store_found found = {.place = listing->place};

    listing->is_whole = true;
    int error = gather(listing);
    for (size_t i = 0; error == 0 && listing->goes_on && i < listing->names.count; i++) {
        memcpy(found.place.id.text, listing->names.at[i], ID_LENGTH + 1);
        tell(listing, &found);
    }
    if (error == 0 && listing->is_whole && listing->names.count == 0 && listing->goes_on &&
        listing->place.folder == STORE_QUEUE)
        store_remove_directory(listing->store, listing->place.directory);
    mem_free(listing->names.at);
    return error;
}

int store_list_directory(const struct store *store, uint32_t directory,
                         bool (*fn)(void *owner, const struct store_found *found), void *owner)
{
    struct listing listing = {.store = store, .fn = fn, .owner = owner, .goes_on = true};

    listing.place = (struct store_place){.directory = directory, .folder = STORE_QUEUE};
    return list_messages(&listing);
}

static int list_queue(struct listing *listing)
{
    listing->is_folder_of_directories = true;
    int error = gather(listing);
    struct names directories = listing->names;

    listing->is_folder_of_directories = false;
    for (size_t i = 0; error == 0 && listing->goes_on && i < directories.count; i++) {
        listing->place.directory = store_directory_number(directories.at[i]);
        error = list_messages(listing);
    }
    mem_free(directories.at);
    return error;
}

int store_list(const struct store *store, bool (*fn)(void *owner, const struct store_found *found),
               void *owner)
{
    struct listing listing = {.store = store, .fn = fn, .owner = owner, .goes_on = true};
    int error = list_queue(&listing);

    listing.place = (struct store_place){.folder = STORE_HOLD};
    if (error == 0 && listing.goes_on)
        error = list_messages(&listing);
    listing.place.folder = STORE_BAD;
    if (error == 0 && listing.goes_on)
        error = list_messages(&listing);
    return error;
}
