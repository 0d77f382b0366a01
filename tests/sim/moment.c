/* SPDX-License-Identifier: BSD-2-Clause */
/* A disk is copied, so that one moment can be left in many ways. */
#include <stdlib.h>

#include "tests/sim/files.h"

struct sim_moment {
    uint64_t seed, chance, now_us;
    int64_t wall_jumps_ms;
    unsigned processes;
    bool has_no_unnamed, lacks_move; /* the disk */
    struct sim_node *root;
    struct list operations;
};

/* Nodes that have a twin by now. */
struct twins {
    struct sim_node **of;
    size_t count, capacity;
};

static struct sim_node *twin_of(struct twins *t, struct sim_node *n);

static void copy_names(struct twins *t, const struct list *from, struct list *to)
{
    LIST_EACH (link, from) {
        const struct sim_name *name = LIST_ENTRY(link, struct sim_name, link);
        sim_name_set(to, bytes_of(name->text), twin_of(t, name->node));
    }
}

static void copy_changes(const struct sim_node *from, struct sim_node *to)
{
    LIST_EACH (link, &from->changes) {
        const struct sim_change *c = LIST_ENTRY(link, struct sim_change, link);
        sim_change_add(to, c->is_cut, c->at, bytes_make(c->octets, c->len));
    }
}

static void remember(struct twins *t, struct sim_node *n)
{
    if (t->count == t->capacity) {
        t->capacity = 2 * t->capacity + 32;
        t->of = realloc(t->of, t->capacity * sizeof(struct sim_node *));
        if (t->of == NULL)
            sim_fault("no memory");
    }
    t->of[t->count++] = n;
}

static struct sim_node *twin_of(struct twins *t, struct sim_node *n)
{
    if (n->twin != NULL)
        return n->twin;
    n->twin = sim_node_new(n->is_directory);
    remember(t, n);
    n->twin->links = n->links;
    n->twin->changed_s = n->changed_s;
    n->twin->marks = n->marks;
    n->twin->spoiled = n->spoiled;
    n->twin->lost_from = n->lost_from;
    n->twin->lost_to = n->lost_to;
    memcpy(n->twin->path, n->path, sizeof(n->path));
    n->twin->volume =
        n->volume == NULL ? NULL : twin_of(t, (struct sim_node *)(uintptr_t)n->volume);
    sim_put(&n->twin->text, bytes_make(n->text.at, n->text.len));
    sim_put(&n->twin->durable, bytes_make(n->durable.at, n->durable.len));
    copy_changes(n, n->twin);
    copy_names(t, &n->names, &n->twin->names);
    copy_names(t, &n->durable_names, &n->twin->durable_names);
    return n->twin;
}

static void copy_half(struct twins *t, const struct sim_half *from, struct sim_half *to)
{
    if (from->directory == NULL)
        return;
    to->directory = twin_of(t, from->directory);
    to->directory->uses++;
    to->name = sim_alloc(strlen(from->name) + 1);
    memcpy(to->name, from->name, strlen(from->name) + 1);
}

static void copy_operations(struct twins *t, const struct list *from, struct list *to)
{
    list_init(to);
    LIST_EACH (link, from) {
        const struct sim_operation *o = LIST_ENTRY(link, struct sim_operation, link);
        struct sim_operation *copy = sim_alloc(sizeof(*copy));

        copy->node = twin_of(t, o->node);
        copy->node->uses++;
        copy_half(t, &o->from, &copy->from);
        copy_half(t, &o->to, &copy->to);
        list_append(to, &copy->link);
    }
}

static struct sim_node *copy_disk(struct sim_node *root, const struct list *operations,
                                  struct list *operations_out)
{
    struct twins twins = {.of = NULL};
    struct sim_node *copy = twin_of(&twins, root);

    copy_operations(&twins, operations, operations_out);
    copy->uses++;
    for (size_t i = 0; i < twins.count; i++) {
        struct sim_node *twin = twins.of[i]->twin;
        twins.of[i]->twin = NULL;
        sim_node_unuse(twin); /* all but the root are held by names and operations */
    }
    free(twins.of);
    return copy;
}

struct sim_moment *sim_moment_of(struct sim *w)
{
    struct sim_moment *m = sim_alloc(sizeof(*m));

    if (sim_processes_are_there(w) || !list_is_empty(&w->loops) || sim_open_files(w) > 0)
        sim_fault("a process is still there");
    m->seed = w->seed;
    m->chance = w->chance;
    m->now_us = w->now_us;
    m->wall_jumps_ms = w->wall_jumps_ms;
    m->processes = w->processes.count;
    m->has_no_unnamed = w->disk.has_no_unnamed;
    m->lacks_move = w->disk.lacks_move;
    m->root = copy_disk(w->disk.root, &w->disk.operations, &m->operations);
    return m;
}

struct sim *sim_new_at(const struct sim_moment *m)
{
    struct sim *w = sim_new(m->seed);

    w->chance = m->chance;
    w->now_us = m->now_us;
    w->wall_jumps_ms = m->wall_jumps_ms;
    w->processes.count = m->processes;
    w->disk.has_no_unnamed = m->has_no_unnamed;
    w->disk.lacks_move = m->lacks_move;
    sim_node_unuse(w->disk.root);
    w->disk.root = copy_disk(m->root, &m->operations, &w->disk.operations);
    return w;
}

void sim_moment_free(struct sim_moment **moment)
{
    struct sim_moment *m = *moment;

    *moment = NULL;
    if (m == NULL)
        return;
    sim_operations_free(&m->operations);
    sim_node_unuse(m->root);
    free(m);
}

/* ---- what is there ---- */

static uint64_t mix(uint64_t hash, struct bytes octets)
{
    for (size_t i = 0; i < octets.len; i++)
        hash = (hash ^ octets.at[i]) * 0x100000001b3u;
    return (hash ^ 0x100) * 0x100000001b3u;
}

static uint64_t hash_node(uint64_t hash, const struct sim_node *n)
{
    hash = mix(hash, bytes_make(n->text.at, n->text.len));
    LIST_EACH (link, &n->names) {
        const struct sim_name *name = LIST_ENTRY(link, struct sim_name, link);
        hash = hash_node(mix(hash, bytes_of(name->text)), name->node);
    }
    return mix(hash, bytes_of(n->is_directory ? "/" : "."));
}

uint64_t sim_disk_hash(const struct sim *w)
{
    return hash_node(0xcbf29ce484222325u, w->disk.root);
}
