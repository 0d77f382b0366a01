/* SPDX-License-Identifier: BSD-2-Clause */
/* Preloaded into postern: calls on files fail while the file named by FAULTS says so. That file is
 * an array of int, for each of the calls below in their order: an errno; 0: the call is made; -1:
 * it hangs until something else is said. Behind them it counts the calls that hang. Where FAULTS_IN
 * is set, only calls on paths that hold its text fail, of those that name one. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum call {
    CALL_OPEN,
    CALL_WRITE,
    CALL_SYNC,
    CALL_SYNC_DIRECTORY,
    CALL_LINK,
    CALL_UNLINK,
    CALL_RENAME,
    CALL_READ,
    CALL_READ_MUCH, /* 16 KiB and more: no head, and no records */
    CALL_SOCKET_V6,
    CALLS
};

static volatile int *faults;

__attribute__((constructor)) static void map_faults(void)
{
    const char *path = getenv("FAULTS");
    int fd = path == NULL ? -1 : open(path, O_RDWR);
    void *at =
        fd < 0 ? MAP_FAILED
               : mmap(NULL, (CALLS + 1) * sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (at != MAP_FAILED)
        faults = at;
    if (fd >= 0)
        close(fd);
}

static void hang(enum call which)
{
    __atomic_fetch_add(&faults[CALLS], 1, __ATOMIC_SEQ_CST);
    while (faults[which] < 0)
        usleep(1000);
    __atomic_fetch_sub(&faults[CALLS], 1, __ATOMIC_SEQ_CST);
}

static int fails(enum call which)
{
    if (faults == NULL || faults[which] == 0)
        return 0;
    if (faults[which] < 0)
        hang(which);
    errno = faults[which];
    return errno != 0;
}

static int is_among(const char *path)
{
    const char *text = getenv("FAULTS_IN");
    return text == NULL || strstr(path, text) != NULL;
}

static int is_open_among(int fd)
{
    char link[64], path[4096];
    ssize_t len;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof(path) - 1);
    path[len < 0 ? 0 : len] = '\0';
    return is_among(path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int open(const char *path, int flags, ...)
{
    va_list more;
    int mode;

    va_start(more, flags);
    mode = va_arg(more, int);
    va_end(more);
    if ((flags & O_TMPFILE) == O_TMPFILE && fails(CALL_OPEN))
        return -1;
    return REAL(open)(path, flags, mode);
}

ssize_t pwrite(int fd, const void *at, size_t len, off_t offset)
{
    return fails(CALL_WRITE) ? -1 : REAL(pwrite)(fd, at, len, offset);
}

ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t offset)
{
    return fails(CALL_WRITE) ? -1 : REAL(pwritev)(fd, pieces, count, offset);
}

int fdatasync(int fd)
{
    return fails(CALL_SYNC) ? -1 : REAL(fdatasync)(fd);
}

int fsync(int fd)
{
    return is_open_among(fd) && fails(CALL_SYNC_DIRECTORY) ? -1 : REAL(fsync)(fd);
}

int linkat(int from, const char *old, int to, const char *new, int flags)
{
    return fails(CALL_LINK) ? -1 : REAL(linkat)(from, old, to, new, flags);
}

int unlink(const char *path)
{
    return fails(CALL_UNLINK) ? -1 : REAL(unlink)(path);
}

int renameat2(int from, const char *old, int to, const char *new, unsigned flags)
{
    return is_among(new) && fails(CALL_RENAME) ? -1 : REAL(renameat2)(from, old, to, new, flags);
}

ssize_t pread(int fd, void *at, size_t len, off_t offset)
{
    if (is_open_among(fd) && (fails(CALL_READ) || (len >= 16384 && fails(CALL_READ_MUCH))))
        return -1;
    return REAL(pread)(fd, at, len, offset);
}

int socket(int domain, int type, int protocol)
{
    int (*real)(int, int, int) = dlsym(RTLD_NEXT, "socket");

    return domain == AF_INET6 && fails(CALL_SOCKET_V6) ? -1 : real(domain, type, protocol);
}
