/* SPDX-License-Identifier: BSD-2-Clause */
/* channel.h in a world: messages between ends of one loop, one at a time. */
#include "proxy/io/channel.h"

#include <errno.h>
#include <stdlib.h>

#include "proxy/base/error.h"
#include "tests/sim/world.h"

struct channel_listener {
    struct sim_event event;
    struct list in_world; /* struct sim.channels */
    struct loop *loop;
    const struct channel_events *events;
    void *owner;
    struct list channels; /* that were accepted */
    char path[];
};

struct channel {
    struct sim_event event;
    struct list in_listener;
    struct loop *loop;
    const struct channel_events *events;
    void *owner;
    struct channel *other; /* NULL: gone, or going */
    struct list messages;
    bool is_closing;
};

struct message {
    struct list link;
    size_t len;
    uint8_t octets[];
};

/* ---- one end ---- */

static struct message *next_message(struct channel *c)
{
    struct list *link = list_first(&c->messages);

    return link == NULL ? NULL : LIST_ENTRY(link, struct message, link);
}

static void drop_first(struct channel *c)
{
    struct message *m = next_message(c);

    list_remove(&m->link);
    mem_free(m);
}

static void finish(struct channel *c)
{
    while (next_message(c) != NULL)
        drop_first(c);
    list_remove(&c->in_listener);
    c->loop->busy--;
    c->events->closed(c->owner, c);
    mem_free(c);
}

/* What was sent before the other end was closed still arrives. */
static void on_event(struct sim_event *e)
{
    struct channel *c = CONTAINER_OF(e, struct channel, event);
    struct message *m = next_message(c);

    if (c->is_closing || (m == NULL && c->other == NULL)) {
        finish(c);
        return;
    }
    if (m == NULL)
        return;
    list_remove(&m->link);
    sim_ready(c->loop->world, e);
    c->events->message(c->owner, c, bytes_make(m->octets, m->len));
    mem_free(m);
}

static struct channel *channel_new(struct loop *l, const struct channel_events *events, void *owner)
{
    struct channel *c = mem_zalloc(sizeof(*c));

    if (c == NULL)
        return NULL;
    c->event.fn = on_event;
    list_init(&c->event.link);
    list_init(&c->in_listener);
    list_init(&c->messages);
    c->loop = l;
    c->events = events;
    c->owner = owner;
    l->busy++;
    return c;
}

bool channel_send(struct channel *c, struct bytes message)
{
    struct message *m;

    if (c->is_closing || c->other == NULL || message.len > CHANNEL_MESSAGE_MAX)
        return false;
    m = mem_alloc(sizeof(*m) + message.len);
    if (m == NULL)
        return false;
    m->len = message.len;
    if (message.len > 0)
        memcpy(m->octets, message.at, message.len);
    list_append(&c->other->messages, &m->link);
    sim_ready(c->loop->world, &c->other->event);
    return true;
}

void channel_close(struct channel *c)
{
    c->is_closing = true;
    if (c->other != NULL) {
        c->other->other = NULL;
        sim_ready(c->loop->world, &c->other->event);
    }
    c->other = NULL;
    sim_ready(c->loop->world, &c->event);
}

/* ---- listening ---- */

static void on_listener_event(struct sim_event *e)
{
    struct channel_listener *listener = CONTAINER_OF(e, struct channel_listener, event);

    listener->loop->busy--;
    mem_free(listener);
}

static struct channel_listener *find_listener(struct sim *w, const char *path)
{
    LIST_EACH (link, &w->channels) {
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
    list_init(&listener->event.link);
    list_init(&listener->channels);
    listener->loop = l;
    listener->events = events;
    listener->owner = owner;
    strcpy(listener->path, path);
    list_append(&l->world->channels, &listener->in_world);
    l->busy++;
    return listener;
}

void channel_listener_close(struct channel_listener *listener)
{
    list_remove(&listener->in_world);
    sim_ready(listener->loop->world, &listener->event);
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
    struct channel *ours, *theirs;

    *error_out = listener == NULL ? -ENOENT : ERR_MEMORY;
    if (listener == NULL)
        return NULL;
    ours = channel_new(l, events, owner);
    if (ours == NULL)
        return NULL;
    theirs = channel_new(l, listener->events, listener->owner);
    if (theirs == NULL) {
        l->busy--;
        mem_free(ours);
        return NULL;
    }
    list_append(&listener->channels, &theirs->in_listener);
    ours->other = theirs;
    theirs->other = ours;
    return ours;
}
