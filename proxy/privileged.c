/* SPDX-License-Identifier: BSD-2-Clause */
/* Paths are walked with descriptors, so that what was looked at is what is used. */
#include "proxy/privileged.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

static int complain(int code, const char *what, struct bytes name, const char *why)
{
    fprintf(stderr, "postern: %s %.*s: %s\n", what, (int)name.len, (const char *)name.at, why);
    return code;
}

/* ---- the spool directory ---- */

#define WALK       (O_PATH | O_DIRECTORY | O_CLOEXEC)
#define LOCK_TRIES 20 /* within a second */

/* A directory of mode 0700 below `at`, the account's; the descriptor, or -errno. */
static int make_directory(int at, const char *name, const struct config_account *account)
{
    int parent, fd;

    if (mkdirat(at, name, 0700) != 0)
        return -errno;
    fd = openat(at, name, WALK | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    parent = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0 || fsync(parent) != 0 ||
        (account->is_set && fchownat(fd, "", account->user, account->group, AT_EMPTY_PATH) != 0)) {
        int error = -errno;
        close(fd);
        fd = error;
    }
    if (parent >= 0)
        close(parent);
    return fd;
}

/* A symbolic link is followed if it is root's or the account's own: nobody else may say where we
 * make something. */
static int open_directory(int at, const char *name, const struct config_account *account)
{
    int fd = openat(at, name, WALK | O_NOFOLLOW);
    struct stat link;

    if (fd >= 0 || (errno != ELOOP && errno != ENOTDIR))
        return fd < 0 ? -errno : fd;
    if (fstatat(at, name, &link, AT_SYMLINK_NOFOLLOW) != 0)
        return -errno;
    if (link.st_uid != 0 && link.st_uid != geteuid() &&
        !(account->is_set && link.st_uid == account->user))
        return -ELOOP;
    fd = openat(at, name, WALK);
    return fd < 0 ? -errno : fd;
}

static bool may_make_in(int directory)
{
    return faccessat(directory, ".", W_OK | X_OK, AT_EACCESS) == 0;
}

/* Goes down `path`, which is cut up, and makes what is missing. Where it only looks, -ENOENT says
 * that it could be made. The descriptor, or -errno. */
static int walk(char *path, const struct config_account *account, bool only_looks)
{
    char *rest = path, *name;
    int at = open(path[0] == '/' ? "/" : ".", WALK);

    while (at >= 0 && (name = strtok_r(rest, "/", &rest)) != NULL) {
        int next = open_directory(at, name, account);

        if (next == -ENOENT && !only_looks)
            next = make_directory(at, name, account);
        else if (next == -ENOENT && !may_make_in(at))
            next = -errno;
        close(at);
        at = next;
    }
    return at;
}

/* NULL: fine. */
static const char *why_not_ours(int directory, const struct config_account *account)
{
    uid_t user = account->is_set ? account->user : geteuid();
    struct stat found;

    if (fstat(directory, &found) != 0)
        return strerror(errno);
    if (found.st_uid != user)
        return "it belongs to another account than user-id; give it to that one (chown)";
    if ((found.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return "others may write to it; forbid that (chmod go-w)";
    return NULL;
}

/* The spool directory, made where it was missing unless it is only looked for; a descriptor, or
 * -errno. */
static int open_spool(const struct config *config, bool only_looks)
{
    struct bytes name = config->core.spool_directory;
    char path[PATH_MAX];

    if (name.len >= sizeof(path))
        return -ENAMETOOLONG;
    snprintf(path, sizeof(path), "%.*s", (int)name.len, (const char *)name.at);
    return walk(path, &config->account, only_looks);
}

const char *privileged_judge_spool(const struct config *config, bool *exists_out)
{
    int directory = open_spool(config, true);
    const char *why;

    *exists_out = directory >= 0;
    if (directory < 0)
        return directory == -ENOENT ? NULL : strerror(-directory);
    why = why_not_ours(directory, &config->account);
    close(directory);
    return why;
}

int privileged_make_spool(const struct config *config)
{
    struct bytes name = config->core.spool_directory;
    int directory = open_spool(config, false);
    const char *why;

    if (directory < 0)
        return complain(EX_CANTCREAT, "cannot make spool directory", name, strerror(-directory));
    why = why_not_ours(directory, &config->account);
    close(directory);
    return why == NULL ? 0 : complain(EX_CANTCREAT, "cannot use spool directory", name, why);
}

/* Who has locked it, by the kernel's list; 0: not to be seen from here. */
static long holder_of(int directory)
{
    FILE *locks = fopen("/proc/locks", "re");
    struct stat ours;
    char line[256];
    long holder = 0;

    if (locks == NULL || fstat(directory, &ours) != 0)
        return 0;
    while (holder == 0 && fgets(line, sizeof(line), locks) != NULL) {
        unsigned long inode;
        long pid;
        if (sscanf(line, "%*u: FLOCK ADVISORY WRITE %ld %*x:%*x:%lu", &pid, &inode) == 2 &&
            inode == ours.st_ino)
            holder = pid;
    }
    fclose(locks);
    return holder;
}

/* Those that a server has forked end soon after it, and hold the lock until then. */
static bool is_locked(int fd)
{
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        if (errno != EWOULDBLOCK)
            return false;
        usleep(1000000 / LOCK_TRIES);
    }
    errno = EWOULDBLOCK;
    return false;
}

bool privileged_is_spool_locked(const struct config *config)
{
    int directory = open_spool(config, true);
    int fd = directory < 0 ? -1 : openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool is_locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;

    if (directory >= 0)
        close(directory);
    if (fd >= 0)
        close(fd);
    return is_locked;
}

int privileged_lock_spool(const struct config *config)
{
    struct bytes name = config->core.spool_directory;
    int directory = open_spool(config, false);
    int fd = directory < 0 ? -1 : openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char why[80];

    if (directory >= 0)
        close(directory);
    if (fd >= 0 && is_locked(fd))
        return 0; /* it stays open */
    snprintf(why, sizeof(why), "%s", strerror(directory < 0 ? -directory : errno));
    if (fd >= 0 && errno == EWOULDBLOCK)
        snprintf(why, sizeof(why), "in use by process %ld", holder_of(fd));
    if (fd >= 0)
        close(fd);
    return complain(EX_CANTCREAT, "cannot use spool directory", name, why);
}

/* ---- the pid file ---- */

/* The descriptor of the pid file's directory, or -errno. */
static int open_parent(struct bytes path, char name_out[NAME_MAX + 1])
{
    char directory[PATH_MAX];
    size_t slash = path.len;

    while (slash > 0 && path.at[slash - 1] != '/')
        slash--;
    if (path.len - slash > NAME_MAX || slash >= sizeof(directory))
        return -ENAMETOOLONG;
    snprintf(name_out, NAME_MAX + 1, "%.*s", (int)(path.len - slash),
             (const char *)path.at + slash);
    snprintf(directory, sizeof(directory), "%.*s", (int)slash, (const char *)path.at);
    int fd = open(slash == 0 ? "." : directory, WALK);
    return fd < 0 ? -errno : fd;
}

static int put_number(int fd)
{
    int error = fchmod(fd, 0644) == 0 && dprintf(fd, "%ld\n", (long)getpid()) > 0 ? 0 : -errno;

    return close(fd) == 0 ? error : -errno;
}

/* A device or a directory that bears the name stays. A symbolic link is replaced, its goal is not
 * touched. */
static bool is_replaceable(int directory, const char *name)
{
    struct stat there;

    return fstatat(directory, name, &there, AT_SYMLINK_NOFOLLOW) != 0 || S_ISREG(there.st_mode) ||
           S_ISLNK(there.st_mode);
}

static int replace_pid(int directory, const char *name)
{
    char fresh[32];
    int fd, error;

    snprintf(fresh, sizeof(fresh), ".postern-%ld", (long)getpid());
    if (!is_replaceable(directory, name))
        return -EEXIST;
    if (unlinkat(directory, fresh, 0) != 0 && errno != ENOENT)
        return -errno;
    fd = openat(directory, fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    error = put_number(fd);
    if (error == 0 && renameat(directory, fresh, directory, name) != 0)
        error = -errno;
    if (error != 0)
        (void)unlinkat(directory, fresh, 0);
    return error;
}

int privileged_judge_pid(struct bytes path)
{
    char name[NAME_MAX + 1];
    int directory = path.len == 0 ? -1 : open_parent(path, name);
    int error = 0;

    if (path.len == 0 || directory < 0)
        return path.len == 0 ? 0 : directory;
    if (!may_make_in(directory))
        error = -errno;
    else if (!is_replaceable(directory, name))
        error = -EEXIST;
    close(directory);
    return error;
}

int privileged_write_pid(struct bytes path)
{
    char name[NAME_MAX + 1];
    int directory, error;

    if (path.len == 0)
        return 0;
    directory = open_parent(path, name);
    error = directory < 0 ? directory : replace_pid(directory, name);
    if (directory >= 0)
        close(directory);
    return error == 0 ? 0 : complain(EX_CANTCREAT, "cannot write pid file", path, strerror(-error));
}

void privileged_remove_pid(struct bytes path)
{
    char name[NAME_MAX + 1], text[32] = "";
    int directory = path.len == 0 ? -1 : open_parent(path, name);

    if (directory < 0)
        return;
    int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && strtol(text, NULL, 10) == getpid())
        (void)unlinkat(directory, name, 0);
    if (fd >= 0)
        close(fd);
    close(directory);
}

/* ---- limits ---- */

void privileged_raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* ---- the account ---- */

/* Where nothing is to change, nothing is asked of the kernel: in a user namespace, or without
 * capabilities, it would say no. */
int privileged_become(const struct config *config)
{
    const struct config_account *account = &config->account;
    char name[LOGIN_NAME_MAX];

    if (!account->is_set || geteuid() != 0 || (account->user == 0 && account->group == getegid()))
        return 0;
    snprintf(name, sizeof(name), "%.*s", (int)config->core.user_id.len,
             (const char *)config->core.user_id.at);
    if (initgroups(name, account->group) != 0 || setgid(account->group) != 0 ||
        setuid(account->user) != 0)
        return -errno;
    return 0;
}

int privileged_drop(const struct config *config)
{
    int error = privileged_become(config);

    return error == 0
               ? 0
               : complain(EX_NOPERM, "cannot become user", config->core.user_id, strerror(-error));
}
