/* SPDX-License-Identifier: BSD-2-Clause */
/* Datagrams to syslog and the journal. Sending never waits: lines that are not taken are
 * counted. */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/io/log_out.h"
#include "proxy/io/log_where.h"

#define BATCH_MAX 64 /* datagrams for one system call */

const char *log_where_socket(enum log_kind kind)
{
    return kind == LOG_TO_SYSLOG ? "/dev/log" : "/run/systemd/journal/socket";
}

/* The descriptor, or -errno. */
static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    int fd;

    if (length >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, length);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd < 0 ? -errno : fd;
}

int log_where_probe(enum log_kind kind)
{
    int fd = connect_to(log_where_socket(kind));

    if (fd >= 0)
        close(fd);
    return fd < 0 ? fd : 0;
}

void log_socket_connect(struct log_out *out, int64_t wall_s)
{
    const struct log_sink *sink = out->sink;
    int fd =
        connect_to(sink->socket_path != NULL ? sink->socket_path : log_where_socket(sink->kind));

    out->tried_s = wall_s;
    out->fd = fd < 0 ? -1 : fd;
}

/* Takes up to BATCH_MAX datagrams from offset *at on. */
static unsigned read_batch(const struct log_out *out, size_t *at, struct mmsghdr *messages,
                           struct iovec *vectors)
{
    unsigned count = 0;

    while (*at < out->used && count < BATCH_MAX) {
        uint32_t len;

        assert(out->used - *at > sizeof(len));
        memcpy(&len, out->block + *at, sizeof(len));
        assert(out->used - *at >= sizeof(len) + len);
        vectors[count] = (struct iovec){.iov_base = out->block + *at + sizeof(len), .iov_len = len};
        messages[count] =
            (struct mmsghdr){.msg_hdr = {.msg_iov = &vectors[count], .msg_iovlen = 1}};
        *at += sizeof(len) + len;
        count++;
    }
    return count;
}

/* The listener may have been restarted: tries once more, on a new socket. */
static bool reconnects(struct log_out *out, int error, int64_t wall_s)
{
    if (error != ECONNREFUSED && error != ENOTCONN && error != ECONNRESET && error != EPIPE)
        return false;
    close(out->fd);
    out->fd = -1;
    if (out->tried_s == wall_s)
        return false;
    log_socket_connect(out, wall_s);
    return out->fd >= 0;
}

static void send_batch(struct log_out *out, struct mmsghdr *messages, unsigned count,
                       int64_t wall_s)
{
    unsigned done = 0;

    while (done < count && out->fd >= 0) {
        int sent = sendmmsg(out->fd, messages + done, count - done, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (sent > 0)
            done += (unsigned)sent;
        else if (errno == EMSGSIZE) {
            done++;
            out->lost++;
        } else if (errno != EINTR && !reconnects(out, errno, wall_s)) {
            break;
        }
    }
    out->lost += count - done;
}

void log_socket_flush(struct log_out *out, int64_t wall_s)
{
    struct mmsghdr messages[BATCH_MAX];
    struct iovec vectors[BATCH_MAX];
    size_t at = 0;
    unsigned count;

    if (out->fd < 0 && out->tried_s != wall_s)
        log_socket_connect(out, wall_s);
    while ((count = read_batch(out, &at, messages, vectors)) > 0)
        send_batch(out, messages, count, wall_s);
}
