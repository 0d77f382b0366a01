/* SPDX-License-Identifier: BSD-2-Clause */
/* Connections: two ends, and a bounded pipe in each direction. */
#include <stdlib.h>

#include "tests/sim/world.h"

#define WINDOW_BYTES 65536

struct sim_conn *sim_conn_new(struct sim *w, const struct netaddr *from, const struct netaddr *to)
{
    struct sim_conn *c = sim_alloc(sizeof(*c));

    c->world = w;
    c->ends[0] = (struct sim_end){.conn = c, .other = &c->ends[1], .address = *from};
    c->ends[1] = (struct sim_end){.conn = c, .other = &c->ends[0], .address = *to};
    list_append(&w->conns, &c->link);
    return c;
}

static void wake(struct sim_end *e)
{
    if (e->reader != NULL)
        sim_ready(e->conn->world, e->reader);
}

size_t sim_end_readable(const struct sim_end *e)
{
    return e->in.text.len - e->in.start;
}

struct bytes sim_end_peek(const struct sim_end *e)
{
    return bytes_make(e->in.text.at + e->in.start, sim_end_readable(e));
}

size_t sim_end_space(const struct sim_end *e)
{
    uint32_t window = e->conn->world->ways.window_bytes;
    size_t used = sim_end_readable(e->other);

    if (window == 0)
        window = WINDOW_BYTES;
    return used < window ? window - used : 0;
}

void sim_end_consume(struct sim_end *e, size_t octets)
{
    e->in.start += octets;
    if (e->in.start == e->in.text.len)
        e->in.start = e->in.text.len = 0;
    if (octets > 0)
        wake(e->other);
}

/* What is sent to an end that has closed is lost, and a reset comes back. */
size_t sim_end_write(struct sim_end *e, struct bytes octets)
{
    size_t space = sim_end_space(e);

    if (e->other->is_closed) {
        e->in.has_reset = true;
        wake(e);
        return octets.len;
    }
    octets = bytes_first(octets, space);
    sim_put(&e->other->in.text, octets);
    if (octets.len > 0)
        wake(e->other);
    return octets.len;
}

void sim_end_shutdown(struct sim_end *e)
{
    e->other->in.has_fin = true;
    wake(e->other);
}

void sim_end_close(struct sim_end *e, bool with_reset)
{
    struct sim_conn *c = e->conn;

    e->is_closed = true;
    e->reader = NULL;
    /* As the kernel does: who closes with octets unread resets. */
    if (with_reset || sim_end_readable(e) > 0)
        e->other->in.has_reset = true;
    else
        e->other->in.has_fin = true;
    wake(e->other);
    if (!e->other->is_closed)
        return;
    free(c->ends[0].in.text.at);
    free(c->ends[1].in.text.at);
    list_remove(&c->link);
    free(c);
}

/* Where several share it: one that is served, by chance. */
struct sim_bound *sim_bound_at(struct sim *w, const struct netaddr *address)
{
    struct sim_bound *found = NULL;
    unsigned count = 0;

    LIST_EACH (link, &w->bound) {
        struct sim_bound *b = LIST_ENTRY(link, struct sim_bound, link);
        if (!netaddr_equal(&b->address, address))
            continue;
        count += b->listener != NULL;
        if (found == NULL || (b->listener != NULL && sim_below(w, count) == 0))
            found = b;
    }
    return found;
}

struct sim_bound *sim_bound_at_path(struct sim *w, const char *path)
{
    LIST_EACH (link, &w->bound) {
        struct sim_bound *b = LIST_ENTRY(link, struct sim_bound, link);
        if (b->path[0] != '\0' && strcmp(b->path, path) == 0)
            return b;
    }
    return NULL;
}
