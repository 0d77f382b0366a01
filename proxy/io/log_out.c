/* SPDX-License-Identifier: BSD-2-Clause */
/* Sinks: lines collect in a pooled block and are written once a turn. */
#include "proxy/io/log_out.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proxy/base/error.h"

#define FILE_MODE 0640

static bool is_socket(const struct log_out *o)
{
    return o->sink->kind == LOG_TO_SYSLOG || o->sink->kind == LOG_TO_JOURNAL;
}

static void empty_block(struct log_out *o)
{
    if (o->block != NULL)
        pool_give(o->pool, o->block);
    o->block = NULL;
    o->used = 0;
    o->pending = 0;
}

/* ---- files ---- */

static int path_now(const struct log_out *o, int64_t wall_s, char path_out[PATH_MAX])
{
    time_t seconds = (time_t)wall_s;
    struct tm local;

    localtime_r(&seconds, &local);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the operator wrote it */
    return strftime(path_out, PATH_MAX, o->pattern, &local) == 0 ? -ENAMETOOLONG : 0;
#pragma GCC diagnostic pop
}

/* Opens what the pattern names now. On failure the file that was open stays. */
static int open_file(struct log_out *o, const char *path)
{
    int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC;
    int fd = open(path, flags | O_EXCL, FILE_MODE);

    if (fd >= 0)
        (void)fchmod(fd, FILE_MODE); /* whatever the umask; one that is there stays as it is */
    else if (errno == EEXIST)
        fd = open(path, flags, FILE_MODE);
    if (fd < 0)
        return -errno;
    if (o->fd >= 0)
        close(o->fd);
    o->fd = fd;
    memcpy(o->path, path, strlen(path) + 1);
    return 0;
}

static void follow_pattern(struct log_out *o, int64_t wall_s)
{
    char path[PATH_MAX];

    if (o->sink->kind != LOG_TO_FILE || wall_s / 60 == o->minute)
        return;
    o->minute = wall_s / 60;
    if (path_now(o, wall_s, path) == 0 && (o->fd < 0 || strcmp(path, o->path) != 0))
        (void)open_file(o, path); /* the old one serves until the next minute */
}

static int open_first_file(struct log_out *o, int64_t wall_s)
{
    struct bytes pattern = o->sink->file_pattern;
    char path[PATH_MAX];
    int error;

    if (pattern.len >= PATH_MAX)
        return -ENAMETOOLONG;
    o->pattern = mem_alloc(2 * PATH_MAX);
    if (o->pattern == NULL)
        return ERR_MEMORY;
    o->path = o->pattern + PATH_MAX;
    memcpy(o->pattern, pattern.at, pattern.len);
    o->pattern[pattern.len] = '\0';
    o->minute = wall_s / 60;
    error = path_now(o, wall_s, path);
    return error != 0 ? error : open_file(o, path);
}

/* ---- all kinds ---- */

int log_out_open(struct log_out *o, const struct log_sink *sink, struct pool *pool, int64_t wall_s)
{
    *o = (struct log_out){.sink = sink, .pool = pool, .fd = -1};
    if (sink->kind == LOG_TO_FILE)
        return open_first_file(o, wall_s);
    if (sink->kind == LOG_TO_STDERR)
        o->fd = STDERR_FILENO;
    else
        log_socket_connect(o, wall_s); /* who is not there yet may come later */
    return 0;
}

void log_out_close(struct log_out *o)
{
    empty_block(o);
    if (o->fd >= 0 && o->sink->kind != LOG_TO_STDERR)
        close(o->fd);
    mem_free(o->pattern);
}

void log_out_reopen(struct log_out *o, int64_t wall_s)
{
    char path[PATH_MAX];

    if (o->sink->kind == LOG_TO_FILE && path_now(o, wall_s, path) == 0)
        (void)open_file(o, path);
}

static bool has_room(const struct log_out *o, size_t len)
{
    return o->used + len <= o->pool->block_bytes;
}

void log_out_add(struct log_out *o, struct bytes head, struct bytes body, int64_t wall_s)
{
    uint32_t len = (uint32_t)(head.len + body.len);
    size_t needed = len + (is_socket(o) ? sizeof(len) : 0);

    if (!has_room(o, needed))
        log_out_flush(o, wall_s);
    if (o->block == NULL)
        o->block = pool_take(o->pool);
    if (o->block == NULL || !has_room(o, needed)) {
        o->lost++;
        return;
    }
    if (is_socket(o)) {
        memcpy(o->block + o->used, &len, sizeof(len));
        o->used += sizeof(len);
    }
    if (head.len > 0)
        memcpy(o->block + o->used, head.at, head.len);
    memcpy(o->block + o->used + head.len, body.at, body.len);
    o->used += len;
    o->pending++;
}

/* What a pipe does not take now stays for the next turn; what a file refuses is lost. */
static void write_text(struct log_out *o)
{
    size_t written = 0;

    while (written < o->used) {
        ssize_t n = write(o->fd, o->block + written, o->used - written);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            o->lost += o->pending;
        if (n < 0)
            break;
        written += (size_t)n;
    }
    if (written < o->used && errno == EAGAIN) {
        memmove(o->block, o->block + written, o->used - written);
        o->used -= written;
        return;
    }
    empty_block(o);
}

bool log_out_flush(struct log_out *o, int64_t wall_s)
{
    uint64_t lost = o->lost;

    if (o->used == 0)
        return false;
    follow_pattern(o, wall_s);
    if (is_socket(o)) {
        log_socket_flush(o, wall_s);
        empty_block(o);
    } else {
        write_text(o);
    }
    return o->lost == lost && o->used == 0;
}
