/* SPDX-License-Identifier: BSD-2-Clause */
/* Where files are made that become messages: without names, or, on a file system that knows no such
 * files, in a directory of tmp/ that is this process's own. */
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
    const struct cleaning *c = owner;

    if (strcmp(name, STORE_OWNER) != 0)
        disk_unlink(store_numbered_path(c->store, FOLDER, c->number, name).text);
    return true;
}

/* The owner's file goes last: what is left when this is cut short is found again. */
static void remove_all(struct cleaning *c)
{
    struct store_path path = store_numbered_path(c->store, FOLDER, c->number, "");

    disk_list(path.text, remove_draft, c);
    disk_unlink(store_numbered_path(c->store, FOLDER, c->number, STORE_OWNER).text);
    disk_remove_directory(path.text);
}

/* Where its owner lives nothing happens. Without that file, which a power cut may have taken, it
 * becomes ours first: somebody may be about to make it his. */
static void clean(struct cleaning *c)
{
    struct store_own own = {.number = c->number};

    own.fd = disk_open_read(store_numbered_path(c->store, FOLDER, c->number, STORE_OWNER).text);
    if (own.fd == -ENOENT && store_make_own(c->store, FOLDER, c->number, &own) != 0)
        return;
    if (own.fd < 0)
        return;
    if (disk_lock(own.fd) == 0)
        remove_all(c);
    disk_close(own.fd);
}

static bool see(void *owner, const char *name)
{
    struct cleaning *c = owner;

    c->number = store_directory_number(name);
    if (c->number == 0)
        return true;
    if (c->number > c->highest)
        c->highest = c->number;
    clean(c);
    return true;
}

/* ---- what can be had here ---- */

static int try_unnamed(const struct store *s)
{
    int fd = disk_open_unnamed(s->directory);

    if (fd < 0)
        return fd;
    disk_close(fd);
    return 0;
}

int store_open_drafts(struct store *s)
{
    struct cleaning cleaning = {.store = s};
    int error = disk_list(store_folder_path(s, FOLDER).text, see, &cleaning);

    if (error != 0 && error != -ENOENT)
        return error;
    s->tmp.drafts = (struct draft_folder){.directory = s->directory};
    error = try_unnamed(s);
    if (error != -EOPNOTSUPP)
        return error;
    error = store_make_next(s, FOLDER, cleaning.highest, &s->tmp.own);
    if (error != 0)
        return error;
    s->tmp.path = store_numbered_path(s, FOLDER, s->tmp.own.number, "");
    s->tmp.drafts = (struct draft_folder){.directory = s->tmp.path.text, .has_names = true};
    return 0;
}

void store_close_drafts(struct store *s)
{
    struct cleaning cleaning = {.store = s, .number = s->tmp.own.number};

    if (s->tmp.own.fd < 0)
        return;
    remove_all(&cleaning);
    disk_close(s->tmp.own.fd);
    s->tmp.own.fd = -1;
}
