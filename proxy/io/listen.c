/* SPDX-License-Identifier: BSD-2-Clause */
/* Opens listening sockets. */
#include "proxy/io/listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int set_on(int fd, int level, int option)
{
    int on = 1;

    return setsockopt(fd, level, option, &on, sizeof(on));
}

static int bind_to(int fd, const struct netaddr *address)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(address->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(address->port)};

    if (address->family == NETADDR_IPV4) {
        memcpy(&v4.sin_addr, address->octets, sizeof(v4.sin_addr));
        return bind(fd, (struct sockaddr *)&v4, sizeof(v4));
    }
    memcpy(&v6.sin6_addr, address->octets, sizeof(v6.sin6_addr));
    if (set_on(fd, IPPROTO_IPV6, IPV6_V6ONLY) < 0)
        return -1;
    return bind(fd, (struct sockaddr *)&v6, sizeof(v6));
}

enum sharing { ALONE, SHARED }; /* may others have a socket at this address? */

static int open_bound(const struct netaddr *address, enum sharing sharing)
{
    int domain = address->family == NETADDR_IPV4 ? AF_INET : AF_INET6;
    int fd, error;

    if (address->family == NETADDR_NONE)
        return -EAFNOSUPPORT;
    fd = socket(domain, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (set_on(fd, SOL_SOCKET, SO_REUSEADDR) == 0 && set_on(fd, IPPROTO_TCP, TCP_NODELAY) == 0 &&
        (sharing == ALONE || set_on(fd, SOL_SOCKET, SO_REUSEPORT) == 0) &&
        bind_to(fd, address) == 0)
        return fd;
    error = -errno;
    close(fd);
    return error;
}

static int start_listening(int fd, int backlog)
{
    int error;

    if (fd < 0 || listen(fd, backlog) == 0)
        return fd;
    error = -errno;
    close(fd);
    return error;
}

int listen_open(const struct netaddr *address, int backlog)
{
    return start_listening(open_bound(address, ALONE), backlog);
}

int listen_open_shared(const struct netaddr *address, int backlog)
{
    return start_listening(open_bound(address, SHARED), backlog);
}

int listen_probe(const struct netaddr *address)
{
    int fd = open_bound(address, ALONE);

    if (fd < 0)
        return fd;
    close(fd);
    return 0;
}

/* On Linux the file gets the mode that the socket has before it is bound. */
static int bind_unix(int fd, const char *path, int backlog)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int len = snprintf(address.sun_path, sizeof(address.sun_path), "%s.%ld", path, (long)getpid());

    if (len < 0 || (size_t)len >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    (void)unlink(address.sun_path);
    if (fchmod(fd, S_IRUSR | S_IWUSR) == 0 &&
        bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
        listen(fd, backlog) == 0 && rename(address.sun_path, path) == 0)
        return 0;
    int error = -errno;
    (void)unlink(address.sun_path);
    return error;
}

int listen_open_unix(const char *path, int backlog)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int error = fd < 0 ? -errno : bind_unix(fd, path, backlog);

    if (error == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return error;
}
