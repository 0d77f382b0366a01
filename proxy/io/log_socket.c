/* SPDX-License-Identifier: BSD-2-Clause */
/* Datagrams to syslog and the journal, which never wait: what is not taken is counted. */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/io/log_out.h"

#define BATCH_MAX 64 /* datagrams for one system call */

static const char *path_of(const struct log_sink *sink)
{
    if (sink->socket_path != NULL)
        return sink->socket_path;
    return sink->kind == LOG_TO_SYSLOG ? "/dev/log" : "/run/systemd/journal/socket";
}

void log_socket_connect(struct log_out *o, int64_t wall_s)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = path_of(o->sink);
    size_t length = strlen(path);

    o->tried_s = wall_s;
    if (length >= sizeof(address.sun_path))
        return;
    memcpy(address.sun_path, path, length);
    o->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (o->fd >= 0 && connect(o->fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(o->fd);
        o->fd = -1;
    }
}

/* Takes up to BATCH_MAX datagrams from offset *at on. */
static unsigned read_batch(const struct log_out *o, size_t *at, struct mmsghdr *messages,
                           struct iovec *vectors)
{
    unsigned count = 0;

    while (*at < o->used && count < BATCH_MAX) {
        uint32_t len;

        memcpy(&len, o->block + *at, sizeof(len));
        vectors[count] = (struct iovec){.iov_base = o->block + *at + sizeof(len), .iov_len = len};
        messages[count] =
            (struct mmsghdr){.msg_hdr = {.msg_iov = &vectors[count], .msg_iovlen = 1}};
        *at += sizeof(len) + len;
        count++;
    }
    return count;
}

/* The listener was started anew: one more try, on a new socket. */
static bool reconnects(struct log_out *o, int error, int64_t wall_s)
{
    if (error != ECONNREFUSED && error != ENOTCONN && error != ECONNRESET && error != EPIPE)
        return false;
    close(o->fd);
    o->fd = -1;
    if (o->tried_s == wall_s)
        return false;
    log_socket_connect(o, wall_s);
    return o->fd >= 0;
}

static void send_batch(struct log_out *o, struct mmsghdr *messages, unsigned count, int64_t wall_s)
{
    unsigned done = 0;

    while (done < count && o->fd >= 0) {
        int sent = sendmmsg(o->fd, messages + done, count - done, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (sent > 0)
            done += (unsigned)sent;
        else if (errno == EMSGSIZE) {
            done++;
            o->lost++;
        } else if (errno != EINTR && !reconnects(o, errno, wall_s)) {
            break;
        }
    }
    o->lost += count - done;
}

void log_socket_flush(struct log_out *o, int64_t wall_s)
{
    struct mmsghdr messages[BATCH_MAX];
    struct iovec vectors[BATCH_MAX];
    size_t at = 0;
    unsigned count;

    if (o->fd < 0 && o->tried_s != wall_s)
        log_socket_connect(o, wall_s);
    while ((count = read_batch(o, &at, messages, vectors)) > 0)
        send_batch(o, messages, count, wall_s);
}
