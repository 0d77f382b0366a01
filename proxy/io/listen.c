/* SPDX-License-Identifier: BSD-2-Clause */
/* Opens listening sockets. */
#include "proxy/io/listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

static int set_on(int fd, int level, int option)
{
    int on = 1;

    return setsockopt(fd, level, option, &on, sizeof(on));
}

static int bind_to(int fd, const struct netaddr *a)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(a->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(a->port)};

    if (a->family == NETADDR_IPV4) {
        memcpy(&v4.sin_addr, a->octets, sizeof(v4.sin_addr));
        return bind(fd, (struct sockaddr *)&v4, sizeof(v4));
    }
    memcpy(&v6.sin6_addr, a->octets, sizeof(v6.sin6_addr));
    if (set_on(fd, IPPROTO_IPV6, IPV6_V6ONLY) < 0)
        return -1;
    return bind(fd, (struct sockaddr *)&v6, sizeof(v6));
}

int listen_open(const struct netaddr *address, int backlog)
{
    int domain = address->family == NETADDR_IPV4 ? AF_INET : AF_INET6;
    int fd, error;

    if (address->family == NETADDR_NONE)
        return -EAFNOSUPPORT;
    fd = socket(domain, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (set_on(fd, SOL_SOCKET, SO_REUSEADDR) == 0 && set_on(fd, IPPROTO_TCP, TCP_NODELAY) == 0 &&
        bind_to(fd, address) == 0 && listen(fd, backlog) == 0)
        return fd;
    error = -errno;
    close(fd);
    return error;
}
