/* SPDX-License-Identifier: BSD-2-Clause */
/* Files that get their name when they are complete. The name until then is made of the descriptor,
 * which is nobody else's as long as it is open: so a draft is a descriptor and nothing more. */
#include "proxy/io/draft.h"

#include <errno.h>
#include <stdio.h>

#include "proxy/base/bytes.h"
#include "proxy/io/disk.h"

#define PATH_ROOM 640
#define NEW_MAX   1000 /* that may be in the making at the same time, or were left by failures */

struct path {
    char text[PATH_ROOM];
};

static struct path path_of(const struct draft_place *place, const char *prefix, int number)
{
    struct path path;

    snprintf(path.text, sizeof(path.text), "%s/%s%d", place->directory, prefix, number);
    return path;
}

/* Of all that are made at the same time each takes another name. */
static int create(const struct draft_place *place, struct path *path_out)
{
    int fd = -EEXIST;

    for (int i = 0; i < NEW_MAX && fd == -EEXIST; i++) {
        *path_out = path_of(place, "new", i);
        fd = disk_create(path_out->text);
    }
    return fd;
}

static int open_named(const struct draft_place *place)
{
    struct path made;
    int fd = create(place, &made);

    if (fd < 0)
        return fd;
    /* Over what could not be removed when the descriptor was another file's. */
    int error = disk_replace(made.text, path_of(place, "", fd).text);
    if (error == 0)
        return fd;
    disk_unlink(made.text);
    disk_close(fd);
    return error;
}

int draft_open(const struct draft_place *place)
{
    return place->has_names ? open_named(place) : disk_open_unnamed(place->directory);
}

int draft_link(const struct draft_place *place, int fd, const char *path)
{
    return place->has_names ? disk_rename(path_of(place, "", fd).text, path)
                            : disk_link_unnamed(fd, path);
}

void draft_close(const struct draft_place *place, int fd)
{
    if (place->has_names)
        disk_unlink(path_of(place, "", fd).text); /* -ENOENT: it was linked */
    disk_close(fd);
}
