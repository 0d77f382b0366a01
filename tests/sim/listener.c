/* SPDX-License-Identifier: BSD-2-Clause */
/* listen.h and the listener of stream.h in a world. */
#include "proxy/io/listen.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/error.h"
#include "tests/sim/world.h"

/* A connection that nobody has accepted yet. */
struct waiting {
    struct list link;
    struct sim_end *end;
};

struct listener {
    struct sim_event event;
    struct loop *loop;
    struct sim_bound *bound;
    const struct listener_events *events;
    void *owner;
    struct list waiting;
    bool is_closed;
};

static struct sim_bound *bind_to(const struct netaddr *address, const char *path)
{
    struct sim *w = sim_current();
    struct sim_bound *b = sim_alloc(sizeof(*b));

    b->address = *address;
    snprintf(b->path, sizeof(b->path), "%s", path);
    b->fd = w->next_listener++;
    b->process = w->processes.running;
    list_append(&w->bound, &b->link);
    return b;
}

static int open_bound(const struct netaddr *address, bool is_shared)
{
    struct sim_bound *other = sim_bound_at(sim_current(), address), *b;

    if (other != NULL && !(is_shared && other->is_shared))
        return -EADDRINUSE;
    b = bind_to(address, "");
    b->is_shared = is_shared;
    return b->fd;
}

int listen_open(const struct netaddr *address, int backlog)
{
    (void)backlog;
    return open_bound(address, false);
}

int listen_open_shared(const struct netaddr *address, int backlog)
{
    (void)backlog;
    return open_bound(address, true);
}

int listen_probe(const struct netaddr *address)
{
    return sim_bound_at(sim_current(), address) == NULL ? 0 : -EADDRINUSE;
}

int listen_open_unix(const char *path, int backlog)
{
    struct sim_bound *old = sim_bound_at_path(sim_current(), path);

    (void)backlog;
    if (old != NULL)
        old->path[0] = '\0';
    return bind_to(&(struct netaddr){.family = NETADDR_NONE}, path)->fd;
}

static void on_event(struct sim_event *e)
{
    struct listener *l = CONTAINER_OF(e, struct listener, event);
    struct list *link = list_first(&l->waiting);
    struct waiting *first;
    struct sim_end *end;
    struct stream *s;

    if (l->is_closed) {
        l->loop->busy--;
        mem_free(l);
        return;
    }
    if (link == NULL)
        return;
    first = LIST_ENTRY(link, struct waiting, link);
    end = first->end;
    list_remove(link);
    free(first);
    if (!list_is_empty(&l->waiting))
        sim_ready(l->loop->world, e);
    s = sim_stream_accepted(l->loop, end);
    if (s == NULL)
        return;
    l->events->accepted(l->owner, s);
    sim_stream_start(s);
}

struct listener *listener_new(struct loop *loop, int fd, unsigned reserve,
                              const struct listener_events *events, void *owner, int *error_out)
{
    struct listener *l = mem_zalloc(sizeof(*l));

    (void)reserve; /* descriptors are not short here */
    if (l == NULL) {
        *error_out = ERR_MEMORY;
        return NULL;
    }
    l->event.fn = on_event;
    l->event.process = loop->process;
    list_init(&l->event.link);
    list_init(&l->waiting);
    l->loop = loop;
    l->events = events;
    l->owner = owner;
    LIST_EACH (link, &loop->world->bound) {
        struct sim_bound *b = LIST_ENTRY(link, struct sim_bound, link);
        if (b->fd == fd)
            l->bound = b;
    }
    if (l->bound == NULL)
        sim_fault("a listener on no socket");
    l->bound->listener = l;
    loop->busy++;
    return l;
}

/* Whose connections close when their process dies. */
static void drop_waiting(struct listener *l)
{
    LIST_EACH (link, &l->waiting) {
        list_remove(link);
        free(LIST_ENTRY(link, struct waiting, link));
    }
}

void sim_listeners_drop(struct sim_process *p)
{
    LIST_EACH (link, &p->world->bound) {
        struct sim_bound *b = LIST_ENTRY(link, struct sim_bound, link);
        if (b->process != p)
            continue;
        if (b->listener != NULL)
            drop_waiting(b->listener);
        list_remove(link);
        free(b);
    }
}

void listener_close(struct listener *l)
{
    assert(!l->is_closed);
    l->is_closed = true;
    list_remove(&l->bound->link);
    free(l->bound);
    LIST_EACH (link, &l->waiting) {
        struct waiting *w = LIST_ENTRY(link, struct waiting, link);
        list_remove(link);
        sim_end_close(w->end, true);
        free(w);
    }
    sim_ready(l->loop->world, &l->event);
}

void sim_listener_arrive(struct listener *l, struct sim_end *end)
{
    struct waiting *w = sim_alloc(sizeof(*w));

    w->end = end;
    end->process = l->loop->process;
    list_append(&l->waiting, &w->link);
    sim_ready(l->loop->world, &l->event);
}
