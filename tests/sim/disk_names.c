/* SPDX-License-Identifier: BSD-2-Clause */
/* disk.h in a world: directories and what stands in them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/disk.h"
#include "proxy/io/disk_private.h"
#include "tests/sim/files.h"

#define FREE_BYTES (UINT64_C(1) << 40)

/* ---- nodes and names ---- */

struct sim_node *sim_node_new(bool is_directory)
{
    struct sim_node *n = sim_alloc(sizeof(*n));

    n->uses = 1;
    n->is_directory = is_directory;
    n->changed_s = sim_wall_ms(sim_current()) / 1000;
    list_init(&n->changes);
    list_init(&n->names);
    list_init(&n->durable_names);
    return n;
}

static void remove_names(struct list *names)
{
    LIST_EACH (link, names)
        sim_name_remove(LIST_ENTRY(link, struct sim_name, link));
}

void sim_node_unuse(struct sim_node *n)
{
    if (--n->uses > 0)
        return;
    remove_names(&n->names);
    remove_names(&n->durable_names);
    sim_changes_drop(n);
    free(n->text.at);
    free(n->durable.at);
    free(n);
}

struct sim_name *sim_name_in(const struct list *names, struct bytes text)
{
    LIST_EACH (link, names) {
        struct sim_name *name = LIST_ENTRY(link, struct sim_name, link);
        if (name->len == text.len && memcmp(name->text, text.at, text.len) == 0)
            return name;
    }
    return NULL;
}

static bool is_behind(const struct sim_name *name, struct bytes text)
{
    size_t least = name->len < text.len ? name->len : text.len;
    int order = memcmp(name->text, text.at, least);

    return order > 0 || (order == 0 && name->len > text.len);
}

struct sim_name *sim_name_set(struct list *names, struct bytes text, struct sim_node *n)
{
    struct sim_name *name = sim_name_in(names, text);
    struct list *behind = names;

    n->uses++;
    if (name != NULL) {
        sim_node_unuse(name->node);
        name->node = n;
        return name;
    }
    LIST_EACH (link, names) {
        if (is_behind(LIST_ENTRY(link, struct sim_name, link), text)) {
            behind = link;
            break;
        }
    }
    name = sim_alloc(sizeof(*name) + text.len + 1);
    memcpy(name->text, text.at, text.len);
    name->len = text.len;
    name->node = n;
    list_append(behind, &name->link);
    return name;
}

void sim_name_remove(struct sim_name *name)
{
    list_remove(&name->link);
    sim_node_unuse(name->node);
    free(name);
}

/* ---- paths ---- */

/* The next part of a path; empty: there is none. */
static struct bytes next_part(struct bytes *path)
{
    struct bytes part;

    while (path->len > 0 && path->at[0] == '/')
        *path = bytes_skip(*path, 1);
    part = bytes_first(*path, bytes_find(*path, '/'));
    *path = bytes_skip(*path, part.len);
    return part;
}

static struct sim_node *walk(struct sim *w, struct bytes path)
{
    struct sim_node *n = w->disk.root;

    for (struct bytes part = next_part(&path); part.len > 0; part = next_part(&path)) {
        struct sim_name *name = sim_name_in(&n->names, part);
        if (name == NULL)
            return NULL;
        n = name->node;
    }
    return n;
}

struct sim_node *sim_node_at(const char *path)
{
    return walk(sim_current(), bytes_of(path));
}

const struct sim_node *sim_volume_of(const char *path)
{
    struct bytes rest = bytes_of(path);
    const struct sim_name *name = sim_name_in(&sim_current()->disk.root->names, next_part(&rest));

    return name == NULL ? NULL : name->node;
}

int sim_node_trouble(const char *path, bool octets)
{
    struct bytes rest = bytes_of(path);
    const struct sim_node *n = sim_current()->disk.root;

    for (struct bytes part = next_part(&rest); part.len > 0; part = next_part(&rest)) {
        struct sim_name *name = sim_name_in(&n->names, part);
        if (name == NULL)
            return 0;
        n = name->node;
        if (n->spoiled != 0 && (n->is_directory || octets))
            return n->spoiled;
    }
    return 0;
}

/* The directory that the last part of a path lies in. */
static int find_parent(const char *path, struct sim_node **directory_out, struct bytes *name_out)
{
    struct bytes rest = bytes_of(path), name, before;
    struct sim_node *directory;

    while (rest.len > 1 && rest.at[rest.len - 1] == '/')
        rest.len--;
    name = before = rest;
    while (name.len > 0 && bytes_find(name, '/') < name.len)
        name = bytes_skip(name, bytes_find(name, '/') + 1);
    before.len -= name.len;
    directory = before.len == 0 ? NULL : walk(sim_current(), before);
    if (directory == NULL || name.len == 0)
        return -ENOENT;
    if (!directory->is_directory)
        return -ENOTDIR;
    *directory_out = directory;
    *name_out = name;
    return 0;
}

static void set_path(struct sim_node *n, const char *path)
{
    snprintf(n->path, sizeof(n->path), "%s", path);
}

void sim_on_disk_name(struct sim *w, void (*fn)(void *owner, const struct sim_disk_name *name),
                      void *owner)
{
    w->disk.named = fn;
    w->disk.named_owner = owner;
}

static void tell(const struct sim_node *n, const char *from, const char *to)
{
    struct sim_disk *d = &sim_current()->disk;
    struct sim_disk_name name = {from, to, bytes_make(n->text.at, n->text.len)};

    if (d->named != NULL && !n->is_directory)
        d->named(d->named_owner, &name);
}

int sim_node_link(struct sim_node *n, const char *path)
{
    struct sim_node *directory;
    struct bytes name;
    int error = find_parent(path, &directory, &name);

    if (error != 0)
        return error;
    if (sim_name_in(&directory->names, name) != NULL)
        return -EEXIST;
    sim_name_set(&directory->names, name, n);
    set_path(n, path);
    n->volume = sim_volume_of(path);
    n->links++;
    sim_operation_add(n, NULL, name, directory, name);
    tell(n, NULL, path);
    return 0;
}

static int unlink_node(const char *path, bool is_directory)
{
    struct sim_node *directory;
    struct sim_name *found;
    struct bytes name;
    int error = find_parent(path, &directory, &name);

    if (error != 0)
        return error;
    found = sim_name_in(&directory->names, name);
    if (found == NULL)
        return -ENOENT;
    if (found->node->is_directory != is_directory)
        return is_directory ? -ENOTDIR : -EISDIR;
    if (!list_is_empty(&found->node->names))
        return -ENOTEMPTY;
    found->node->links--;
    sim_operation_add(found->node, directory, name, NULL, name);
    tell(found->node, path, NULL);
    sim_name_remove(found);
    return 0;
}

/* ---- disk.h ---- */

int disk_link_unnamed(int fd, const char *path)
{
    int error = sim_disk_begin(SIM_DISK_NAME, path);
    struct sim_fd *d = sim_fd_of(fd);

    if (!d->is_unnamed)
        sim_fault("link of a file that is not unnamed");
    return error != 0 ? error : sim_node_link(d->node, path);
}

bool disk_is_same_file(const char *a, const char *b)
{
    const struct sim_node *one = sim_node_at(a);

    return one != NULL && one == sim_node_at(b);
}

int disk_link(const char *from, const char *to)
{
    int error = sim_disk_begin(SIM_DISK_NAME, to);
    struct sim_node *n = sim_node_at(from);

    if (error == 0 && (n == NULL || n->is_directory))
        error = n == NULL ? -ENOENT : -EPERM;
    return error != 0 ? error : sim_node_link(n, to);
}

static int move(const char *from, const char *to, bool may_replace)
{
    struct sim_node *directory[2];
    struct sim_name *found, *old;
    struct bytes name[2];
    int error = sim_disk_begin(SIM_DISK_NAME, from);

    if (error == 0 && sim_current()->disk.spoiled > 0)
        error = sim_node_trouble(to, false);
    if (error == 0)
        error = find_parent(from, &directory[0], &name[0]);
    if (error == 0)
        error = find_parent(to, &directory[1], &name[1]);
    if (error != 0)
        return error;
    found = sim_name_in(&directory[0]->names, name[0]);
    if (found == NULL || found->node->is_directory)
        return -ENOENT; /* directories are never renamed */
    old = sim_name_in(&directory[1]->names, name[1]);
    if (old != NULL && !may_replace)
        return -EEXIST;
    if (old == found)
        return 0;
    if (old != NULL)
        old->node->links--;
    sim_operation_add(found->node, directory[0], name[0], directory[1], name[1]);
    sim_name_set(&directory[1]->names, name[1], found->node);
    set_path(found->node, to);
    tell(found->node, from, to);
    sim_name_remove(found);
    return 0;
}

int disk_move(const char *from, const char *to)
{
    return sim_current()->disk.lacks_move ? -EINVAL : move(from, to, false);
}

int disk_replace(const char *from, const char *to)
{
    return move(from, to, true);
}

/* Whether one that fails with EIO has happened is left to chance, as over a network. */
int disk_unlink(const char *path)
{
    int error = sim_disk_begin(SIM_DISK_NAME, path);
    bool happens = error == 0 || (error == -EIO && sim_disk_keeps(sim_current()));
    int result = happens ? unlink_node(path, false) : 0;

    return error != 0 ? error : result;
}

int disk_remove_directory(const char *path)
{
    int error = sim_disk_begin(SIM_DISK_NAME, path);

    return error != 0 ? error : unlink_node(path, true);
}

/* What has failed since it was opened is told once. */
int disk_sync_open_directory(int fd)
{
    struct sim_fd *d = sim_fd_of(fd);
    struct sim_node *n = d->node;
    int error = sim_disk_begin_on(SIM_DISK_SYNC, n);

    if (error == 0) {
        sim_operations_keep(n);
    } else {
        sim_operations_risk(n);
        n->sync_failures++;
    }
    if (error == 0 && d->sync_failures != n->sync_failures)
        error = -EIO;
    d->sync_failures = n->sync_failures;
    return error;
}

int disk_sync_directory(const char *path)
{
    int error = sim_disk_begin(SIM_DISK_SYNC, path);
    struct sim_node *n = sim_node_at(path);

    if (error == 0 && (n == NULL || !n->is_directory))
        error = n == NULL ? -ENOENT : -ENOTDIR;
    if (error == 0)
        sim_operations_keep(n);
    if (error != 0 && n != NULL) {
        sim_operations_risk(n);
        n->sync_failures++;
    }
    return error;
}

int disk_make_directory(const char *path)
{
    int error = sim_disk_begin(SIM_DISK_NAME, path);
    struct sim_node *made;

    if (error != 0)
        return error;
    made = sim_node_new(true);
    error = sim_node_link(made, path);
    sim_node_unuse(made);
    return error;
}

int disk_find_directory(const char *path)
{
    int error = sim_disk_begin(SIM_DISK_READ, path);
    const struct sim_node *n = sim_node_at(path);

    if (error == 0 && (n == NULL || !n->is_directory))
        error = n == NULL ? -ENOENT : -ENOTDIR;
    return error;
}

/* The names are copied first: fn may change what it is told of. */
int disk_list(const char *path, bool (*fn)(void *owner, const char *name), void *owner)
{
    int error = sim_disk_begin(SIM_DISK_READ, path);
    const struct sim_node *n = sim_node_at(path);
    size_t size = 1;
    char *names, *at;
    bool goes_on = true;

    if (error == 0 && (n == NULL || !n->is_directory))
        error = n == NULL ? -ENOENT : -ENOTDIR;
    if (error != 0)
        return error;
    LIST_EACH (link, &n->names)
        size += LIST_ENTRY(link, struct sim_name, link)->len + 1;
    at = names = mem_zalloc(size);
    if (names == NULL)
        return ERR_MEMORY;
    LIST_EACH (link, &n->names) {
        const struct sim_name *name = LIST_ENTRY(link, struct sim_name, link);
        memcpy(at, name->text, name->len + 1);
        at += name->len + 1;
    }
    for (at = names; goes_on && *at != '\0'; at += strlen(at) + 1)
        goes_on = fn(owner, at);
    mem_free(names);
    return 0;
}

/* ---- what the test sees ---- */

void sim_disk_init(struct sim *w)
{
    struct sim_node *tmp = sim_node_new(true);

    list_init(&w->disk.operations);
    list_init(&w->disk.hung);
    w->disk.free_bytes = FREE_BYTES;
    w->disk.root = sim_node_new(true);
    sim_name_set(&w->disk.root->names, bytes_of("tmp"), tmp);
    sim_name_set(&w->disk.root->durable_names, bytes_of("tmp"), tmp);
    tmp->links++;
    sim_node_unuse(tmp);
}

void sim_disk_done(struct sim *w)
{
    if (sim_open_files(w) > 0)
        sim_fault("a file is still open");
    sim_operations_free(&w->disk.operations);
    sim_node_unuse(w->disk.root);
    free(w->disk.path.at);
}

bool sim_file(struct sim *w, const char *path, struct bytes *octets_out)
{
    struct sim_node *n = walk(w, bytes_of(path));

    if (n == NULL || n->is_directory)
        return false;
    *octets_out = bytes_make(n->text.at, n->text.len);
    return true;
}

/* Its path is in `path` when it was found. */
static bool find_nth(const struct sim_node *directory, struct sim_text *path, unsigned *index)
{
    size_t len = path->len;

    LIST_EACH (link, &directory->names) {
        const struct sim_name *name = LIST_ENTRY(link, struct sim_name, link);
        if (!name->node->is_directory && (*index)-- > 0)
            continue;
        path->len = len;
        sim_put(path, bytes_of("/"));
        sim_put(path, bytes_make(name->text, name->len));
        if (!name->node->is_directory || find_nth(name->node, path, index))
            return true;
    }
    return false;
}

const char *sim_file_below(struct sim *w, const char *directory, unsigned index)
{
    const struct sim_node *n = walk(w, bytes_of(directory));

    w->disk.path.len = 0;
    sim_put(&w->disk.path, bytes_of(directory));
    if (n == NULL || !find_nth(n, &w->disk.path, &index))
        return NULL;
    sim_put(&w->disk.path, bytes_make("", 1));
    return (const char *)w->disk.path.at;
}
