/* SPDX-License-Identifier: BSD-2-Clause */
/* The names of the spool's files, and what has them. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "proxy/io/disk.h"
#include "spool/store_private.h"

/* ---- paths ---- */

/* What does not fit is cut off. The spool's own path was checked; a name found in the spool may be
 * longer. */
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
        assert(first != 0);
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0 || sizeof(digits) - 1 - first < 6);
    put(path, at, digits + first);
}

static void put_folder(struct store_path *path, size_t *at, const struct store *store,
                       const char *folder)
{
    put(path, at, store->directory);
    put(path, at, "/");
    put(path, at, folder);
}

static void put_name(struct store_path *path, size_t *at, const char *name)
{
    put(path, at, name[0] == '\0' ? "" : "/");
    put(path, at, name);
}

static struct store_path path_of(const struct store *store, const char *folder, const char *name)
{
    struct store_path path;
    size_t at = 0;

    put_folder(&path, &at, store, folder);
    put_name(&path, &at, name);
    return path;
}

struct store_path store_folder_path(const struct store *store, const char *name)
{
    return path_of(store, name, "");
}

struct store_path store_numbered_path(const struct store *store, const char *folder,
                                      uint32_t directory, const char *name)
{
    struct store_path path;
    size_t at = 0;

    put_folder(&path, &at, store, folder);
    put(&path, &at, "/");
    put_number(&path, &at, directory);
    put_name(&path, &at, name);
    return path;
}

struct store_path store_queue_path(const struct store *store, uint32_t directory, const char *name)
{
    return store_numbered_path(store, "queue", directory, name);
}

static struct store_path path_in(const struct store *store, const struct store_place *place,
                                 const char *name)
{
    switch (place->folder) {
    case STORE_HOLD:
        return path_of(store, "hold", name);
    case STORE_BAD:
        return path_of(store, "bad", name);
    case STORE_QUEUE:
        break;
    }
    return store_queue_path(store, place->directory, name);
}

struct store_path store_message_path(const struct store *store, const struct store_place *place)
{
    return path_in(store, place, place->id.text);
}

struct store_path store_new_path(const struct store *store, const struct store_place *place)
{
    char name[ID_LENGTH + sizeof(STORE_NEW)];

    snprintf(name, sizeof(name), "%s%s", place->id.text, STORE_NEW);
    return path_in(store, place, name);
}

struct store_path store_mark_path(const struct store *store, const char *name)
{
    return path_of(store, "running", name);
}

struct store_path store_parent_path(const struct store *store, const struct store_place *place)
{
    return path_in(store, place, "");
}

uint32_t store_directory_number(const char *name)
{
    uint32_t number = 0;

    for (int i = 0; i < 6; i++) {
        if (!byte_is_digit((uint8_t)name[i]))
            return 0;
        number = number * 10 + (uint32_t)(name[i] - '0');
    }
    return name[6] == '\0' ? number : 0;
}

/* ---- what has a name ---- */

int store_open_parent(const struct store *store, const struct store_place *place)
{
    struct store_path path = store_parent_path(store, place);
    int fd = disk_open_directory(path.text);

    if (fd != -ENOENT)
        return fd;
    int error = disk_make_directories(path.text);
    return error != 0 ? error : disk_open_directory(path.text);
}

int store_compare_name(int fd, const char *path)
{
    struct disk_facts facts, named;
    int error = disk_facts_of(fd, &facts);

    if (error == 0)
        error = disk_facts_of_path(path, &named);
    if (error != 0)
        return error;
    return facts.number == named.number ? 0 : -ESTALE;
}

int store_sync_folder(const struct store *store, enum store_folder folder)
{
    return disk_sync_directory(
        store_parent_path(store, &(struct store_place){.folder = folder}).text);
}
