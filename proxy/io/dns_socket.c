/* SPDX-License-Identifier: BSD-2-Clause */
/* The sockets of c-ares in the loop. */
#include "proxy/io/dns_uv.h"
#include "proxy/io/loop_uv.h"

/* Lives until libuv has closed the handle, which may be after the dns is freed. */
struct dns_socket {
    uv_poll_t poll; /* first: the handle is the socket */
    struct dns_channel *channel;
    struct list link;
    ares_socket_t fd;
};

static struct dns_socket *find_socket(struct dns_channel *channel, ares_socket_t fd)
{
    LIST_EACH (link, &channel->sockets) {
        struct dns_socket *socket = LIST_ENTRY(link, struct dns_socket, link);

        if (socket->fd == fd)
            return socket;
    }
    return NULL;
}

static struct dns_socket *open_socket(struct dns_channel *channel, ares_socket_t fd)
{
    struct dns_socket *socket = mem_zalloc(sizeof(*socket));

    if (socket == NULL)
        return NULL;
    if (uv_poll_init(&channel->dns->loop->uv, &socket->poll, fd) != 0) {
        mem_free(socket);
        return NULL;
    }
    socket->channel = channel;
    socket->fd = fd;
    list_append(&channel->sockets, &socket->link);
    return socket;
}

static void on_closed(uv_handle_t *handle)
{
    mem_free(handle);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct dns_socket *socket = (struct dns_socket *)poll;
    bool reads = status < 0 || (events & UV_READABLE) != 0;
    bool writes = status < 0 || (events & UV_WRITABLE) != 0;

    ares_process_fd(socket->channel->ares, reads ? socket->fd : ARES_SOCKET_BAD,
                    writes ? socket->fd : ARES_SOCKET_BAD);
}

void dns_socket_changed(void *owner, ares_socket_t fd, int wants_read, int wants_write)
{
    struct dns_channel *channel = owner;
    struct dns_socket *socket = find_socket(channel, fd);

    if (!wants_read && !wants_write) {
        if (socket == NULL)
            return;
        list_remove(&socket->link);
        uv_close((uv_handle_t *)&socket->poll,
                 on_closed); /* c-ares closes the descriptor afterwards */
        return;
    }
    if (socket == NULL)
        socket = open_socket(channel, fd);
    if (socket != NULL) /* else the question times out */
        uv_poll_start(&socket->poll,
                      (wants_read ? UV_READABLE : 0) | (wants_write ? UV_WRITABLE : 0), on_ready);
}
