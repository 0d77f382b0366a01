/* SPDX-License-Identifier: BSD-2-Clause */
/* The sockets of c-ares in the loop. */
#include "proxy/io/dns_uv.h"
#include "proxy/io/loop_uv.h"

/* Lives until libuv has closed it, which may be after the dns is gone. */
struct dns_socket {
    uv_poll_t poll; /* first: the handle is the socket */
    struct dns *dns;
    struct list link;
    ares_socket_t fd;
};

static struct dns_socket *find_socket(struct dns *d, ares_socket_t fd)
{
    LIST_EACH (link, &d->sockets) {
        struct dns_socket *s = LIST_ENTRY(link, struct dns_socket, link);

        if (s->fd == fd)
            return s;
    }
    return NULL;
}

static struct dns_socket *open_socket(struct dns *d, ares_socket_t fd)
{
    struct dns_socket *s = mem_zalloc(sizeof(*s));

    if (s == NULL)
        return NULL;
    if (uv_poll_init(&d->loop->uv, &s->poll, fd) != 0) {
        mem_free(s);
        return NULL;
    }
    s->dns = d;
    s->fd = fd;
    list_append(&d->sockets, &s->link);
    return s;
}

static void on_closed(uv_handle_t *handle)
{
    mem_free(handle);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct dns_socket *s = (struct dns_socket *)poll;
    bool reads = status < 0 || (events & UV_READABLE) != 0;
    bool writes = status < 0 || (events & UV_WRITABLE) != 0;

    ares_process_fd(s->dns->channel, reads ? s->fd : ARES_SOCKET_BAD,
                    writes ? s->fd : ARES_SOCKET_BAD);
}

void dns_socket_changed(void *dns, ares_socket_t fd, int wants_read, int wants_write)
{
    struct dns *d = dns;
    struct dns_socket *s = find_socket(d, fd);

    if (!wants_read && !wants_write) {
        if (s == NULL)
            return;
        list_remove(&s->link);
        uv_close((uv_handle_t *)&s->poll, on_closed); /* c-ares closes the descriptor next */
        return;
    }
    if (s == NULL)
        s = open_socket(d, fd);
    if (s != NULL) /* else the question times out */
        uv_poll_start(&s->poll, (wants_read ? UV_READABLE : 0) | (wants_write ? UV_WRITABLE : 0),
                      on_ready);
}
