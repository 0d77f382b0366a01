/* SPDX-License-Identifier: BSD-2-Clause */
/* Sinks: lines collect in a pooled block and are written once a turn. */
#include "proxy/io/log_out.h"
#include "proxy/io/log_where.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proxy/base/error.h"

#define FILE_MODE 0640

static bool is_socket(const struct log_out *out)
{
    return out->sink->kind == LOG_TO_SYSLOG || out->sink->kind == LOG_TO_JOURNAL;
}

static void empty_block(struct log_out *out)
{
    if (out->block != NULL)
        pool_give(out->pool, out->block);
    out->block = NULL;
    out->used = 0;
    out->pending = 0;
}

/* ---- files ---- */

int log_where_file(struct bytes pattern, int64_t wall_s, char path_out[LOG_PATH_MAX])
{
    char format[LOG_PATH_MAX] = "";
    time_t seconds = (time_t)wall_s;
    struct tm local;

    if (pattern.len >= sizeof(format))
        return -ENAMETOOLONG;
    memcpy(format, pattern.at, pattern.len);
    localtime_r(&seconds, &local);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the operator wrote it */
    return strftime(path_out, LOG_PATH_MAX, format, &local) == 0 ? -ENAMETOOLONG : 0;
#pragma GCC diagnostic pop
}

static int path_now(const struct log_out *out, int64_t wall_s, char path_out[LOG_PATH_MAX])
{
    return log_where_file(out->sink->file_pattern, wall_s, path_out);
}

/* Opens the file that the pattern names now. On failure the file that was open stays open. */
static int open_file(struct log_out *out, const char *path)
{
    int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC;
    int fd = open(path, flags | O_EXCL, FILE_MODE);

    if (fd >= 0)
        (void)fchmod(fd, FILE_MODE); /* whatever the umask; an existing file keeps its mode */
    else if (errno == EEXIST)
        fd = open(path, flags, FILE_MODE);
    if (fd < 0)
        return -errno;
    if (out->fd >= 0)
        close(out->fd);
    out->fd = fd;
    memcpy(out->path, path, strlen(path) + 1);
    return 0;
}

static void follow_pattern(struct log_out *out, int64_t wall_s)
{
    char path[LOG_PATH_MAX];

    if (out->sink->kind != LOG_TO_FILE || wall_s / 60 == out->minute)
        return;
    out->minute = wall_s / 60;
    if (path_now(out, wall_s, path) == 0 && (out->fd < 0 || strcmp(path, out->path) != 0))
        (void)open_file(out, path); /* on failure the old file is used until the next minute */
}

static int open_first_file(struct log_out *out, int64_t wall_s)
{
    char path[LOG_PATH_MAX];
    int error;

    out->path = mem_zalloc(LOG_PATH_MAX);
    if (out->path == NULL)
        return ERR_MEMORY;
    out->minute = wall_s / 60;
    error = path_now(out, wall_s, path);
    return error != 0 ? error : open_file(out, path);
}

/* ---- standard error ---- */

void log_unblock_stderr(void)
{
    struct stat there;

    if (fstat(STDERR_FILENO, &there) != 0 || (!S_ISFIFO(there.st_mode) && !S_ISCHR(there.st_mode)))
        return;
    int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)dup2(fd, STDERR_FILENO);
    close(fd);
}

static void open_stderr(struct log_out *out)
{
    struct stat there;

    out->fd = STDERR_FILENO;
    out->is_stream = fstat(out->fd, &there) == 0 && S_ISSOCK(there.st_mode);
}

/* ---- all kinds ---- */

int log_out_open(struct log_out *out, const struct log_sink *sink, struct pool *pool,
                 int64_t wall_s)
{
    *out = (struct log_out){.sink = sink, .pool = pool, .fd = -1};
    if (sink->kind == LOG_TO_FILE)
        return open_first_file(out, wall_s);
    if (sink->kind == LOG_TO_STDERR)
        open_stderr(out);
    else
        log_socket_connect(out, wall_s); /* whoever does not listen yet may do so later */
    return 0;
}

void log_out_close(struct log_out *out)
{
    empty_block(out);
    if (out->fd >= 0 && out->sink->kind != LOG_TO_STDERR)
        close(out->fd);
    mem_free(out->path);
}

void log_out_reopen(struct log_out *out, int64_t wall_s)
{
    char path[LOG_PATH_MAX];

    if (out->sink->kind == LOG_TO_FILE && path_now(out, wall_s, path) == 0)
        (void)open_file(out, path);
}

static bool has_room(const struct log_out *out, size_t len)
{
    return out->used + len <= out->pool->block_bytes;
}

void log_out_add(struct log_out *out, struct bytes head, struct bytes body, int64_t wall_s)
{
    uint32_t len = (uint32_t)(head.len + body.len);
    size_t needed = len + (is_socket(out) ? sizeof(len) : 0);

    if (!has_room(out, needed))
        log_out_flush(out, wall_s);
    if (out->block == NULL)
        out->block = pool_take(out->pool);
    if (out->block == NULL || !has_room(out, needed)) {
        out->lost++;
        return;
    }
    if (is_socket(out)) {
        memcpy(out->block + out->used, &len, sizeof(len));
        out->used += sizeof(len);
    }
    if (head.len > 0)
        memcpy(out->block + out->used, head.at, head.len);
    memcpy(out->block + out->used + head.len, body.at, body.len);
    out->used += len;
    out->pending++;
    assert(out->used <= out->pool->block_bytes);
}

/* How much to write at once. Others write to standard error too: a pipe takes so many octets whole
 * or not at all, so that lines stay whole. */
static size_t next_piece(const struct log_out *out, size_t written)
{
    size_t left = out->used - written, whole = left;

    if (out->sink->kind != LOG_TO_STDERR || left <= PIPE_BUF)
        return left;
    for (whole = PIPE_BUF; whole > 0 && out->block[written + whole - 1] != '\n';)
        whole--;
    return whole == 0 ? left : whole;
}

static ssize_t write_piece(const struct log_out *out, size_t written)
{
    const uint8_t *at = out->block + written;
    size_t octets = next_piece(out, written);

    return out->is_stream ? send(out->fd, at, octets, MSG_DONTWAIT | MSG_NOSIGNAL)
                          : write(out->fd, at, octets);
}

/* Octets that a pipe does not take now stay for the next turn; those that a file refuses are
 * lost. */
static void write_text(struct log_out *out)
{
    size_t written = 0;

    while (written < out->used) {
        ssize_t n = write_piece(out, written);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            out->lost += out->pending;
        if (n < 0)
            break;
        written += (size_t)n;
    }
    if (written < out->used && errno == EAGAIN) {
        memmove(out->block, out->block + written, out->used - written);
        out->used -= written;
        return;
    }
    empty_block(out);
}

bool log_out_flush(struct log_out *out, int64_t wall_s)
{
    uint64_t lost = out->lost;

    if (out->used == 0)
        return false;
    follow_pattern(out, wall_s);
    if (is_socket(out)) {
        log_socket_flush(out, wall_s);
        empty_block(out);
    } else {
        write_text(out);
    }
    return out->lost == lost && out->used == 0;
}
