/* SPDX-License-Identifier: BSD-2-Clause */
/* Preloaded into postern: calls on files fail while the file named by FAULTS says so. That file is
 * an array of int, an errno for each of the calls below in their order; 0: the call is made. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum call { CALL_OPEN, CALL_WRITE, CALL_SYNC, CALL_SYNC_DIRECTORY, CALL_LINK, CALL_UNLINK, CALLS };

static volatile int *faults;

__attribute__((constructor)) static void map_faults(void)
{
    const char *path = getenv("FAULTS");
    int fd = path == NULL ? -1 : open(path, O_RDONLY);
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, CALLS * sizeof(int), PROT_READ, MAP_SHARED, fd, 0);

    if (at != MAP_FAILED)
        faults = at;
    if (fd >= 0)
        close(fd);
}

static int fails(enum call which)
{
    if (faults == NULL || faults[which] == 0)
        return 0;
    errno = faults[which];
    return 1;
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
    return fails(CALL_SYNC_DIRECTORY) ? -1 : REAL(fsync)(fd);
}

int linkat(int from, const char *old, int to, const char *new, int flags)
{
    return fails(CALL_LINK) ? -1 : REAL(linkat)(from, old, to, new, flags);
}

int unlink(const char *path)
{
    return fails(CALL_UNLINK) ? -1 : REAL(unlink)(path);
}
