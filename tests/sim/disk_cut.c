/* SPDX-License-Identifier: BSD-2-Clause */
/* What is durable: syncs, and what chance leaves of the rest when the power fails. */
#include <stdlib.h>

#include "tests/sim/files.h"

#define BLOCK_BYTES 4096 /* that a disk writes as a whole */
#define SPANS_MAX   9
#define MANY        2 /* writes of one file; beyond that each is whole, half, or lost */

void sim_set_choice(struct sim *w, unsigned (*choose)(void *owner, unsigned ways), void *owner)
{
    w->disk.choice.choose = choose;
    w->disk.choice.owner = owner;
}

bool sim_disk_keeps(struct sim *w)
{
    if (w->disk.choice.choose != NULL)
        return w->disk.choice.choose(w->disk.choice.owner, 2) == 0;
    return sim_below(w, 2) == 0;
}

/* ---- files ---- */

void sim_change_add(struct sim_node *n, bool is_cut, uint64_t at, struct bytes octets)
{
    struct sim_change *c = sim_alloc(sizeof(*c) + octets.len);

    *c = (struct sim_change){.is_cut = is_cut, .at = at, .len = octets.len};
    if (octets.len > 0)
        memcpy(c->octets, octets.at, octets.len);
    list_append(&n->changes, &c->link);
}

static void drop(struct sim_change *c)
{
    list_remove(&c->link);
    free(c);
}

size_t sim_file_durable(struct sim *w, const char *path)
{
    const struct sim_node *n = sim_node_at(path);

    (void)w;
    return n == NULL ? 0 : n->durable.len;
}

void sim_changes_drop(struct sim_node *n)
{
    LIST_EACH (link, &n->changes)
        drop(LIST_ENTRY(link, struct sim_change, link));
}

static void make_durable(struct sim_node *n, const struct sim_change *c, size_t from, size_t to)
{
    if (c->is_cut)
        sim_text_cut(&n->durable, c->at);
    else
        sim_text_write(&n->durable, c->at + from, bytes_make(c->octets + from, to - from));
}

void sim_changes_keep(struct sim_node *n)
{
    LIST_EACH (link, &n->changes) {
        struct sim_change *c = LIST_ENTRY(link, struct sim_change, link);
        make_durable(n, c, 0, c->len);
        drop(c);
    }
}

/* What stays of a write. */
struct span {
    size_t from, to;
};

struct spans {
    struct span at[SPANS_MAX];
    unsigned count;
};

static void add_span(struct spans *s, size_t from, size_t to)
{
    if (from >= to)
        return;
    for (unsigned i = 0; i < s->count; i++)
        if (s->at[i].from == from && s->at[i].to == to)
            return;
    s->at[s->count++] = (struct span){from, to};
}

/* Of each kind of torn write one; fewer where many writes are torn, since each goes with each. */
static void find_spans(const struct sim_change *c, bool is_one_of_many, struct spans *s)
{
    size_t len = c->len, edge = BLOCK_BYTES - (size_t)(c->at % BLOCK_BYTES);

    *s = (struct spans){.at = {{0, len}, {0, 0}}, .count = 2};
    add_span(s, 0, len / 2);
    if (is_one_of_many)
        return;
    add_span(s, 0, 1);
    add_span(s, 0, len == 0 ? 0 : len - 1);
    add_span(s, len / 2, len);
    add_span(s, len / 4, len - len / 4);
    add_span(s, 0, edge < len ? edge : 0);
    add_span(s, edge, len);
}

static struct span choose_span(struct sim *w, const struct sim_change *c, bool is_one_of_many)
{
    struct spans spans;

    if (c->is_cut)
        return (struct span){0, 0};
    find_spans(c, is_one_of_many, &spans);
    return spans.at[w->disk.choice.choose(w->disk.choice.owner, spans.count)];
}

static struct span draw_span(struct sim *w, const struct sim_change *c, bool is_torn)
{
    size_t from = 0, to = c->len;

    if (is_torn && to > 0) {
        from = sim_below(w, 2) == 0 ? 0 : (size_t)sim_below(w, to);
        to = from + (size_t)sim_below(w, to - from + 1);
    }
    return (struct span){from, to};
}

/* Each is kept, lost, or torn: any run of its octets. */
void sim_changes_risk(struct sim_node *n)
{
    struct sim *w = sim_current();
    bool is_chosen = w->disk.choice.choose != NULL;
    unsigned count = 0;

    LIST_EACH (link, &n->changes)
        count++;
    LIST_EACH (link, &n->changes) {
        struct sim_change *c = LIST_ENTRY(link, struct sim_change, link);
        uint64_t fate = is_chosen ? (c->is_cut ? sim_disk_keeps(w) : 1) : sim_below(w, 3);
        struct span span = is_chosen ? choose_span(w, c, count > MANY) : draw_span(w, c, fate == 1);

        if (fate != 0 && (span.to > span.from || c->is_cut))
            make_durable(n, c, span.from, span.to);
        drop(c);
    }
}

/* ---- directories ---- */

static void set_half(struct sim_half *half, struct sim_node *directory, struct bytes name)
{
    if (directory == NULL)
        return;
    directory->uses++;
    half->directory = directory;
    half->name = sim_alloc(name.len + 1);
    memcpy(half->name, name.at, name.len);
}

void sim_operation_add(struct sim_node *n, struct sim_node *from, struct bytes from_name,
                       struct sim_node *to, struct bytes to_name)
{
    struct sim_operation *o = sim_alloc(sizeof(*o));
    int64_t now_s = sim_wall_ms(sim_current()) / 1000;

    if (from != NULL)
        from->changed_s = now_s;
    if (to != NULL)
        to->changed_s = now_s;
    n->uses++;
    o->node = n;
    set_half(&o->from, from, from_name);
    set_half(&o->to, to, to_name);
    list_append(&sim_current()->disk.operations, &o->link);
}

static void free_operation(struct sim_operation *o)
{
    list_remove(&o->link);
    if (o->from.directory != NULL)
        sim_node_unuse(o->from.directory);
    if (o->to.directory != NULL)
        sim_node_unuse(o->to.directory);
    sim_node_unuse(o->node);
    free(o->from.name);
    free(o->to.name);
    free(o);
}

void sim_operations_free(struct list *operations)
{
    LIST_EACH (link, operations)
        free_operation(LIST_ENTRY(link, struct sim_operation, link));
}

static void perform(const struct sim_operation *o)
{
    if (o->from.directory != NULL) {
        struct sim_name *name =
            sim_name_in(&o->from.directory->durable_names, bytes_of(o->from.name));
        if (name != NULL) /* it may lead to another file, if what led to this one was lost */
            sim_name_remove(name);
    }
    if (o->to.directory != NULL)
        sim_name_set(&o->to.directory->durable_names, bytes_of(o->to.name), o->node);
}

/* A move between two directories is certain when the one that it led to was synced. */
void sim_operations_keep(struct sim_node *directory)
{
    LIST_EACH (link, &sim_current()->disk.operations) {
        struct sim_operation *o = LIST_ENTRY(link, struct sim_operation, link);
        if (o->to.directory != NULL ? o->to.directory != directory : o->from.directory != directory)
            continue;
        perform(o);
        free_operation(o);
    }
}

/* As sim_changes_risk(). */
void sim_operations_risk(struct sim_node *directory)
{
    struct sim *w = sim_current();

    LIST_EACH (link, &w->disk.operations) {
        struct sim_operation *o = LIST_ENTRY(link, struct sim_operation, link);
        if (o->from.directory != directory && o->to.directory != directory)
            continue;
        if (sim_disk_keeps(w))
            perform(o);
        free_operation(o);
    }
}

/* ---- the power fails ---- */

static void come_back(struct sim_node *n)
{
    LIST_EACH (link, &n->names)
        sim_name_remove(LIST_ENTRY(link, struct sim_name, link));
    LIST_EACH (link, &n->durable_names) {
        struct sim_name *name = LIST_ENTRY(link, struct sim_name, link);
        struct sim_node *inner = name->node;

        sim_name_set(&n->names, bytes_of(name->text), inner);
        if (inner->is_directory) {
            come_back(inner);
            continue;
        }
        sim_changes_risk(inner);
        inner->links++;
        inner->locked_by = 0;
        inner->text.len = 0;
        sim_put(&inner->text, bytes_make(inner->durable.at, inner->durable.len));
    }
}

/* A file may have several names. */
static void forget_links(struct sim_node *n)
{
    LIST_EACH (link, &n->durable_names) {
        struct sim_node *inner = LIST_ENTRY(link, struct sim_name, link)->node;
        if (inner->is_directory)
            forget_links(inner);
        else
            inner->links = 0;
    }
}

void sim_power_cut(struct sim *w)
{
    sim_processes_kill(w);
    if (!list_is_empty(&w->loops) || sim_open_files(w) > 0)
        sim_fault("something still runs that is no process");
    LIST_EACH (link, &w->disk.operations) {
        struct sim_operation *o = LIST_ENTRY(link, struct sim_operation, link);
        if (sim_disk_keeps(w))
            perform(o);
        free_operation(o);
    }
    forget_links(w->disk.root);
    come_back(w->disk.root);
}
