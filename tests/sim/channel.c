/* SPDX-License-Identifier: BSD-2-Clause */
/* channel.h in a world: messages between processes, one at a time. What was sent is the world's, as
 * the kernel's: it arrives though who has sent it is dead. */
#include "proxy/io/channel.h"

#include <errno.h>
#include <stdlib.h>

#include "proxy/base/error.h"
#include "tests/sim/world.h"

#define KEPT_MAX (1u << 20) /* octets that wait at one end */

struct channel_listener {
    struct sim_event event;
    struct list in_world;
    struct loop *loop;
    const struct channel_events *events;
    void *owner;
    struct list arrived;  /* ends that nobody has accepted yet */
    struct list channels; /* that were accepted */
    bool is_closed;
    char path[];
};

/* One end of a connection. */
struct end {
    struct list in_listener;
    struct sim_process *process;
    struct link *link;
    struct channel *channel; /* NULL: not accepted yet, or closed */
    struct list messages;
    size_t kept;
    bool is_closed;
};

struct link {
    struct list in_world;
    struct end ends[2];
};

struct channel {
    struct sim_event event;
    struct list in_listener;
    struct loop *loop;
    const struct channel_events *events;
    void *owner;
    struct end *end; /* NULL: closed */
    bool is_closing;
};

struct message {
    struct list link;
    size_t len;
    uint8_t octets[];
};

/* ---- connections ---- */

static struct end *other_end(const struct end *e)
{
    return &e->link->ends[e == &e->link->ends[0]];
}

static struct link *link_new(struct sim *w)
{
    struct link *l = sim_alloc(sizeof(*l));

    for (int i = 0; i < 2; i++) {
        l->ends[i].link = l;
        list_init(&l->ends[i].in_listener);
        list_init(&l->ends[i].messages);
    }
    list_append(&w->channels.links, &l->in_world);
    return l;
}

/* NULL: there is none. */
static struct message *take_first(struct end *e)
{
    struct list *link = list_first(&e->messages);
    struct message *m = link == NULL ? NULL : LIST_ENTRY(link, struct message, link);

    if (m == NULL)
        return NULL;
    list_remove(&m->link);
    e->kept -= m->len;
    return m;
}

static void wake(struct end *e)
{
    if (e->channel != NULL)
        sim_ready(e->channel->loop->world, &e->channel->event);
}

/* The second one frees the connection. */
static void close_end(struct end *e)
{
    struct end *other = other_end(e);
    struct message *m;

    while ((m = take_first(e)) != NULL)
        free(m);
    list_remove(&e->in_listener);
    e->channel = NULL;
    e->is_closed = true;
    if (!other->is_closed) {
        wake(other);
        return;
    }
    list_remove(&e->link->in_world);
    free(e->link);
}

/* ---- one end ---- */

static void finish(struct channel *c)
{
    list_remove(&c->in_listener);
    if (c->end != NULL)
        close_end(c->end);
    c->loop->busy--;
    c->events->closed(c->owner, c);
    mem_free(c);
}

/* What was sent before the other end was closed still arrives. */
static void on_event(struct sim_event *e)
{
    struct channel *c = CONTAINER_OF(e, struct channel, event);
    struct message *m;

    if (c->is_closing) {
        finish(c);
        return;
    }
    m = take_first(c->end);
    if (m == NULL) {
        if (other_end(c->end)->is_closed)
            finish(c);
        return;
    }
    sim_ready(c->loop->world, e);
    c->events->message(c->owner, c, bytes_make(m->octets, m->len));
    free(m);
}

static struct channel *channel_new(struct loop *l, const struct channel_events *events, void *owner,
                                   struct end *end)
{
    struct channel *c = mem_zalloc(sizeof(*c));

    if (c == NULL)
        return NULL;
    c->event.fn = on_event;
    c->event.process = l->process;
    list_init(&c->event.link);
    list_init(&c->in_listener);
    c->loop = l;
    c->events = events;
    c->owner = owner;
    c->end = end;
    end->channel = c;
    l->busy++;
    return c;
}

bool channel_send(struct channel *c, struct bytes message)
{
    struct end *to = c->end == NULL ? NULL : other_end(c->end);
    struct message *m;

    if (c->is_closing || message.len == 0 || to == NULL || to->is_closed ||
        message.len > CHANNEL_MESSAGE_MAX || to->kept + message.len > KEPT_MAX)
        return false;
    m = sim_alloc(sizeof(*m) + message.len);
    m->len = message.len;
    memcpy(m->octets, message.at, message.len);
    list_append(&to->messages, &m->link);
    to->kept += m->len;
    wake(to);
    return true;
}

void channel_close(struct channel *c)
{
    c->is_closing = true;
    if (c->end != NULL)
        close_end(c->end);
    c->end = NULL;
    sim_ready(c->loop->world, &c->event);
}

/* ---- listening ---- */

/* NULL: nobody has come. */
static struct end *next_arrived(struct channel_listener *listener)
{
    struct list *link = list_first(&listener->arrived);

    return link == NULL ? NULL : LIST_ENTRY(link, struct end, in_listener);
}

static void on_listener_event(struct sim_event *e)
{
    struct channel_listener *listener = CONTAINER_OF(e, struct channel_listener, event);
    struct loop *l = listener->loop;
    struct end *arrived;
    struct channel *c;

    if (listener->is_closed) {
        l->busy--;
        mem_free(listener);
        return;
    }
    while ((arrived = next_arrived(listener)) != NULL) {
        list_remove(&arrived->in_listener);
        c = channel_new(l, listener->events, listener->owner, arrived);
        if (c == NULL) {
            close_end(arrived);
            continue;
        }
        list_append(&listener->channels, &c->in_listener);
        wake(arrived);
    }
}

static struct channel_listener *find_listener(struct sim *w, const char *path)
{
    LIST_EACH (link, &w->channels.listeners) {
        struct channel_listener *listener = LIST_ENTRY(link, struct channel_listener, in_world);
        if (strcmp(listener->path, path) == 0)
            return listener;
    }
    return NULL;
}

struct channel_listener *channel_listen(struct loop *l, const char *path,
                                        const struct channel_events *events, void *owner,
                                        int *error_out)
{
    struct channel_listener *old = find_listener(l->world, path);
    struct channel_listener *listener = mem_zalloc(sizeof(*listener) + strlen(path) + 1);

    if (listener == NULL) {
        *error_out = ERR_MEMORY;
        return NULL;
    }
    if (old != NULL)
        list_remove(&old->in_world);
    listener->event.fn = on_listener_event;
    listener->event.process = l->process;
    list_init(&listener->event.link);
    list_init(&listener->arrived);
    list_init(&listener->channels);
    listener->loop = l;
    listener->events = events;
    listener->owner = owner;
    strcpy(listener->path, path);
    list_append(&l->world->channels.listeners, &listener->in_world);
    l->busy++;
    return listener;
}

void channel_listener_close(struct channel_listener *listener)
{
    struct end *arrived;

    listener->is_closed = true;
    list_remove(&listener->in_world);
    sim_ready(listener->loop->world, &listener->event);
    while ((arrived = next_arrived(listener)) != NULL)
        close_end(arrived);
    LIST_EACH (link, &listener->channels) {
        struct channel *c = LIST_ENTRY(link, struct channel, in_listener);
        list_remove(link);
        channel_close(c);
    }
}

void channel_broadcast(struct channel_listener *listener, struct channel *but, struct bytes message)
{
    LIST_EACH (link, &listener->channels) {
        struct channel *c = LIST_ENTRY(link, struct channel, in_listener);
        if (c != but)
            channel_send(c, message);
    }
}

struct channel *channel_connect(struct loop *l, const char *path,
                                const struct channel_events *events, void *owner, int *error_out)
{
    struct channel_listener *listener = find_listener(l->world, path);
    struct link *link;
    struct channel *c;

    *error_out = listener == NULL ? -ENOENT : ERR_MEMORY;
    if (listener == NULL)
        return NULL;
    link = link_new(l->world);
    link->ends[0].process = l->process;
    link->ends[1].process = listener->loop->process;
    c = channel_new(l, events, owner, &link->ends[0]);
    if (c == NULL) {
        close_end(&link->ends[1]);
        close_end(&link->ends[0]);
        return NULL;
    }
    list_append(&listener->arrived, &link->ends[1].in_listener);
    sim_ready(l->world, &listener->event);
    return c;
}

/* ---- a process is no more ---- */

void sim_channels_drop(struct sim_process *p)
{
    LIST_EACH (listening, &p->world->channels.listeners)
        if (LIST_ENTRY(listening, struct channel_listener, in_world)->event.process == p)
            list_remove(listening);
    LIST_EACH (in_world, &p->world->channels.links) {
        struct link *l = LIST_ENTRY(in_world, struct link, in_world);
        bool is_its[2];
        for (int i = 0; i < 2; i++)
            is_its[i] = l->ends[i].process == p && !l->ends[i].is_closed;
        for (int i = 0; i < 2; i++)
            if (is_its[i])
                close_end(&l->ends[i]);
    }
}
