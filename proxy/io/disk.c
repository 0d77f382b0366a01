/* SPDX-License-Identifier: BSD-2-Clause */
/* Files by plain blocking calls. */
#include "proxy/io/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/disk_private.h"

#define PIECES_MAX 16 /* for one system call */

static int result_of(int returned)
{
    return returned < 0 ? -errno : returned;
}

int disk_open_unnamed(const char *directory)
{
    int fd = result_of(open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));

    /* A file system without O_TMPFILE takes this for an attempt to write to a directory. */
    return fd == -EISDIR || fd == -EINVAL ? -EOPNOTSUPP : fd;
}

int disk_open_read(const char *path)
{
    return result_of(open(path, O_RDONLY | O_CLOEXEC));
}

int disk_create(const char *path)
{
    return result_of(open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
}

int disk_close(int fd)
{
    return result_of(close(fd));
}

int disk_write_at(int fd, uint64_t offset, struct bytes octets)
{
    while (octets.len > 0) {
        ssize_t n = pwrite(fd, octets.at, octets.len, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        octets = bytes_skip(octets, (size_t)n);
        offset += (uint64_t)n;
    }
    return 0;
}

/* Writes at least one octet of the pieces behind the first `skip`, of which there must be some. */
static ssize_t write_some(int fd, uint64_t offset, const struct bytes *pieces, int count,
                          size_t skip)
{
    struct iovec vectors[PIECES_MAX];
    int used = 0;
    ssize_t n;

    for (int i = 0; i < count && used < PIECES_MAX; i++) {
        size_t at = skip < pieces[i].len ? skip : pieces[i].len;

        skip -= at;
        if (at == pieces[i].len)
            continue;
        vectors[used].iov_base = (void *)(uintptr_t)(pieces[i].at + at); /* only read */
        vectors[used++].iov_len = pieces[i].len - at;
    }
    assert(used > 0);
    do
        n = pwritev(fd, vectors, used, (off_t)offset);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int disk_write_pieces_at(int fd, uint64_t offset, const struct bytes *pieces, int count)
{
    size_t total = 0, written = 0;

    for (int i = 0; i < count; i++)
        total += pieces[i].len;
    while (written < total) {
        ssize_t n = write_some(fd, offset + written, pieces, count, written);

        if (n < 0)
            return (int)n;
        written += (size_t)n;
    }
    return 0;
}

int disk_read_at(int fd, uint64_t offset, void *into, size_t len)
{
    uint8_t *at = into;

    while (len > 0) {
        ssize_t n = pread(fd, at, len, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 ? -EIO : -errno;
        at += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

void disk_start_writing(int fd)
{
    sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE); /* an error shows in disk_sync(), too */
}

int disk_sync(int fd)
{
    return result_of(fdatasync(fd));
}

int disk_open_directory(const char *path)
{
    return result_of(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

int disk_sync_open_directory(int fd)
{
    return result_of(fsync(fd));
}

int disk_sync_directory(const char *path)
{
    int fd = disk_open_directory(path);
    int error;

    if (fd < 0)
        return fd;
    error = disk_sync_open_directory(fd);
    close(fd);
    return error;
}

int disk_link_unnamed(int fd, const char *path)
{
    char link_path[32];

    snprintf(link_path, sizeof(link_path), "/proc/self/fd/%d", fd);
    return result_of(linkat(AT_FDCWD, link_path, AT_FDCWD, path, AT_SYMLINK_FOLLOW));
}

int disk_move(const char *from, const char *to)
{
    return result_of(renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE));
}

int disk_link(const char *from, const char *to)
{
    return result_of(link(from, to));
}

bool disk_is_same_file(const char *a, const char *b)
{
    struct stat one, other;

    return lstat(a, &one) == 0 && lstat(b, &other) == 0 && one.st_dev == other.st_dev &&
           one.st_ino == other.st_ino;
}

int disk_replace(const char *from, const char *to)
{
    return result_of(rename(from, to));
}

int disk_unlink(const char *path)
{
    return result_of(unlink(path));
}

int disk_make_directory(const char *path)
{
    return result_of(mkdir(path, 0700));
}

int disk_find_directory(const char *path)
{
    struct stat found;

    if (stat(path, &found) < 0)
        return -errno;
    return S_ISDIR(found.st_mode) ? 0 : -ENOTDIR;
}

int disk_list(const char *path, bool (*fn)(void *owner, const char *name), void *owner)
{
    DIR *directory = opendir(path);
    struct dirent *entry;
    bool goes_on = true;
    int error;

    if (directory == NULL)
        return -errno;
    errno = 0;
    while (goes_on && (entry = readdir(directory)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            goes_on = fn(owner, entry->d_name);
        errno = 0;
    }
    error = goes_on ? -errno : 0;
    closedir(directory);
    return error;
}

int disk_open_append(const char *path)
{
    return result_of(open(path, O_RDWR | O_CLOEXEC));
}

int disk_lock(int fd)
{
    return result_of(flock(fd, LOCK_EX | LOCK_NB));
}

void disk_unlock(int fd)
{
    flock(fd, LOCK_UN);
}

int disk_truncate(int fd, uint64_t length)
{
    return result_of(ftruncate(fd, (off_t)length));
}

/* Bits of the mode that mean nothing on a file of data; setting them touches nothing else. */
static const struct {
    unsigned mark;
    mode_t bit;
} mark_bits[] = {
    {DISK_MARK_TRIED, S_ISVTX}, {DISK_MARK_UNSYNCED, S_IXUSR}, {DISK_MARK_SYNCING, S_IXGRP}};

int disk_mark(int fd, unsigned marks)
{
    mode_t mode = 0600;

    for (size_t i = 0; i < ARRAY_LENGTH(mark_bits); i++) {
        if ((marks & mark_bits[i].mark) != 0)
            mode |= mark_bits[i].bit;
        marks &= ~mark_bits[i].mark;
    }
    assert(marks == 0);
    return result_of(fchmod(fd, mode));
}

static unsigned marks_of(mode_t mode)
{
    unsigned marks = 0;

    for (size_t i = 0; i < ARRAY_LENGTH(mark_bits); i++)
        if ((mode & mark_bits[i].bit) != 0)
            marks |= mark_bits[i].mark;
    return marks;
}

static void put_facts(const struct stat *found, struct disk_facts *facts_out)
{
    *facts_out = (struct disk_facts){.bytes = (uint64_t)found->st_size,
                                     .changed_s = found->st_mtime,
                                     .links = (uint32_t)found->st_nlink,
                                     .number = found->st_ino,
                                     .marks = marks_of(found->st_mode)};
}

int disk_facts_of(int fd, struct disk_facts *facts_out)
{
    struct stat found;

    if (fstat(fd, &found) < 0)
        return -errno;
    put_facts(&found, facts_out);
    return 0;
}

int disk_facts_of_path(const char *path, struct disk_facts *facts_out)
{
    struct stat found;

    if (lstat(path, &found) < 0)
        return -errno;
    put_facts(&found, facts_out);
    return 0;
}

int disk_remove_directory(const char *path)
{
    return result_of(rmdir(path));
}

int disk_free_bytes(const char *path, uint64_t *bytes_out)
{
    struct statvfs found;

    if (statvfs(path, &found) < 0)
        return -errno;
    *bytes_out = (uint64_t)found.f_bavail * found.f_frsize;
    return 0;
}

/* Reads from `fd` to its end; the block grows by doubling. */
static int read_all(int fd, size_t max_bytes, uint8_t **block, size_t *len_out)
{
    size_t capacity = 16384, len = 0;

    for (;;) {
        ssize_t n;

        if (*block == NULL || len == capacity) {
            uint8_t *grown = mem_grow(*block, *block == NULL ? capacity : (capacity *= 2));

            if (grown == NULL)
                return ERR_MEMORY;
            *block = grown;
        }
        n = read(fd, *block + len, capacity - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        len += (size_t)n;
        if (len > max_bytes)
            return -EFBIG;
        if (n == 0)
            break;
    }
    *len_out = len;
    return 0;
}

int disk_read_file(const char *path, size_t max_bytes, uint8_t **octets_out, size_t *len_out)
{
    uint8_t *block = NULL;
    int fd = disk_open_read(path);
    int error;

    if (fd < 0)
        return fd;
    error = read_all(fd, max_bytes, &block, len_out);
    close(fd);
    if (error != 0) {
        mem_free(block);
        return error;
    }
    *octets_out = block;
    return 0;
}
