/* SPDX-License-Identifier: BSD-2-Clause */
/* Where drafts are made, which become messages: files without names, or, if the file system knows
 * no such files, files in a directory of tmp/ that is this process's own. */
#include <errno.h>

#include "proxy/io/disk.h"
#include "spool/store_private.h"

#define FOLDER "tmp"

/* ---- what dead processes left ---- */

struct cleaning {
    const struct store *store;
    uint32_t number;
    uint32_t highest;
};

static bool remove_draft(void *owner, const char *name)
{
    const struct cleaning *cleaning = owner;

    if (strcmp(name, STORE_OWNER) != 0)
        disk_unlink(store_numbered_path(cleaning->store, FOLDER, cleaning->number, name).text);
    return true;
}

/* The owner's file goes last, so that what is left when this is cut short is found again. */
static void remove_all(struct cleaning *cleaning)
{
    struct store_path path = store_numbered_path(cleaning->store, FOLDER, cleaning->number, "");

    disk_list(path.text, remove_draft, cleaning);
    disk_unlink(store_numbered_path(cleaning->store, FOLDER, cleaning->number, STORE_OWNER).text);
    disk_remove_directory(path.text);
}

/* Cleans a directory whose owner is dead. If the owner's file is missing, which a power cut may
 * have taken, we make the directory ours first: another process may be about to do so. */
static void clean(struct cleaning *cleaning)
{
    struct store_own own = {.number = cleaning->number};

    own.fd = disk_open_read(
        store_numbered_path(cleaning->store, FOLDER, cleaning->number, STORE_OWNER).text);
    if (own.fd == -ENOENT && store_make_own(cleaning->store, FOLDER, cleaning->number, &own) != 0)
        return;
    if (own.fd < 0)
        return;
    if (disk_lock(own.fd) == 0)
        remove_all(cleaning);
    disk_close(own.fd);
}

static bool see(void *owner, const char *name)
{
    struct cleaning *cleaning = owner;

    cleaning->number = store_directory_number(name);
    if (cleaning->number == 0)
        return true;
    if (cleaning->number > cleaning->highest)
        cleaning->highest = cleaning->number;
    clean(cleaning);
    return true;
}

/* ---- what can be had here ---- */

static int try_unnamed(const struct store *store)
{
    int fd = disk_open_unnamed(store->directory);

    if (fd < 0)
        return fd;
    disk_close(fd);
    return 0;
}

int store_open_drafts(struct store *store)
{
    struct cleaning cleaning = {.store = store};
    int error = disk_list(store_folder_path(store, FOLDER).text, see, &cleaning);

    if (error != 0 && error != -ENOENT)
        return error;
    store->tmp.drafts = (struct draft_folder){.directory = store->directory};
    error = try_unnamed(store);
    if (error != -EOPNOTSUPP)
        return error;
    error = store_make_next(store, FOLDER, cleaning.highest, &store->tmp.own);
    if (error != 0)
        return error;
    store->tmp.path = store_numbered_path(store, FOLDER, store->tmp.own.number, "");
    store->tmp.drafts = (struct draft_folder){.directory = store->tmp.path.text, .has_names = true};
    return 0;
}

void store_close_drafts(struct store *store)
{
    struct cleaning cleaning = {.store = store, .number = store->tmp.own.number};

    if (store->tmp.own.fd < 0)
        return;
    remove_all(&cleaning);
    disk_close(store->tmp.own.fd);
    store->tmp.own.fd = -1;
}
