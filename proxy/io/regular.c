/* SPDX-License-Identifier: BSD-2-Clause */
/* A FIFO would be waited for, and a device may have no end: neither is opened. */
#include "proxy/io/regular.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* NULL: a regular file. */
static const char *odd_kind(const struct stat *found)
{
    switch (found->st_mode & S_IFMT) {
    case S_IFREG:
        return NULL;
    case S_IFDIR:
        return "a directory";
    case S_IFIFO:
        return "a FIFO";
    case S_IFSOCK:
        return "a socket";
    }
    return "a device";
}

static int refuse(char why[REGULAR_WHY_MAX], int error)
{
    snprintf(why, REGULAR_WHY_MAX, "cannot be read: %s", strerror(error));
    return -1;
}

int regular_open(struct bytes path, struct stat *found_out, char why[REGULAR_WHY_MAX])
{
    char name[PATH_MAX];

    if (path.len >= sizeof(name))
        return refuse(why, ENAMETOOLONG);
    memcpy(name, path.at, path.len);
    name[path.len] = '\0';
    if (stat(name, found_out) != 0)
        return refuse(why, errno);
    const char *kind = odd_kind(found_out);
    if (kind != NULL) {
        snprintf(why, REGULAR_WHY_MAX, "is %s, and must be a regular file", kind);
        return -1;
    }
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    return fd < 0 ? refuse(why, errno) : fd;
}
