/* SPDX-License-Identifier: BSD-2-Clause */
/* disk.h in a world: files in memory, and failures on request. */
#include "proxy/io/disk.h"

#include <errno.h>
#include <stdlib.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "tests/sim/world.h"

#define FREE_BYTES (UINT64_C(1) << 40)

/* ---- failures ---- */

void sim_disk_fail(struct sim *w, enum sim_disk_call what, uint64_t nth, int error)
{
    w->disk.fail_in[what] = error == 0 ? 0 : nth;
    w->disk.error[what] = error;
}

/* Every call begins here: whatever can go wrong with disks goes wrong here. */
static int begin(enum sim_disk_call what)
{
    struct sim_disk *d = &sim_current()->disk;

    if (d->fail_in[what] == 0)
        return 0;
    if (d->fail_in[what] > 1) {
        d->fail_in[what]--;
        return 0;
    }
    return d->error[what];
}

/* ---- names ---- */

/* A path without a slash at its end and without doubled ones; the caller frees. */
static char *clean(const char *path)
{
    char *text = sim_alloc(strlen(path) + 2);
    size_t len = 0;

    for (const char *c = path; *c != '\0'; c++)
        if (*c != '/' || len == 0 || text[len - 1] != '/')
            text[len++] = *c;
    while (len > 1 && text[len - 1] == '/')
        len--;
    text[len] = '\0';
    return text;
}

static struct sim_name *find_clean(struct sim *w, const char *path)
{
    LIST_EACH (link, &w->disk.names) {
        struct sim_name *n = LIST_ENTRY(link, struct sim_name, link);
        if (strcmp(n->path, path) == 0)
            return n;
    }
    return NULL;
}

static struct sim_name *find(const char *path)
{
    char *text = clean(path);
    struct sim_name *n = find_clean(sim_current(), text);

    free(text);
    return n;
}

static struct sim_name *add_name(struct sim *w, const char *path, struct sim_file *file)
{
    struct sim_name *n = sim_alloc(sizeof(*n));
    struct list *behind = &w->disk.names;

    n->path = clean(path);
    n->file = file;
    if (file != NULL)
        file->names++;
    LIST_EACH (link, &w->disk.names) {
        if (strcmp(LIST_ENTRY(link, struct sim_name, link)->path, n->path) > 0) {
            behind = link;
            break;
        }
    }
    list_append(behind, &n->link);
    return n;
}

static void free_if_unused(struct sim_file *f)
{
    if (f == NULL || f->names + f->descriptors > 0)
        return;
    free(f->text.at);
    free(f);
}

static void remove_name(struct sim_name *n)
{
    if (n->file != NULL)
        n->file->names--;
    free_if_unused(n->file);
    list_remove(&n->link);
    free(n->path);
    free(n);
}

/* 0 where a name could be put into the directory that `path` lies in. */
static int look_at_parent(const char *path)
{
    char *text = clean(path), *slash = strrchr(text, '/');
    struct sim_name *parent = NULL;
    int error = 0;

    if (slash != NULL) {
        slash[slash == text ? 1 : 0] = '\0';
        parent = find_clean(sim_current(), text);
    }
    if (parent == NULL)
        error = -ENOENT;
    else if (parent->file != NULL)
        error = -ENOTDIR;
    free(text);
    return error;
}

void sim_disk_init(struct sim *w)
{
    list_init(&w->disk.names);
    add_name(w, "/", NULL);
    add_name(w, "/tmp", NULL);
}

void sim_disk_done(struct sim *w)
{
    for (int i = 0; i < SIM_FDS; i++)
        if (w->disk.fds[i].file != NULL)
            sim_fault("a file is still open");
    LIST_EACH (link, &w->disk.names)
        remove_name(LIST_ENTRY(link, struct sim_name, link));
}

/* ---- descriptors ---- */

static int open_file(struct sim_file *f, bool may_write, bool is_unnamed)
{
    struct sim_disk *d = &sim_current()->disk;

    for (int i = 0; i < SIM_FDS; i++) {
        if (d->fds[i].file != NULL)
            continue;
        d->fds[i] = (struct sim_fd){.file = f, .may_write = may_write, .is_unnamed = is_unnamed};
        f->descriptors++;
        return SIM_FD_DISK + i;
    }
    free_if_unused(f);
    return -EMFILE;
}

static struct sim_fd *fd_of(int fd)
{
    struct sim_disk *d = &sim_current()->disk;

    if (fd < SIM_FD_DISK || fd >= SIM_FD_DISK + SIM_FDS || d->fds[fd - SIM_FD_DISK].file == NULL)
        sim_fault("a descriptor that is not open");
    return &d->fds[fd - SIM_FD_DISK];
}

int disk_open_unnamed(const char *directory)
{
    int error = begin(SIM_DISK_OPEN);
    struct sim_name *n = find(directory);

    if (error != 0)
        return error;
    if (n == NULL || n->file != NULL)
        return n == NULL ? -ENOENT : -ENOTDIR;
    return open_file(sim_alloc(sizeof(struct sim_file)), true, true);
}

int disk_open_read(const char *path)
{
    int error = begin(SIM_DISK_OPEN);
    struct sim_name *n = find(path);

    if (error != 0)
        return error;
    if (n == NULL || n->file == NULL)
        return n == NULL ? -ENOENT : -EISDIR;
    return open_file(n->file, false, false);
}

int disk_create(const char *path)
{
    int error = begin(SIM_DISK_OPEN), fd;
    struct sim_file *f;

    if (error == 0)
        error = find(path) != NULL ? -EEXIST : look_at_parent(path);
    if (error != 0)
        return error;
    f = sim_alloc(sizeof(*f));
    fd = open_file(f, true, false);
    if (fd >= 0)
        add_name(sim_current(), path, f);
    return fd;
}

int disk_close(int fd)
{
    struct sim_fd *d = fd_of(fd);
    struct sim_file *f = d->file;

    d->file = NULL;
    f->descriptors--;
    free_if_unused(f);
    return 0;
}

/* ---- octets ---- */

int disk_write_at(int fd, uint64_t offset, struct bytes octets)
{
    struct sim_fd *d = fd_of(fd);
    struct sim_text *t = &d->file->text;
    int error = begin(SIM_DISK_WRITE);

    if (error == 0 && !d->may_write)
        error = -EBADF;
    if (error != 0 || octets.len == 0)
        return error;
    while (t->len < offset + octets.len) {
        uint64_t more = offset + octets.len - t->len;
        static const uint8_t nothing[4096];
        sim_put(t, bytes_make(nothing, more < sizeof(nothing) ? more : sizeof(nothing)));
    }
    memcpy(t->at + offset, octets.at, octets.len);
    return 0;
}

int disk_write_pieces_at(int fd, uint64_t offset, const struct bytes *pieces, int count)
{
    for (int i = 0; i < count; i++) {
        int error = disk_write_at(fd, offset, pieces[i]);
        if (error != 0)
            return error;
        offset += pieces[i].len;
    }
    return 0;
}

int disk_read_at(int fd, uint64_t offset, void *into, size_t len)
{
    struct sim_text *t = &fd_of(fd)->file->text;
    int error = begin(SIM_DISK_READ);

    if (error != 0)
        return error;
    if (len == 0)
        return 0;
    if (offset > t->len || t->len - offset < len)
        return -EIO;
    memcpy(into, t->at + offset, len);
    return 0;
}

int disk_sync(int fd)
{
    fd_of(fd);
    return begin(SIM_DISK_SYNC);
}

int disk_sync_directory(const char *path)
{
    struct sim_name *n = find(path);
    int error = begin(SIM_DISK_SYNC);

    if (error == 0 && (n == NULL || n->file != NULL))
        error = n == NULL ? -ENOENT : -ENOTDIR;
    return error;
}

/* ---- files and their names ---- */

int disk_link_unnamed(int fd, const char *path)
{
    struct sim_fd *d = fd_of(fd);
    int error = begin(SIM_DISK_NAME);

    if (!d->is_unnamed)
        sim_fault("link of a file that is not unnamed");
    if (error == 0)
        error = find(path) != NULL ? -EEXIST : look_at_parent(path);
    if (error == 0)
        add_name(sim_current(), path, d->file);
    return error;
}

static int move(const char *from, const char *to, bool may_replace)
{
    int error = begin(SIM_DISK_NAME);
    struct sim_name *n = find(from), *old = find(to);

    if (error == 0 && (n == NULL || n->file == NULL))
        error = -ENOENT; /* directories are never renamed */
    if (error == 0)
        error = look_at_parent(to);
    if (error == 0 && old != NULL && !may_replace)
        error = -EEXIST;
    if (error != 0 || old == n)
        return error;
    if (old != NULL)
        remove_name(old);
    add_name(sim_current(), to, n->file);
    remove_name(n);
    return 0;
}

int disk_rename(const char *from, const char *to)
{
    return move(from, to, false);
}

int disk_replace(const char *from, const char *to)
{
    return move(from, to, true);
}

int disk_unlink(const char *path)
{
    int error = begin(SIM_DISK_NAME);
    struct sim_name *n = find(path);

    if (error != 0)
        return error;
    if (n == NULL || n->file == NULL)
        return n == NULL ? -ENOENT : -EISDIR;
    remove_name(n);
    return 0;
}

int disk_make_directories(const char *path)
{
    int error = begin(SIM_DISK_NAME);
    char *text = clean(path);

    for (size_t i = 1, len = strlen(text); i <= len && error == 0; i++) {
        if (text[i] != '/' && text[i] != '\0')
            continue;
        char was = text[i];
        struct sim_name *n;
        text[i] = '\0';
        n = find(text);
        if (n == NULL)
            add_name(sim_current(), text, NULL);
        else if (n->file != NULL)
            error = -ENOTDIR;
        text[i] = was;
    }
    free(text);
    return error;
}

int disk_free_bytes(const char *path, uint64_t *bytes_out)
{
    if (find(path) == NULL)
        return -ENOENT;
    *bytes_out = FREE_BYTES;
    return 0;
}

int disk_read_file(const char *path, size_t max_bytes, uint8_t **octets_out, size_t *len_out)
{
    struct sim_name *n = find(path);
    int error = begin(SIM_DISK_READ);
    uint8_t *octets;

    if (error == 0 && (n == NULL || n->file == NULL))
        error = n == NULL ? -ENOENT : -EISDIR;
    if (error == 0 && n->file->text.len > max_bytes)
        error = -EFBIG;
    if (error != 0)
        return error;
    octets = mem_alloc(n->file->text.len);
    if (octets == NULL)
        return ERR_MEMORY;
    if (n->file->text.len > 0)
        memcpy(octets, n->file->text.at, n->file->text.len);
    *octets_out = octets;
    *len_out = n->file->text.len;
    return 0;
}

/* ---- what the test sees ---- */

bool sim_file(struct sim *w, const char *path, struct bytes *octets_out)
{
    struct sim_name *n = find_clean(w, path);

    if (n == NULL || n->file == NULL)
        return false;
    *octets_out = bytes_make(n->file->text.at, n->file->text.len);
    return true;
}

const char *sim_file_below(struct sim *w, const char *directory, unsigned index)
{
    size_t len = strlen(directory);

    LIST_EACH (link, &w->disk.names) {
        struct sim_name *n = LIST_ENTRY(link, struct sim_name, link);
        if (n->file != NULL && strncmp(n->path, directory, len) == 0 && n->path[len] == '/' &&
            index-- == 0)
            return n->path;
    }
    return NULL;
}

unsigned sim_open_files(const struct sim *w)
{
    unsigned count = 0;

    for (int i = 0; i < SIM_FDS; i++)
        count += w->disk.fds[i].file != NULL;
    return count;
}
